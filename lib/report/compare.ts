/** Methods side by side, several seeds each: means with their uncertainty, and paired tests. Numbers only, no text. */
import { ConfigError, DataError } from "../core/errors.ts";
import { bootstrapInterval, pairedPermutationTest, type PairedTest } from "../metrics/bootstrap.ts";
import { type Protocol, protocolKey } from "../metrics/protocol.ts";
import { NO_RANK } from "../metrics/ranking.ts";
import { hitsAt, meanOf } from "../metrics/recall.ts";

/** What one run says of one split. */
export interface SeedRanks {
  readonly seed: number;
  readonly protocol: Protocol;
  /** What each query asks, so that runs can be paired: `[Q]`. */
  readonly queries: readonly string[];
  /** Each query's kind of change; empty where the data set has none: `[Q]`. */
  readonly rules: readonly string[];
  /** Rank of each query's target, 0 is best: `[Q]`. */
  readonly ranks: readonly number[];
  /** The same among the look-alikes of its group; null where it has none: `[Q]`. */
  readonly subset?: readonly (number | null)[];
  /** Where each category has a gallery of its own: Recall over all queries is then the mean of the categories': `[Q]`. */
  readonly categories?: readonly string[];
}

/** A method: its runs, of any number of splits and seeds, and the methods that it is tested against. */
export interface ComparedMethod {
  readonly label: string;
  readonly against: readonly string[];
  readonly runs: readonly SeedRanks[];
}

/** The queries that a number is about: a rule, or all of them. */
export interface Scope {
  /** `all`, or the rule. */
  readonly scope: string;
  readonly queries: number;
  /** `R@10`, or `R_subset@1` among the look-alikes. */
  readonly metric: string;
  readonly seeds: readonly number[];
}

/** A method's Recall in percent. */
export interface Estimate extends Scope {
  readonly method: string;
  readonly mean: number;
  /** Standard deviation over seeds (n - 1); null of a single one. */
  readonly spread: number | null;
  /** The 95% bootstrap interval over queries, each query averaged over the seeds first. */
  readonly low: number;
  readonly high: number;
}

/** A method against another, over the seeds that both have. */
export interface Difference extends Scope, PairedTest {
  readonly method: string;
  readonly against: string;
  /** The difference of each seed, in the order of `seeds`. */
  readonly bySeed: readonly number[];
  /** The test over seeds instead of queries; null of a single seed. */
  readonly pOverSeeds: number | null;
}

/** Everything of one protocol. */
export interface Comparison {
  readonly protocol: Protocol;
  readonly estimates: readonly Estimate[];
  readonly differences: readonly Difference[];
}

/** Seed of the resampling. One for all numbers: the same runs give the same table. */
const SEED = 1;
/** Smallest p-value that the sample can give: 1 / 10,001. */
const PERMUTATIONS = 10_000;

/**
 * Compares methods by their runs' ranks; runs of different protocols come into different comparisons.
 *
 * @param metrics `R@k`, or `R_subset@k` over the queries with a group, or the mean of some: `mean(R@5+R_s@1)`, and FashionIQ's
 * `average_recall`, that of R@10 and R@50.
 * @throws {ConfigError} If a metric is none of these.
 * @throws {DataError} If a method has a seed twice, or two runs of one protocol have different queries.
 *
 * @example Usage
 * ```ts
 * const protocol = { dataset: "toy", split: "val", gallery: "all", referenceRemoved: true };
 * const run = { seed: 1, protocol, queries: ["a", "b"], rules: ["", ""] };
 * const [{ estimates, differences }] = compareMethods([
 *   { label: "baseline", against: [], runs: [{ ...run, ranks: [0, 7] }] },
 *   { label: "ours", against: ["baseline"], runs: [{ ...run, ranks: [0, 0] }] },
 * ], ["R@1"]);
 * if (estimates[1].mean !== 100 || differences[0].difference !== 50) throw new Error("compareMethods");
 * ```
 */
export function compareMethods(
  methods: readonly ComparedMethod[],
  metrics: readonly string[],
): Comparison[] {
  const all = methods.flatMap(({ runs }) => runs);
  return [...Map.groupBy(all, ({ protocol }) => protocolKey(protocol)).values()].map((block) => {
    checkQueries(block);
    const inBlock = new Set(block);
    const here = methods.map(({ runs, ...method }) => ({
      ...method,
      runs: runs.filter((r) => inBlock.has(r)),
    }))
      .filter(({ runs }) => runs.length > 0);
    for (const { label, runs } of here) checkSeeds(label, runs);
    const [first] = block, { protocol } = first;
    const places = placesOf(first, metrics.map(measureOf));
    return {
      protocol,
      estimates: places.flatMap((at) => here.map(({ label, runs }) => estimate(label, runs, at))),
      differences: places.flatMap((at) =>
        here.flatMap(({ label, against, runs }) =>
          against.flatMap((name) => {
            const other = here.find((method) => method.label === name);
            return other ? difference(label, runs, name, other.runs, at) : [];
          })
        )
      ),
    };
  });
}

/** A metric: the mean of Recalls, of one as a rule. */
interface Measure {
  readonly metric: string;
  readonly terms: readonly Term[];
}

/** A cut-off, in the whole gallery or among the look-alikes. */
interface Term {
  readonly k: number;
  readonly isSubset: boolean;
}

/** Names of the released code for means. */
const RELEASED_MEANS: Readonly<Record<string, string>> = { average_recall: "mean(R@10+R@50)" };

