/** The metrics of a split: those of each category and of all queries, under our names and under the released ones. */
import { ConfigError } from "../core/errors.ts";
import type { Split } from "../data/triplet.ts";
import { averagePrecisionAt } from "../metrics/average_precision.ts";
import { NO_RANK } from "../metrics/ranking.ts";
import {
  cirrMetrics,
  CUT_OFFS,
  FASHION_IQ_CATEGORIES,
  fashionIqMetrics,
  meanOf,
  type Recalls,
  retrievalMetrics,
  SUBSET_CUT_OFFS,
} from "../metrics/recall.ts";
import { type Bounds, meanBounds, recallBounds } from "../metrics/recall_bounds.ts";
import { galleryImages, type Ranking } from "./evaluate.ts";

/** What tables show of a ranking. */
export interface RankingMetrics {
  /** Of all queries; with categories, the mean over them, as the field has it. */
  readonly all: Recalls;
  readonly categories?: Readonly<Record<string, Recalls>>;
  /** Where files are missing: between which ends the Recall of the whole data lies; `dress R@10`: that of a category. */
  readonly bounds?: Readonly<Record<string, Bounds>>;
}

/** Cut-offs of mAP, as CIRCO has them. */
const MAP_CUT_OFFS = [5, 10, 25, 50];

/**
 * The metrics of a ranking: Recall, with groups the Recall in them, and where any query has several targets, mAP over all.
 * Where all queries have groups, `mean(R@5+R_s@1)` too; where there are categories, `average_recall`, the mean of R@10
 * and R@50.
 *
 * @throws {DataError} If targets are secret or there are no queries.
 */
export function metricsOf(split: Split, ranking: Ranking): RankingMetrics {
  const byCategory = queriesByCategory(split), bounds = boundsOf(split, ranking);
  const limits = bounds ? { bounds } : {};
  if (!byCategory) {
    const all = metricsOfQueries(split, ranking, [...split.triplets.keys()]);
    return { all: withHeadline(all), ...limits };
  }
  const categories = Object.fromEntries(
    [...byCategory].map(([category, queries]) => [category, metricsOfQueries(split, ranking, queries)]),
  );
  const { queries, ...recalls } = overCategories(Object.values(categories));
  const all = { ...recalls, average_recall: (recalls["R@10"] + recalls["R@50"]) / 2, queries };
  return { all, categories, ...limits };
}

/** The mean of each metric over categories; numbers of queries add up. */
function overCategories(rows: readonly Recalls[]): Recalls {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return Object.fromEntries(names.map((name) => {
    const values = rows.flatMap((row) => row[name] ?? []);
    return [name, name.endsWith("queries") ? values.reduce((a, b) => a + b, 0) : meanOf(values)];
  }));
}

/** Of every Recall of `metricsOf`; nothing where no file is missing. */
function boundsOf(split: Split, { target, subset }: Ranking): Record<string, Bounds> | undefined {
  const { leftOut = {}, triplets } = split;
  if (Object.values(leftOut).every(({ queries, images }) => queries + images === 0)) return undefined;
  const byCategory = queriesByCategory(split);
  const groups: [string, number[]][] = byCategory
    ? Object.keys(split.galleries ?? {}).map((name) => [name, byCategory.get(name) ?? []])
    : [["", [...triplets.keys()]]];
  const asked = groups.filter(([name, queries]) => queries.length + (leftOut[name]?.queries ?? 0) > 0);
  const boundsIn = ([category, queries]: [string, number[]], ranks: Uint32Array, k: number): Bounds =>
    recallBounds(queries.map((q) => ranks[q]), k, leftOut[category] ?? { queries: 0, images: 0 });
  const bounds = (ranks: Uint32Array, k: number): Bounds =>
    meanBounds(asked.map((group) => boundsIn(group, ranks, k)));
  const found = Object.fromEntries(CUT_OFFS.map((k) => [`R@${k}`, bounds(target, k)]));
  if (byCategory) {
    const incomplete = asked.filter(([name]) =>
      leftOut[name] && leftOut[name].queries + leftOut[name].images > 0
    );
    const each = incomplete.flatMap((group) =>
      CUT_OFFS.map((k) => [`${group[0]} R@${k}`, boundsIn(group, target, k)])
    );
    const average = meanBounds([found["R@10"], found["R@50"]]);
    return { ...Object.fromEntries(each), ...found, average_recall: average };
  }
  if (!triplets.every(({ group }) => group)) return found;
  for (const k of SUBSET_CUT_OFFS) found[`R_subset@${k}`] = bounds(subset, k);
  return { ...found, "mean(R@5+R_s@1)": meanBounds([found["R@5"], found["R_subset@1"]]) };
}

