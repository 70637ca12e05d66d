/** The loop: a submit a step, losses read now and then, a checkpoint at each boundary. */
import { setImmediate } from "node:timers/promises";
import { env } from "../core/env.ts";
import { ConfigError } from "../core/errors.ts";
import { describeNonFinite, profileTable } from "../plan/debug.ts";
import { plannedBytes } from "../plan/planned.ts";
import { type ResultRow, RING_SLOTS } from "../plan/results.ts";
import type { CheckpointPlace, Checkpoints } from "./checkpoint.ts";
import { finishLiveStep } from "./live_images.ts";
import type { RunLog, StepRecord } from "./log.ts";
import { Meter } from "./meter.ts";
import type { Progress } from "./progress.ts";
import type { TrainingSession } from "./session.ts";
import { STATUS, type StepPlan } from "./step.ts";

/** What the loop works with. */
export interface LoopOptions {
  readonly session: TrainingSession;
  readonly checkpoints: Checkpoints;
  readonly log: RunLog;
  readonly progress: Progress;
  /** Ctrl-C: the loop saves and returns. */
  readonly signal: AbortSignal;
  /** Steps of the whole run. */
  readonly totalSteps: number;
  /** Steps between two calls of `validate`, which is also called after the last one; 0: only then. */
  readonly evalEvery: number;
  readonly logEvery: number;
  /** Measures the weights as they are. */
  validate(place: CheckpointPlace): Promise<void>;
}

/** Losses are read at least so often, so that progress is live. A wait costs about 11 ms. */
const READ_EVERY_MS = 1000;
/** Between boundaries a checkpoint is also saved this often, but takes at most a twentieth of the time. */
const SAVE_EVERY_MS = 60_000, SAVE_SHARE = 20;
/** The step of the process whose kernels `CALA_DEBUG=2` times: the first ones still fill caches. */
const PROFILED_STEP = 3;
/** So many skipped steps in a row end the run: the weights no longer change. */
const MAX_SKIPPED_IN_ROW = 10;

/**
 * Trains from step `start` to the end, or to the interrupt.
 *
 * @returns Whether all steps are done.
 * @throws {ConfigError} After ten steps in a row whose gradients were not finite.
 * @throws {GpuError} If the GPU failed. The last checkpoint is whole.
 */
export async function trainLoop(start: number, options: LoopOptions): Promise<boolean> {
  const { session, checkpoints, log, progress, signal, totalSteps, evalEvery, logEvery, validate } = options;
  const { loader, reader, program } = session;
  const meter = new Meter({
    start,
    totalSteps,
    logEvery,
    batchSize: loader.options.batchSize,
    plannedBytes: plannedBytes(session.memory),
  });
  const running = new Set<StepPlan>(); // those with losses that were not read
  const checksFinite = env("CALA_CHECK_FINITE") === 1;
  let firstNonFinite: string | undefined;
  let unread = 0, lastRead = performance.now(), lastSave = performance.now(), saveMs = 0;

  const read = async (step: number) => {
    // sync: a wait for the GPU, every `READ_EVERY_MS` or `RING_SLOTS` steps
    const rows = (await Promise.all([...running].map((plan) => plan.results()))).flat();
    const records = rows.sort((a, b) => a.index - b.index).map((row) => recordOf(row, session));
    const [plan] = running; // the only one where each step is read
    if (checksFinite && !firstNonFinite && plan && records.some(({ record }) => record.isSkipped)) {
      firstNonFinite = await describeNonFinite(plan);
      progress.note(`step ${step}: ${firstNonFinite}`);
    }
    running.clear();
    unread = 0;
    lastRead = performance.now();
    await log.steps(records.map(({ record }) => record));
    meter.add(records.map(({ record }) => record));
    const stuck = records.find(({ skippedInRow }) => skippedInRow >= MAX_SKIPPED_IN_ROW);
    if (stuck) throw notFinite(stuck.record.step, firstNonFinite);
    if (records.length === 0) return;
    const isMilestone = Math.floor(step / logEvery) > Math.floor((step - records.length) / logEvery);
    progress.live(meter.line(step), { isMilestone });
  };
  const save = async (step: number) => {
    const begin = performance.now();
    await checkpoints.saveLast(placeOf(step, session));
    lastSave = performance.now();
    saveMs = lastSave - begin;
  };

  const stop = async () => {
    progress.live("interrupted: saving");
    await read(step);
    await save(step);
    return false;
  };

  const batchOf = (step: number) => step < totalSteps ? reader.triplets(loader.batchAt(step)) : undefined;

  let step = start;
  let next = await batchOf(step);
  while (next) {
    if (signal.aborted) return await stop();
    const plan = await program.plan(next.specs).catch((error) => {
      if (!signal.aborted || error !== signal.reason) throw error; // else Ctrl-C while kernels were compiled
    });
    if (!plan) return await stop();
    meter.begin();
    plan.run(next.values, { index: step, learningRates: session.learningRates(step) });
    finishLiveStep(session.state, session.live);
    running.add(plan);
    step++;
    unread++;
    // The next batch is made while the GPU works on this one.
    next = await batchOf(step);
    await setImmediate(); // lets Ctrl-C through
    const isBoundary = step === totalSteps || (evalEvery > 0 && step % evalEvery === 0);
    const now = performance.now();
    if (isBoundary || checksFinite || unread === RING_SLOTS || now - lastRead >= READ_EVERY_MS) {
      await read(step);
    }
    if (env("CALA_DEBUG") === 2 && step === Math.min(start + PROFILED_STEP, totalSteps)) {
      progress.note(profileTable(await plan.profile(), await session.ceilings()));
    }
    if (isBoundary) {
      if (step === totalSteps) await log.finishEpoch();
      meter.pause();
      await validate(placeOf(step, session));
      await save(step); // last of all: what it does not cover is cut and done again
      meter.resume();
    } else if (unread === 0 && now - lastSave > Math.max(SAVE_EVERY_MS, SAVE_SHARE * saveMs)) {
      await save(step);
    }
  }
  return true;
}

const placeOf = (step: number, { loader }: TrainingSession): CheckpointPlace => ({
  step,
  epoch: loader.stateAt(step).epoch,
});

/** `kernels/adamw.wgsl` writes the status: values not finite, steps skipped, steps skipped in a row. */
function recordOf(
  { index, values }: ResultRow,
  session: TrainingSession,
): { record: StepRecord; skippedInRow: number } {
  const { [STATUS]: [, , skippedInRow], ...terms } = values;
  return {
    record: {
      step: index + 1,
      epoch: session.loader.stateAt(index).epoch,
      lr: session.learningRates(index)[0],
      terms: Object.fromEntries(Object.entries(terms).map(([name, [value]]) => [name, value])),
      isSkipped: skippedInRow > 0,
    },
    skippedInRow,
  };
}

const notFinite = (step: number, first?: string): ConfigError =>
  new ConfigError(`the gradients of ${MAX_SKIPPED_IN_ROW} steps in a row were not finite`, {
    where: `steps ${step - MAX_SKIPPED_IN_ROW + 1} to ${step}${first ? `; ${first}` : ""}`,
    fix: `lower the learning rate${
      first ? "" : "; CALA_CHECK_FINITE=1 names the first operation that makes a NaN"
    }`,
  });
