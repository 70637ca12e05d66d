/** How long a run will take on this machine, from a few of its steps. */
import { openDevice } from "../../lib/gpu/device.ts";
import { Evaluator } from "../../lib/train/evaluate.ts";
import type { Experiment } from "../../lib/train/experiment.ts";
import { measure } from "../../lib/train/results.ts";
import { contextOf, openModel, TrainingSession } from "../../lib/train/session.ts";
import type { Progress } from "../../lib/train/progress.ts";
import type { TrainingConfig } from "../../lib/train/config.ts";
import { lengthOf } from "../../lib/train/train.ts";

/** What a probe measured, in milliseconds, and how much of it a run has. */
export interface Probe {
  readonly stepMs: number;
  /** Ranking every reported split once, composed queries. */
  readonly rankingMs: number;
  readonly totalSteps: number;
  /** Steps between two validations; 0: only at the end. */
  readonly evalEvery: number;
}

/** The first steps compile kernels and fill caches; of the timed ones, which end when the time is up, the median counts. */
const WARM_UP = 2, TIMED = 9, TIMED_MS = 20_000;

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
  const start = performance.now();
  for (let step = 0; step < WARM_UP + TIMED; step++) {
    signal.throwIfAborted();
    const begin = performance.now();
    if (step > WARM_UP && begin - start > TIMED_MS) break;
    const { specs, values } = await reader.triplets(loader.batchAt(step));
    const plan = await program.plan(specs);
    plan.run(values, { index: step, learningRates: session.learningRates(step) });
    await plan.results(); // sync: a step's time ends with the GPU's work
    times.push(performance.now() - begin);
  }
  await measure(evaluator, opened.data, ["composed"], signal); // compiles
  const begin = performance.now();
  await measure(evaluator, opened.data, ["composed"], signal);
  const timed = times.slice(WARM_UP).sort((a, b) => a - b);
  return {
    stepMs: timed[Math.floor(timed.length / 2)],
    rankingMs: performance.now() - begin,
    ...lengthOf(config, loader.stepsPerEpoch),
  };
}

/**
 * A run's time: its steps, its validations, the initial weights' ranking and the table's with its three ways to ask. A
 * validation ranks one split of several and is counted as one whole: rather too long than too short.
 */
export function runMs({ stepMs, rankingMs, totalSteps, evalEvery }: Probe): number {
  const validations = evalEvery > 0 ? Math.ceil(totalSteps / evalEvery) : 1;
  return totalSteps * stepMs + (1 + validations + 3) * rankingMs;
}
