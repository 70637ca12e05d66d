/** The factor on the scheduled groups' learning rates, as a function of where a run is. */
import { ConfigError } from "../core/errors.ts";

/** Where a run is. */
export interface StepPosition {
  /** Steps before this one. */
  readonly step: number;
  /** Passes over the triplets that were finished before this step. */
  readonly epoch: number;
}

/** The factor of a step. The released one: `({ epoch }) => cosineLr(epoch, { initLr: 1, maxEpoch: 15 })`. */
export type Schedule = (at: StepPosition) => number;

/**
 * A linear rise over `warmup` steps, times a half cosine from 1 to 0 over all `steps`:
 * `min(1, (s + 1) / warmup) · ½(1 + cos(π s / steps))`. Not the released schedule: for training from scratch.
 *
 * @throws {ConfigError} If `steps` is not positive or `warmup` is negative.
 *
 * @example Usage
 * ```ts
 * const rate = warmupCosine({ warmup: 50, steps: 1000 });
 * if (rate({ step: 1000, epoch: 0 }) !== 0) throw new Error("warmupCosine");
 * ```
 */
export function warmupCosine({ warmup, steps }: { warmup: number; steps: number }): Schedule {
  if (!(steps > 0)) throw new ConfigError(`a schedule over ${steps} steps`);
  if (!(warmup >= 0)) throw new ConfigError(`a warm-up of ${warmup} steps`);
  return ({ step }) => {
    const rise = warmup > 0 ? Math.min(1, (step + 1) / warmup) : 1;
    return rise * 0.5 * (1 + Math.cos(Math.PI * Math.min(1, step / steps)));
  };
}
