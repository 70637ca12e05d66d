/** The metrics of a split: those of each category and of all queries, under our names and under the released ones. */
import { ConfigError } from "../core/errors.ts";
import type { Split } from "../data/triplet.ts";
import { averagePrecisionAt } from "../metrics/average_precision.ts";
import { NO_RANK } from "../metrics/ranking.ts";
import {
  cirrMetrics,
  FASHION_IQ_CATEGORIES,
  fashionIqMetrics,
  meanOf,
  type Recalls,
  retrievalMetrics,
} from "../metrics/recall.ts";
import type { Bounds } from "../metrics/recall_bounds.ts";
import { galleryImages, type Ranking } from "./evaluate.ts";
import { extremes } from "./extremes.ts";

/** What tables show of a ranking. */
export interface RankingMetrics {
  /** Of all queries; with categories, the mean over them, as the field has it. */
  readonly all: Recalls;
  readonly categories?: Readonly<Record<string, Recalls>>;
  /** Where files are missing: between which ends a metric of the whole data lies; `dress R@10`: that of a category. */
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
  const bounds = boundsOf(split, ranking);
  return { ...measured(split, ranking), ...(bounds ? { bounds } : {}) };
}

/** Of the queries that are there. */
function measured(split: Split, ranking: Ranking): Omit<RankingMetrics, "bounds"> {
  const byCategory = queriesByCategory(split);
  if (!byCategory) return { all: withHeadline(metricsOfQueries(split, ranking, [...split.triplets.keys()])) };
  const categories = Object.fromEntries(
    [...byCategory].map(([category, queries]) => [category, metricsOfQueries(split, ranking, queries)]),
  );
  const { queries, ...recalls } = overCategories(Object.values(categories));
  const all = { ...recalls, average_recall: (recalls["R@10"] + recalls["R@50"]) / 2, queries };
  return { all, categories };
}

/** The mean of each metric over categories; numbers of queries add up. */
function overCategories(rows: readonly Recalls[]): Recalls {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return Object.fromEntries(names.map((name) => {
    const values = rows.flatMap((row) => row[name] ?? []);
    return [name, name.endsWith("queries") ? values.reduce((a, b) => a + b, 0) : meanOf(values)];
  }));
}

/** The metrics that grow with the hits; where some queries have a group, what a missing one has is not known. */
const isBounded = (name: string, { triplets }: Split): boolean =>
  !name.endsWith("queries") && (!name.startsWith("R_subset@") || triplets.every(({ group }) => group));

/** Of the metrics of all queries and of each category that lacks files; nothing where no file is missing. */
function boundsOf(split: Split, ranking: Ranking): Record<string, Bounds> | undefined {
  const ends = extremes(split, ranking)?.map((end) => measured(end.split, end.ranking));
  if (!ends) return undefined;
  const [worst, best] = ends;
  const between = (low: Recalls, high: Recalls, prefix = "") =>
    Object.keys(low).filter((name) => isBounded(name, split))
      .map((name): [string, Bounds] => [prefix + name, [low[name], high[name]]]);
  const incomplete = Object.entries(split.leftOut ?? {}).filter(([category, { queries, images }]) =>
    worst.categories?.[category] && queries + images > 0
  );
  const each = incomplete.flatMap(([category]) =>
    between(worst.categories?.[category] ?? {}, best.categories?.[category] ?? {}, `${category} `)
  );
  return Object.fromEntries([...each, ...between(worst.all, best.all)]);
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
  return measured(split, ranking).all;
}

/**
 * A row of `validation_metrics.csv`: the metrics of the queries that are there; where files are missing, behind them the
 * ends between which each of the whole data lies, as `NAME_low` and `NAME_high`.
 */
export function validationRow(split: Split, ranking: Ranking): Recalls {
  const row = validationMetrics(split, ranking);
  const ends = extremes(split, ranking)?.map((end) => validationMetrics(end.split, end.ranking));
  if (!ends) return row;
  const [worst, best] = ends,
    names = Object.keys(row).filter((name) => isBounded(name, split) && name in worst);
  return {
    ...row,
    ...Object.fromEntries(
      names.flatMap((name) => [[`${name}_low`, worst[name]], [`${name}_high`, best[name]]]),
    ),
  };
}

/** A ranking as a perfect model has it, before there is any: which metrics a split has does not depend on the model. */
export const perfectRanking = (split: Split): Ranking => ({
  target: new Uint32Array(split.triplets.length),
  subset: Uint32Array.from(split.triplets, ({ group }) => group ? 0 : NO_RANK),
  top: split.triplets.map(() => galleryImages(split).slice(0, 1)),
  groups: split.triplets.map(({ group }) => group),
});

/**
 * The metric that picks the best checkpoint: one of a table's, or one of the released columns. The larger the better:
 * numbers of queries are none.
 *
 * @throws {ConfigError} If there is no metric of that name.
 */
export function criterion(name: string, split: Split, ranking: Ranking): number {
  const all = { ...measured(split, ranking).all, ...validationMetrics(split, ranking) };
  const metrics = new Map(Object.entries(all).filter(([metric]) => !metric.endsWith("queries")));
  const value = metrics.get(name);
  if (value !== undefined) return value;
  throw new ConfigError(`--best-by: no metric "${name}"`, {
    fix: `one of ${[...metrics.keys()].join(", ")}`,
  });
}

/** The criterion for people; where files are missing, also between which ends it lies. */
export function criterionText(name: string, split: Split, ranking: Ranking): string {
  const text = criterion(name, split, ranking).toFixed(2);
  const ends = extremes(split, ranking)?.map((end) => criterion(name, end.split, end.ranking).toFixed(2));
  return ends ? `${ends.join("–")} (${text} of what is there)` : text;
}
