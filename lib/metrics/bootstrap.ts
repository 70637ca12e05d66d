/** How far a mean over queries can be trusted, and whether two methods differ. Seeded: same input, same numbers. */
import { ConfigError, DataError } from "../core/errors.ts";
import { Random } from "../core/random.ts";
import { meanOf } from "./recall.ts";

/** The mean of a sample, and an interval that covers the population's. */
export interface Interval {
  mean: number;
  low: number;
  high: number;
}

/**
 * The percentile bootstrap interval of the mean: queries are drawn anew with replacement, `resamples` times, and the
 * interval leaves out the same share of the means on both sides.
 *
 * It speaks of other queries of the same kind, not of other seeds of training. Queries that share a reference are not
 * independent, so it is somewhat too narrow where many do.
 *
 * Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
 *
 * @param values One number a query, such as `hitsAt` of `recall.ts` gives: `[Q]`.
 * @param options.strata What each query belongs to: every resample has as many of each as there are, so the weights of
 * categories that count alike stay what they are. Default: all one.
 * @throws {DataError} If there are no values, or one is not finite.
 *
 * @example Usage
 * ```ts
 * const { mean, low, high } = bootstrapInterval([100, 0, 100, 100, 0, 100], { seed: 1 });
 * if (!(low < mean && mean < high)) throw new Error("bootstrapInterval");
 * ```
 */
export function bootstrapInterval(
  values: ArrayLike<number>,
  { seed, resamples = 2000, confidence = 0.95, strata }: {
    seed: number;
    resamples?: number;
    confidence?: number;
    strata?: readonly string[];
  },
): Interval {
  checkValues(values);
  if (!(confidence > 0 && confidence < 1)) {
    throw new ConfigError(`confidence ${confidence} is not between 0 and 1`);
  }
  const n = values.length,
    counts = resampleCounts(n, resamples, seed, strata),
    numbers = Float64Array.from(values);
  const means = new Float64Array(resamples);
  for (let r = 0; r < resamples; r++) {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += counts[r * n + i] * numbers[i];
    means[r] = sum / n;
  }
  means.sort();
  const tail = (1 - confidence) / 2;
  return { mean: meanOf(values), low: quantile(means, tail), high: quantile(means, 1 - tail) };
}

/** Draws of the sizes that were last asked for: a table asks for the same ones at every metric and row. */
const drawn = new Map<string, Uint16Array>();
const MAX_DRAWN = 4;

/** How often each resample holds each value: `[resamples, n]`. A function of its arguments alone. */
function resampleCounts(
  n: number,
  resamples: number,
  seed: number,
  strata: readonly string[] = [],
): Uint16Array {
  const key = JSON.stringify([n, resamples, seed, strata]), known = drawn.get(key);
  if (known) return known;
  const counts = new Uint16Array(resamples * n), random = new Random(seed, "bootstrap");
  const groups = [...Map.groupBy(Array(n).keys(), (i) => strata[i]).values()];
  for (let r = 0; r < resamples; r++) {
    for (const group of groups) {
      for (let i = 0; i < group.length; i++) counts[r * n + group[random.nextInt(group.length)]]++;
    }
  }
  for (const oldest of drawn.keys()) if (drawn.size >= MAX_DRAWN) drawn.delete(oldest);
  drawn.set(key, counts);
  return counts;
}

/** The outcome of a paired test. */
export interface PairedTest {
  /** Mean of `a - b`. */
  difference: number;
  /** Two-sided: how often chance alone would give a difference as large. */
  pValue: number;
  /** Whether all assignments were counted, or a sample of them. */
  isExact: boolean;
}

const MAX_EXACT = 16; // 65,536 assignments: no slower than the default sample

/**
 * The paired permutation test of two methods over the same queries: were the methods equal, each query's two values could
 * be exchanged, which flips the sign of its difference. The p-value is the share of sign assignments whose absolute sum is
 * at least the one observed: all of them if at most 16 queries differ, otherwise `permutations` drawn at random, the
 * observed one counted among them, so that it is never 0.
 *
 * Source: Fisher, The Design of Experiments, 1935, section 21; Phipson and Smyth, 2010, for the +1.
 *
 * @param a,b One number a query, in the same order: `[Q]`.
 * @throws {DataError} If the lengths differ, there are no values, or one is not finite.
 *
 * @example Usage
 * ```ts
 * const { pValue } = pairedPermutationTest([100, 100, 100, 0], [0, 0, 0, 0], { seed: 1 });
 * if (pValue !== 0.25) throw new Error(`${pValue}`); // 2 of 8 assignments: all up, all down
 * ```
 */
export function pairedPermutationTest(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  { seed, permutations = 100_000 }: { seed: number; permutations?: number },
): PairedTest {
  checkValues(a);
  checkValues(b);
  if (a.length !== b.length) throw new DataError(`paired test of ${a.length} and ${b.length} queries`);
  const differences = Float64Array.from(a, (value, i) => value - b[i]).filter((d) => d !== 0);
  const total = differences.reduce((sum, d) => sum + d, 0);
  const difference = total / a.length, n = differences.length;
  // Sums in another order differ by rounding; a tie must count as a tie.
  const atLeast = Math.abs(total) - 1e-9 * differences.reduce((sum, d) => sum + Math.abs(d), 0);

  if (n <= MAX_EXACT) {
    let extreme = 0;
    for (let signs = 0; signs < 2 ** n; signs++) {
      if (Math.abs(signedSum(differences, (i) => signs >>> i & 1)) >= atLeast) extreme++;
    }
    return { difference, pValue: extreme / 2 ** n, isExact: true };
  }
  const random = new Random(seed, "permutation");
  let extreme = 0, bits = 0;
  for (let p = 0; p < permutations; p++) {
    const sum = signedSum(differences, (i) => {
      if (i % 32 === 0) bits = random.nextU32();
      return bits >>> (i % 32) & 1;
    });
    if (Math.abs(sum) >= atLeast) extreme++;
  }
  return { difference, pValue: (extreme + 1) / (permutations + 1), isExact: false };
}

/** The sum with the sign of `values[i]` flipped where `bit(i)` is 1. */
function signedSum(values: Float64Array, bit: (i: number) => number): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += bit(i) ? -values[i] : values[i];
  return sum;
}

/** Linear between the two nearest of the sorted values. */
function quantile(sorted: Float64Array, q: number): number {
  const at = q * (sorted.length - 1), below = Math.floor(at), above = Math.ceil(at);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}

function checkValues(values: ArrayLike<number>): void {
  if (values.length === 0) throw new DataError("statistics of no queries");
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) throw new DataError(`query ${i}: its value is ${values[i]}`);
  }
}