/** The queries of each category that has a gallery, in the order of the galleries; nothing where there is one gallery. */
function queriesByCategory({ triplets, galleries }: Split): Map<string, number[]> | undefined {
  if (!galleries) return undefined;
  const queries = Map.groupBy(triplets.keys(), (q) => triplets[q].category ?? "");
  return new Map(
    Object.keys(galleries).flatMap((name) => {
      const own = queries.get(name);
      return own ? [[name, own]] : [];
    }),
  );
}

function metricsOfQueries(
  { triplets }: Split,
  { target, subset, top }: Ranking,
  queries: readonly number[],
): Recalls {
  const recalls = retrievalMetrics(queries.map((q) => target[q]), queries.map((q) => subset[q]));
  if (!triplets.some(({ targets }) => targets)) return recalls;
  const targetsOf = (q: number) => triplets[q].targets ?? [triplets[q].target ?? -1];
  const precision = Object.fromEntries(
    MAP_CUT_OFFS.map((k) => [
      `mAP@${k}`,
      meanOf(queries.map((q) => averagePrecisionAt(top[q], targetsOf(q), k))),
    ]),
  );
  return { ...precision, ...recalls };
}

/** With the field's headline where every query has a group. */
function withHeadline(metrics: Recalls): Recalls {
  const { queries, "subset queries": inGroups, ...recalls } = metrics;
  if (inGroups !== queries) return metrics;
  const headline = (recalls["R@5"] + recalls["R_subset@1"]) / 2;
  return { ...recalls, "mean(R@5+R_s@1)": headline, queries, "subset queries": inGroups };
}

/**
 * What a validation writes down: the released columns where the data are FashionIQ's or CIRR's, else the table's metrics.
 */
export function validationMetrics(split: Split, ranking: Ranking): Recalls {
  const byCategory = queriesByCategory(split);
  if (byCategory) {
    const ranks = (name: string) => (byCategory.get(name) ?? []).map((q) => ranking.target[q]);
    const isFashionIq = FASHION_IQ_CATEGORIES.every((name) => byCategory.has(name)) &&
      byCategory.size === FASHION_IQ_CATEGORIES.length;
    if (isFashionIq) {
      return fashionIqMetrics({ dress: ranks("dress"), toptee: ranks("toptee"), shirt: ranks("shirt") });
    }
  } else if (split.triplets.every(({ group }) => group)) return cirrMetrics(ranking.target, ranking.subset);
  return metricsOf(split, ranking).all;
}

/** A ranking as a perfect model has it, before there is any: which metrics a split has does not depend on the model. */
export const perfectRanking = (split: Split): Ranking => ({
  target: new Uint32Array(split.triplets.length),
  subset: Uint32Array.from(split.triplets, ({ group }) => group ? 0 : NO_RANK),
  top: split.triplets.map(() => galleryImages(split).slice(0, 1)),
  groups: split.triplets.map(({ group }) => group),
});

/**
 * The metric that picks the best checkpoint: one of a table's, or one of the released columns.
 *
 * @throws {ConfigError} If there is no metric of that name.
 */
export function criterion(name: string, split: Split, ranking: Ranking): number {
  const metrics = { ...metricsOf(split, ranking).all, ...validationMetrics(split, ranking) };
  if (Object.hasOwn(metrics, name)) return metrics[name];
  throw new ConfigError(`--best-by: no metric "${name}"`, {
    fix: `one of ${Object.keys(metrics).join(", ")}`,
  });
}
