/** How long a run will take on this machine, from a few of its steps. */
import { openDevice } from "../../lib/gpu/device.ts";
import { Evaluator } from "../../lib/train/evaluate.ts";
import type { Experiment } from "../../lib/train/experiment.ts";
import { measure } from "../../lib/train/results.ts";
import { contextOf, openModel, TrainingSession } from "../../lib/train/session.ts";
import type { Progress } from "../../lib/train/progress.ts";
import type { TrainingConfig } from "../../lib/train/config.ts";

/** What a probe measured, in milliseconds. */
export interface Probe {
  readonly stepMs: number;
  /** Ranking every reported split once, composed queries. */
  readonly rankingMs: number;
}

/** The first steps compile kernels and fill caches; the median of the timed ones is taken. */
const WARM_UP = 3, TIMED = 9;

/** Times some steps and one ranking of a configuration; writes nothing. */
export async function probe(
  { functions }: Experiment,
  config: TrainingConfig,
  { progress, signal }: { progress: Progress; signal: AbortSignal },
): Promise<Probe> {
  using gpu = await openDevice();
  const context = contextOf(progress, signal);
  const opened = await openModel(functions, config, context);
  using session = new TrainingSession(gpu, functions, config, opened, context);
  using evaluator = new Evaluator(gpu, opened.model.frame, session.state, opened.data, config);
  const { reader, loader, program } = session, times: number[] = [];
  for (let step = 0; step < WARM_UP + TIMED; step++) {
    signal.throwIfAborted();
    const begin = performance.now();
    const { specs, values } = reader.triplets(loader.batchAt(step));
    const plan = await program.plan(specs);
    plan.run(values, { index: step, learningRates: session.learningRates(step) });
    await plan.results(); // sync: a step's time ends with the GPU's work
    times.push(performance.now() - begin);
  }
  await measure(evaluator, opened.data, ["composed"], signal); // compiles
  const begin = performance.now();
  await measure(evaluator, opened.data, ["composed"], signal);
  const median = times.slice(WARM_UP).sort((a, b) => a - b)[Math.floor(TIMED / 2)];
  return { stepMs: median, rankingMs: performance.now() - begin };
}

/**
 * A run's time: its steps, a validation every `evalEvery` steps, the initial weights' ranking and the table's with its
 * three ways to ask. A validation ranks one split of several and is counted as one whole: rather too long than too short.
 */
export function runMs({ stepMs, rankingMs }: Probe, { steps, evalEvery }: TrainingConfig): number {
  const validations = evalEvery > 0 ? Math.ceil(Number(steps) / evalEvery) : 1;
  return Number(steps) * stepMs + (1 + validations + 3) * rankingMs;
}
