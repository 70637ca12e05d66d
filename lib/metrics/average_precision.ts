/** Mean average precision, where a query has several right answers. */
import { ConfigError, DataError } from "../core/errors.ts";

/**
 * Average precision at `k` of one query, in percent: the mean of the precision at each rank that holds a right answer,
 * `1 / min(k, |targets|) · sum_{r <= k} precision(r) · [rank r is right]`. With one target it is the reciprocal of its
 * rank, up to `k`.
 *
 * Source: Baldrati et al., "Zero-shot composed image retrieval with textual inversion" (ICCV 2023), section 5: CIRCO's
 * mAP@K.
 *
 * @param top The ranking, best first; at least its first `k` places, unless it is shorter as a whole.
 * @param targets All right answers.
 * @param k Cut-off, at least 1.
 * @throws {ConfigError} If `k` is not a positive integer.
 * @throws {DataError} If there is no target, or one is named twice.
 *
 * @example Usage
 * ```ts
 * const ap = averagePrecisionAt([7, 3, 9, 4], [7, 9, 1], 3); // (1/1 + 2/3) / 3
 * if (Math.abs(ap - 100 * 5 / 9) > 1e-9) throw new Error(`${ap}`);
 * ```
 */
export function averagePrecisionAt(top: ArrayLike<number>, targets: ArrayLike<number>, k: number): number {
  if (!(Number.isInteger(k) && k >= 1)) throw new ConfigError(`mAP at ${k}: expected a positive integer`);
  const right = new Set(Array.from(targets));
  if (right.size === 0 || right.size < targets.length) {
    throw new DataError(`mAP at ${k}: targets [${Array.from(targets).join(", ")}] are none or not distinct`);
  }
  let hits = 0, sum = 0;
  for (let r = 0; r < Math.min(k, top.length); r++) {
    if (right.has(top[r])) sum += ++hits / (r + 1);
  }
  return 100 * sum / Math.min(k, right.size);
}
