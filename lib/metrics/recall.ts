/** Recall from ranks: the generic metrics, and those of FashionIQ and CIRR under the released names. */
import { ConfigError, DataError } from "../core/errors.ts";
import { NO_RANK } from "./ranking.ts";

/** Metrics by name: percent, or a number of queries. */
export type Recalls = Record<string, number>;

/**
 * Share of queries whose target is among the first `k` of the ranking, in percent.
 *
 * @param ranks Rank of each query's target, 0 is best: `[Q]`.
 * @param k Cut-off, at least 1.
 * @returns Percent, 0 to 100.
 * @throws {ConfigError} If `k` is not a positive integer.
 * @throws {DataError} If there are no ranks, or one is `NO_RANK`.
 *
 * @example Usage
 * ```ts
 * if (recallAt([0, 3, 12, 1], 2) !== 50) throw new Error("recallAt");
 * ```
 */
export const recallAt = (ranks: ArrayLike<number>, k: number): number => meanOf(hitsAt(ranks, k));

/**
 * A hit or a miss of each query: 100 or 0, so that the mean is the recall in percent.
 *
 * @param ranks Rank of each query's target, 0 is best: `[Q]`.
 * @throws As `recallAt`.
 */
export function hitsAt(ranks: ArrayLike<number>, k: number): Float64Array<ArrayBuffer> {
  if (!(Number.isInteger(k) && k >= 1)) throw new ConfigError(`recall at ${k}: expected a positive integer`);
  if (ranks.length === 0) throw new DataError(`recall at ${k} of no queries`);
  return Float64Array.from(ranks, (rank, query) => {
    if (rank === NO_RANK) throw new DataError(`recall at ${k}: query ${query} has no rank`);
    return rank < k ? 100 : 0;
  });
}

/** The mean of numbers; of none it is NaN. */
export const meanOf = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((a, b) => a + b, 0) / values.length;

/** Where tables cut rankings off. */
export const CUT_OFFS = [1, 5, 10, 50] as const;
/** The same in CIRR's groups. */
export const SUBSET_CUT_OFFS = [1, 2, 3] as const;

/**
 * The metrics of any data set: `R@1` to `R@50` and the number of `queries`; with `subset` ranks also `R_subset@1` to
 * `R_subset@3` over the `subset queries`, which are those with a known group. Without any such query they are left out.
 *
 * @param ranks From `targetRanks`: `[Q]`.
 * @param subset From `subsetRanks`, `NO_RANK` where a query has no group: `[Q]`.
 */
export function retrievalMetrics(ranks: ArrayLike<number>, subset: ArrayLike<number> = []): Recalls {
  const metrics: Recalls = {};
  for (const k of CUT_OFFS) metrics[`R@${k}`] = recallAt(ranks, k);
  const inGroup = Array.from(subset).filter((rank) => rank !== NO_RANK);
  const counts: Recalls = { queries: ranks.length };
  if (inGroup.length > 0) {
    for (const k of SUBSET_CUT_OFFS) metrics[`R_subset@${k}`] = recallAt(inGroup, k);
    counts["subset queries"] = inGroup.length;
  }
  return { ...metrics, ...counts };
}

/** Recall as the released code computes it: `100 * f32(hits / queries)`, so that printed values agree in every digit. */
const releasedRecall = (ranks: ArrayLike<number>, k: number): number =>
  100 * Math.fround(recallAt(ranks, k) / 100);

/** FashionIQ's categories, in the order of the released tables. Each has its own gallery; the reference stays in. */
export const FASHION_IQ_CATEGORIES = ["dress", "toptee", "shirt"] as const;
/** The metric that picks FashionIQ's best checkpoint: strictly greater than the best so far, from 0. */
export const FASHION_IQ_CRITERION = "average_recall";
/** The metric that picks CIRR's best checkpoint. Quirk Q40: the plain mean of seven recalls, not the field's headline. */
export const CIRR_CRITERION = "arithmetic_mean";

/**
 * FashionIQ's validation metrics, keyed and ordered as the columns of `validation_metrics.csv` after `epoch`.
 *
 * Source: the released `blip_fine_tune.py` and `validate.py`, `compute_fiq_val_metrics`.
 *
 * @param ranks Of each category's queries in its own gallery.
 */
export function fashionIqMetrics(
  ranks: Record<(typeof FASHION_IQ_CATEGORIES)[number], ArrayLike<number>>,
): Recalls {
  const metrics: Recalls = {};
  for (const category of FASHION_IQ_CATEGORIES) {
    for (const k of [10, 50]) metrics[`${category}_recall_at${k}`] = releasedRecall(ranks[category], k);
  }
  const average = (k: number) =>
    meanOf(FASHION_IQ_CATEGORIES.map((category) => metrics[`${category}_recall_at${k}`]));
  metrics.average_recall_at10 = average(10);
  metrics.average_recall_at50 = average(50);
  metrics.average_recall = meanOf([metrics.average_recall_at10, metrics.average_recall_at50]);
  return metrics;
}

/**
 * CIRR's validation metrics, keyed and ordered as the columns of `validation_metrics.csv` after `epoch`: the subset
 * recalls at 1, 2, 3, the recalls at 1, 5, 10, 50, `(R@5 + R_subset@1) / 2`, and three means over all seven recalls.
 *
 * Source: the released `validate.py`, `compute_cirr_val_metrics`; means in `blip_fine_tune.py`. Quirk Q39: there the
 * geometric mean raises if a recall is 0; here it is 0, as the harmonic one.
 *
 * @param ranks In the whole gallery without the reference: `[Q]`.
 * @param subset Among the five other members of the group: `[Q]`.
 */
export function cirrMetrics(ranks: ArrayLike<number>, subset: ArrayLike<number>): Recalls {
  if (ranks.length !== subset.length) {
    throw new DataError(`${ranks.length} ranks, but ${subset.length} subset ranks`);
  }
  const metrics: Recalls = {};
  for (const k of SUBSET_CUT_OFFS) metrics[`group_recall_at${k}`] = releasedRecall(subset, k);
  for (const k of CUT_OFFS) metrics[`recall_at${k}`] = releasedRecall(ranks, k);
  const seven = Object.values(metrics);
  metrics["mean(R@5+R_s@1)"] = (metrics.group_recall_at1 + metrics.recall_at5) / 2;
  metrics.arithmetic_mean = meanOf(seven);
  metrics.harmonic_mean = seven.includes(0) ? 0 : 1 / meanOf(seven.map((recall) => 1 / recall));
  metrics.geometric_mean = seven.includes(0) ? 0 : Math.exp(meanOf(seven.map(Math.log)));
  return metrics;
}