function measureOf(metric: string): Measure {
  const [, sum] = /^mean\((.+)\)$/.exec(RELEASED_MEANS[metric] ?? metric) ?? [];
  const terms = (sum?.split("+") ?? [metric]).map((name) => {
    const [, subset, k] = /^R(_subset|_s)?@([1-9]\d*)$/.exec(name) ?? [];
    if (k === undefined) {
      throw new ConfigError(`metric "${metric}": expected R@k or R_subset@k, such as R@10`);
    }
    return { k: Number(k), isSubset: subset !== undefined };
  });
  return { metric, terms };
}

/** Which queries, and what of them. */
interface Place extends Measure {
  readonly scope: string;
  readonly positions: readonly number[];
  /** What each counts: 1, but where categories of different sizes count alike. The mean is 1. */
  readonly weights: readonly number[];
  /** Its category where these have galleries of their own. */
  readonly strata?: readonly string[];
}

/** Every scope with every metric that its queries have: all queries, then the rules. */
function placesOf({ rules, subset, categories }: SeedRanks, measures: readonly Measure[]): Place[] {
  const scopes: [string, readonly number[]][] = [["all", rules.map((_, q) => q)], ...queriesByRule(rules)];
  return scopes.flatMap(([scope, queries]) =>
    measures.flatMap((measure) => {
      const positions = measure.terms.some(({ isSubset }) => isSubset)
        ? queries.filter((q) => (subset?.[q] ?? null) !== null)
        : queries;
      if (positions.length === 0) return [];
      const strata = categories && positions.map((q) => categories[q]);
      return [{ ...measure, scope, positions, weights: weightsOf(positions, categories), strata }];
    })
  );
}

function weightsOf(positions: readonly number[], categories?: readonly string[]): number[] {
  if (!categories) return positions.map(() => 1);
  const counts = Map.groupBy(positions, (q) => categories[q]);
  return positions.map((q) => positions.length / (counts.size * (counts.get(categories[q]) ?? []).length));
}

/** The rules with their queries, those of the most queries first. */
function queriesByRule(rules: readonly string[]): [string, number[]][] {
  const byRule = Map.groupBy(rules.keys(), (q) => rules[q]);
  byRule.delete("");
  return [...byRule].sort(([a, p], [b, q]) => q.length - p.length || (a < b ? -1 : 1));
}

const scopeOf = ({ scope, positions, metric }: Place, runs: readonly SeedRanks[]): Scope => ({
  scope,
  queries: positions.length,
  metric,
  seeds: runs.map(({ seed }) => seed),
});

/** Each query's part of the mean. */
function hits({ ranks, subset }: SeedRanks, { positions, weights, terms }: Place): Float64Array {
  const each = terms.map(({ k, isSubset }) => {
    const of = isSubset ? subset : ranks;
    return hitsAt(positions.map((q) => of?.[q] ?? NO_RANK), k);
  });
  return each[0].map((_, i) => weights[i] * meanOf(each.map((values) => values[i])));
}

/** Each query's mean over seeds. */
const averaged = (bySeed: readonly Float64Array[]): Float64Array =>
  bySeed[0].map((_, q) => meanOf(bySeed.map((values) => values[q])));

function estimate(method: string, runs: readonly SeedRanks[], at: Place): Estimate {
  const bySeed = runs.map((run) => hits(run, at));
  const { mean, low, high } = bootstrapInterval(averaged(bySeed), { seed: SEED, strata: at.strata });
  return { method, ...scopeOf(at, runs), mean, spread: standardDeviation(bySeed.map(meanOf)), low, high };
}

function difference(
  method: string,
  runs: readonly SeedRanks[],
  against: string,
  others: readonly SeedRanks[],
  at: Place,
): Difference[] {
  const pairs = runs.flatMap((run) =>
    others.filter(({ seed }) => seed === run.seed).map((other) => ({ run, other }))
  );
  if (pairs.length === 0) return [];
  const ours = pairs.map(({ run }) => hits(run, at)), theirs = pairs.map(({ other }) => hits(other, at));
  const test = pairedPermutationTest(averaged(ours), averaged(theirs), {
    seed: SEED,
    permutations: PERMUTATIONS,
  });
  const oursBySeed = ours.map(meanOf), theirsBySeed = theirs.map(meanOf);
  return [{
    method,
    against,
    ...scopeOf(at, pairs.map(({ run }) => run)),
    ...test,
    bySeed: oursBySeed.map((mean, i) => mean - theirsBySeed[i]),
    pOverSeeds: pairs.length > 1
      ? pairedPermutationTest(oursBySeed, theirsBySeed, { seed: SEED }).pValue
      : null,
  }];
}

/** Of a sample (n - 1); null of a single value. */
function standardDeviation(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  const mean = meanOf(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}

/** @throws {DataError} If runs of one protocol do not ask the same. */
function checkQueries(runs: readonly SeedRanks[]): void {
  const [first] = runs;
  for (const run of runs) {
    if (run.ranks.length !== run.queries.length || run.rules.length !== run.queries.length) {
      throw new DataError(
        `${run.queries.length} queries, ${run.ranks.length} ranks, ${run.rules.length} rules`,
      );
    }
    const at = run.queries.length === first.queries.length
      ? run.queries.findIndex((query, q) => query !== first.queries[q] || run.rules[q] !== first.rules[q])
      : Math.min(run.queries.length, first.queries.length);
    if (at >= 0) {
      throw new DataError(
        `runs of one protocol differ in query ${at}: ${first.queries[at]} and ${run.queries[at]}`,
      );
    }
  }
}

/** @throws {DataError} If a seed occurs twice. */
function checkSeeds(label: string, runs: readonly SeedRanks[]): void {
  const seeds = runs.map(({ seed }) => seed), twice = seeds.find((seed, i) => seeds.indexOf(seed) < i);
  if (twice !== undefined) throw new DataError(`${label}: two runs of seed ${twice}`);
}
