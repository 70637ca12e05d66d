/** One run from its folder to its table. */
import { ConfigError } from "../core/errors.ts";
import { formatBytes, formatCount } from "../core/format.ts";
import { sizeOf } from "../core/shape.ts";
import { openDevice } from "../gpu/device.ts";
import { kernelVariants } from "../ops/matmul_classes.ts";
import { type CheckpointPlace, Checkpoints } from "./checkpoint.ts";
import type { CometAccount } from "./comet.ts";
import { openMirror } from "./comet_run.ts";
import { Evaluator } from "./evaluate.ts";
import type { TrainingConfig } from "./config.ts";
import { saveCurves } from "./curves.ts";
import type { Experiment } from "./experiment.ts";
import { restoreLive } from "./live_images.ts";
import { RunLog } from "./log.ts";
import { trainLoop } from "./loop.ts";
import type { Progress } from "./progress.ts";
import { measure, metricsBySplit, readBefore, resultOf, saveBefore, saveResults } from "./results.ts";
import type { RunFolder } from "./run.ts";
import { contextOf, openModel, TrainingSession } from "./session.ts";
import { criterion, criterionText, perfectRanking, validationRow } from "./split_metrics.ts";

/** What a run is made with. */
export interface RunOptions {
  readonly run: RunFolder;
  readonly config: TrainingConfig;
  readonly logEvery: number;
  readonly signal: AbortSignal;
  readonly progress: Progress;
  /** Also log there. */
  readonly comet?: CometAccount;
}

/**
 * Trains to the end, measures, and writes the results into the run's folder.
 *
 * @returns False if it was interrupted: a checkpoint is saved.
 */
export async function trainRun(
  experiment: Experiment,
  { run, config, logEvery, signal, progress, comet }: RunOptions,
): Promise<boolean> {
  const context = contextOf(progress, signal);
  using gpu = await openDevice(); // first: without one, nobody has to wait for the data
  const opened = await openModel(experiment.functions, config, context);
  const { data, model, params } = opened;
  using _live = data.live;
  signal.throwIfAborted();
  // All that a wrong flag can break comes before the run is begun: a run that never began leaves its name free.
  using session = new TrainingSession(gpu, experiment.functions, config, opened, context);
  using evaluator = new Evaluator(gpu, model.frame, session.state, data, config);
  const { batchSize, seed, trainModeValidation } = config;
  using noisy = trainModeValidation
    ? new Evaluator(gpu, model.frame, session.state, data, { batchSize, dropoutSeed: seed })
    : undefined;
  const { totalSteps, evalEvery } = lengthOf(config, session.loader.stepsPerEpoch);
  const { val } = data.dataset.splits;
  criterion(config.bestBy, val, perfectRanking(val));
  const warnings = await run.start({
    source: experiment.source,
    sourceText: await experiment.sourceText(),
    adapter: gpu.adapterInfo,
    kernelVariants: kernelVariants(gpu),
    dataset: { name: data.dataset.name, hash: data.dataset.hash },
  });
  for (const warning of warnings) progress.note(`note: the run ${warning}`);
  await Deno.mkdir(run.file("checkpoints"), { recursive: true });
  const checkpoints = new Checkpoints(run.file("checkpoints"), params, session.state, run.configHash);

  const place = await checkpoints.loadLast();
  await restoreLive(session.state, data.live);
  const start = place?.step ?? 0;
  const count = [...params.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  progress.note(
    `${run.path}: ${start > 0 ? `goes on from step ${start}` : "begins"} on ${gpu.name}; ` +
      `${formatCount(count)} parameters, ${formatBytes(session.state.bytes)} with gradients and moments; ` +
      `${formatCount(session.loader.triplets.length)} triplets, ${totalSteps} steps`,
  );
  await using mirror = comet && await openMirror(comet, run, config, progress);
  const log = new RunLog(run.path, session.loader, { mirror });
  await log.resume(start);

  let best = (await checkpoints.bestScore())?.value ?? -Infinity;
  const validate = async (place: CheckpointPlace) => {
    progress.live("validating");
    const ranking = (await (noisy ?? evaluator).rank(val, ["composed"], undefined, place.step)).get(
      "composed",
    );
    if (!ranking) throw new ConfigError("the frame has no composed queries");
    const value = criterion(config.bestBy, val, ranking), isBest = value > best;
    await log.validation(ofLastStep(place, session), validationRow(val, ranking));
    if (isBest) {
      best = value;
      await checkpoints.saveBest({ ...place, metric: config.bestBy, value });
    }
    await saveCurves(run.path);
    progress.note(
      `step ${place.step}  val ${config.bestBy} ${criterionText(config.bestBy, val, ranking)}${
        isBest ? "  best so far" : ""
      }`,
    );
  };

  if (start === 0 && config.validateFirst !== false && !await readBefore(run.path)) {
    progress.live("measuring the initial weights");
    const initial = await measure(evaluator, data, ["composed"], signal);
    await saveBefore(run.path, metricsBySplit(data, initial));
  }
  const options = { session, checkpoints, log, progress, signal, totalSteps, evalEvery, logEvery, validate };
  if (!await trainLoop(start, options)) {
    progress.note(`${run.path}: interrupted, a checkpoint is saved; the same command goes on from there`);
    return false;
  }
  if (config.tableFrom === "best") await checkpoints.loadWeights("best");
  await restoreLive(session.state, data.live);
  progress.live("measuring the trained weights");
  const measured = await measure(evaluator, data, evaluator.kinds, signal);
  await saveResults(run.path, resultOf(run.path, data, measured, await readBefore(run.path)), measured, data);
  const leftOut = await saveCurves(run.path);
  if (leftOut) progress.note(`curves.svg is left out: ${leftOut}`);
  await run.end("done");
  return true;
}

/** The released code counts a validation to the epoch that has just ended. */
const ofLastStep = ({ step }: CheckpointPlace, { loader }: TrainingSession) => ({
  step,
  epoch: loader.stateAt(step - 1).epoch,
});

/**
 * A run's length in steps, and the steps between two validations; 0: only at the end.
 *
 * @throws {ConfigError} If there is not one step.
 */
export function lengthOf(
  { steps, epochs, evalEvery }: TrainingConfig,
  stepsPerEpoch: number,
): { totalSteps: number; evalEvery: number } {
  const totalSteps = steps === undefined ? Number(epochs) * stepsPerEpoch : Number(steps);
  if (!Number.isInteger(totalSteps) || totalSteps < 1) {
    throw new ConfigError(`a run of ${totalSteps} steps`, { fix: "pass --steps or --epochs, at least 1" });
  }
  return { totalSteps, evalEvery: steps === undefined ? evalEvery * stepsPerEpoch : evalEvery };
}
