/** Learning rates over time: pure functions of the epoch. */
import { ConfigError } from "../core/errors.ts";

/** Options of `cosineLr`. */
export interface CosineOptions {
  /** The rate at epoch 0. */
  readonly initLr: number;
  /** Half a period: the epoch of the minimum. */
  readonly maxEpoch: number;
  readonly minLr?: number;
  /** What follows `maxEpoch`: `rise` climbs back up the cosine, as released (Q15); `hold` stays at the minimum. */
  readonly afterMax?: "rise" | "hold";
}

/**
 * `min + ½ (init − min) (1 + cos(π epoch / maxEpoch))`.
 *
 * Source: CaLa, `utils.cosine_lr_schedule`, which the released code calls once an epoch and applies to the optimiser's
 * first group only.
 *
 * @param epoch From 0; fractions are allowed.
 * @throws {ConfigError} If `maxEpoch` is not above 0.
 *
 * @example Usage
 * ```ts
 * const lr = (epoch: number) => cosineLr(epoch, { initLr: 1, maxEpoch: 15 });
 * if (lr(15) !== 0 || lr(30) !== 1) throw new Error("the released cosine climbs back");
 * ```
 */
export function cosineLr(
  epoch: number,
  { initLr, maxEpoch, minLr = 0, afterMax = "rise" }: CosineOptions,
): number {
  if (!(maxEpoch > 0)) throw new ConfigError(`maxEpoch is ${maxEpoch}; expected a number above 0`);
  const e = afterMax === "hold" ? Math.min(epoch, maxEpoch) : epoch;
  return minLr + 0.5 * (initLr - minLr) * (1 + Math.cos(Math.PI * e / maxEpoch));
}
