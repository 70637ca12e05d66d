import assert from "node:assert/strict";
import { ConfigError, DataError } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import { bootstrapInterval, pairedPermutationTest } from "../../lib/metrics/bootstrap.ts";

const coin = (n: number, p: number, seed: number): number[] => {
  const random = new Random(seed, "bootstrap test");
  return Array.from({ length: n }, () => random.nextUniform() < p ? 100 : 0);
};

Deno.test("bootstrapInterval() of many hits is the normal interval", () => {
  const values = coin(2000, 0.3, 1);
  const { mean, low, high } = bootstrapInterval(values, { seed: 1 });
  const p = mean / 100, half = 100 * 1.96 * Math.sqrt(p * (1 - p) / 2000);
  // The end of 2,000 resamples has a standard error of about 2.8% of the half-width's 1.96 sigma, so 10% is 3.5 of them.
  assert.ok(Math.abs(mean - low - half) < 0.1 * half, `${mean - low} against ${half}`);
  assert.ok(Math.abs(high - mean - half) < 0.1 * half, `${high - mean} against ${half}`);
  assert.equal(mean, values.reduce((a, b) => a + b, 0) / 2000);
});

Deno.test("bootstrapInterval() gives the same numbers for a seed, and others for another", () => {
  const values = new Random(3).normal(50);
  const first = bootstrapInterval(values, { seed: 1 });
  assert.deepEqual(bootstrapInterval(values, { seed: 1 }), first);
  assert.notDeepEqual(bootstrapInterval(values, { seed: 2 }), first);
  const wide = bootstrapInterval(values, { seed: 1, confidence: 0.99 });
  assert.ok(wide.low < first.low && wide.high > first.high);
});

Deno.test("bootstrapInterval() of equal values is a point", () => {
  assert.deepEqual(bootstrapInterval([7, 7, 7], { seed: 1 }), { mean: 7, low: 7, high: 7 });
});

Deno.test("bootstrapInterval() of strata has as many of each in every resample", () => {
  const strata = Array.from({ length: 40 }, (_, i) => i < 10 ? "few" : "many");
  const weighted = strata.map((name) => name === "few" ? 200 : 200 / 3); // all hit, both count alike
  const { mean, low, high } = bootstrapInterval(weighted, { seed: 1, strata });
  for (const end of [mean, low, high]) assert.ok(Math.abs(end - 100) < 1e-9, `${end}`);
  assert.ok(bootstrapInterval(weighted, { seed: 1 }).high > 105, "without them it is no percentage");
  const one = bootstrapInterval([1, 2, 3, 4], { seed: 1, strata: ["a", "a", "a", "a"] });
  assert.deepStrictEqual(one, bootstrapInterval([1, 2, 3, 4], { seed: 1 }));
});

Deno.test("bootstrapInterval() covers the true mean about as often as it says", () => {
  let covered = 0;
  for (let trial = 0; trial < 200; trial++) {
    const { low, high } = bootstrapInterval(coin(100, 0.5, 100 + trial), { seed: trial, resamples: 300 });
    if (low <= 50 && 50 <= high) covered++;
  }
  assert.ok(covered >= 180 && covered <= 199, `${covered} of 200`); // 190 expected, sigma 3
});

Deno.test("pairedPermutationTest() of few differences is exact", () => {
  const test = (a: number[], b: number[]) => pairedPermutationTest(a, b, { seed: 1 });
  assert.deepEqual(test([100, 100, 100, 0], [0, 0, 0, 0]), { difference: 75, pValue: 0.25, isExact: true });
  assert.deepEqual(test([1, 2], [1, 2]), { difference: 0, pValue: 1, isExact: true });
  assert.equal(test([0, 0, 0, 0, 0], [1, 1, 1, 1, 1]).pValue, 2 / 32);
  // 3 up and 1 down of equal size: |sum| of at least 2 has 2 * (1 + 4) of 16 assignments, the sign test's value.
  assert.equal(test([1, 1, 1, 0], [0, 0, 0, 1]).pValue, 10 / 16);
  // Thirds do not sum exactly; ties must still count as ties.
  assert.equal(test([1 / 3, 1 / 3, 2 / 3, 0.1], [0, 0, 0, 0.1]).pValue, 2 / 8);
});

Deno.test("pairedPermutationTest() of many differences agrees with the sign test", () => {
  const a = Array.from({ length: 60 }, (_, i) => i < 22 ? 100 : 0); // 22 up, 8 down, 30 equal
  const b = Array.from({ length: 60 }, (_, i) => i >= 22 && i < 30 ? 100 : 0);
  const choose = (n: number, k: number): number => k === 0 ? 1 : choose(n, k - 1) * (n - k + 1) / k;
  const exact = 2 * Array.from({ length: 9 }, (_, k) => choose(30, k)).reduce((x, y) => x + y) / 2 ** 30;
  const { pValue, isExact } = pairedPermutationTest(a, b, { seed: 5 });
  assert.equal(isExact, false);
  assert.ok(Math.abs(pValue - exact) < 4 * Math.sqrt(exact / 100_000), `${pValue} against ${exact}`);
  assert.equal(pairedPermutationTest(a, b, { seed: 5 }).pValue, pValue);
  assert.equal(pairedPermutationTest(b, a, { seed: 5 }).difference, -100 * 14 / 60);
});

Deno.test("pairedPermutationTest() never says 0", () => {
  const { pValue } = pairedPermutationTest(Array(40).fill(1), Array(40).fill(0), {
    seed: 1,
    permutations: 99,
  });
  assert.equal(pValue, 0.01);
});

Deno.test("statistics refuse what is no sample", () => {
  assert.throws(() => bootstrapInterval([], { seed: 1 }), DataError);
  assert.throws(() => bootstrapInterval([1, NaN], { seed: 1 }), /query 1: its value is NaN/);
  assert.throws(() => bootstrapInterval([1], { seed: 1, confidence: 95 }), ConfigError);
  assert.throws(() => pairedPermutationTest([1], [1, 2], { seed: 1 }), /paired test of 1 and 2/);
  assert.throws(() => pairedPermutationTest([1], [Infinity], { seed: 1 }), DataError);
});
