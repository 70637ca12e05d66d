/** A metric where files are missing: what it is of the whole data is known only within an interval. */
import { meanOf } from "./recall.ts";

/** Two ends, in percent. */
export type Bounds = readonly [low: number, high: number];

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
