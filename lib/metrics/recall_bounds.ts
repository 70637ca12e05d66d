/** Recall where files are missing: what it is of the whole data is known only within an interval. */
import { DataError } from "../core/errors.ts";
import { meanOf } from "./recall.ts";

/** Two ends, in percent. */
export type Bounds = readonly [low: number, high: number];

/**
 * Between which ends the Recall of the whole data lies: at worst each missing query misses and each missing image stands
 * before every target, at best each missing query hits and no missing image does.
 *
 * @param ranks Rank of each measured query's target among the images that are there, 0 is best: `[Q]`.
 * @param leftOut Missing queries, and missing images of the gallery.
 * @throws {DataError} If there are no queries at all.
 *
 * @example Usage
 * ```ts
 * const [low, high] = recallBounds([0, 1, 1, 9], 2, { queries: 1, images: 1 });
 * if (low !== 20 || high !== 80) throw new Error("recallBounds");
 * ```
 */
export function recallBounds(
  ranks: ArrayLike<number>,
  k: number,
  { queries, images }: { readonly queries: number; readonly images: number },
): Bounds {
  const all = ranks.length + queries;
  if (all === 0) throw new DataError(`recall at ${k} of no queries`);
  const hits = (shift: number) => Array.from(ranks).filter((rank) => rank + shift < k).length;
  return [100 * hits(images) / all, 100 * (hits(0) + queries) / all];
}

/**
 * Between which ends the mean of some Recalls lies: the means of their ends.
 *
 * @example Usage
 * ```ts
 * const [low, high] = meanBounds([[10, 20], [30, 60]]);
 * if (low !== 20 || high !== 40) throw new Error("meanBounds");
 * ```
 */
export const meanBounds = (each: readonly Bounds[]): Bounds => [
  meanOf(each.map(([low]) => low)),
  meanOf(each.map(([, high]) => high)),
];
