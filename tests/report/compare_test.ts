import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import { DataError } from "../../lib/core/errors.ts";
import { encodeCsv, parseCsv } from "../../lib/io/csv.ts";
import { compareMethods, type SeedRanks } from "../../lib/report/compare.ts";
import { comparisonBlocks, differenceRows, estimateRows } from "../../lib/report/compare_text.ts";
import { terminalBlocks } from "../../lib/report/table.ts";

const protocol = { dataset: "toy", split: "val", gallery: "all", referenceRemoved: true };
const run = (seed: number, ranks: number[], more: Partial<SeedRanks> = {}): SeedRanks => ({
  seed,
  protocol,
  queries: ranks.map((_, q) => `q${q}`),
  rules: ["clock", "clock", "colour", ""].slice(0, ranks.length),
  ranks,
  ...more,
});
const HIT = 0, MISS = 9;

/** Baseline: 25 and 50 at 1. Ours: 100, 75 and, of a seed that the baseline lacks, 0. */
const methods = [
  { label: "baseline", against: [], runs: [run(1, [HIT, MISS, MISS, MISS]), run(2, [HIT, HIT, MISS, MISS])] },
  {
    label: "ours",
    against: ["baseline", "not run"],
    runs: [run(1, [HIT, HIT, HIT, HIT]), run(2, [HIT, HIT, HIT, MISS]), run(3, [MISS, MISS, MISS, MISS])],
  },
];

Deno.test("compareMethods(): mean, spread and interval over queries averaged over seeds", () => {
  const [{ estimates }] = compareMethods(methods, ["R@1"]);
  const [baseline, ours] = estimates;
  deepStrictEqual([baseline.mean, baseline.spread, baseline.seeds, baseline.queries], [
    37.5,
    Math.sqrt(2 * 12.5 ** 2),
    [1, 2],
    4,
  ]);
  ok(baseline.low < 37.5 && baseline.high > 37.5 && baseline.low >= 0 && baseline.high <= 100);
  ok(Math.abs(ours.mean - 175 / 3) < 1e-9);
});

Deno.test("compareMethods(): tests pair queries, over the seeds that both have", () => {
  const [{ differences }] = compareMethods(methods, ["R@1"]);
  const all = differences.filter(({ scope }) => scope === "all");
  strictEqual(all.length, 1); // "not run" has no runs
  const [{ seeds, bySeed, difference, pValue, isExact, pOverSeeds }] = all;
  deepStrictEqual([seeds, bySeed], [[1, 2], [75, 25]]);
  // Differences by query: 0, 50, 100, 50. Of the 8 assignments, only all up and all down reach 200.
  deepStrictEqual([difference, pValue, isExact], [50, 0.25, true]);
  strictEqual(pOverSeeds, 0.5); // of 4 assignments of 75 and 25: all up, all down
});

Deno.test("compareMethods(): by rule, those of the most queries first; queries without a rule count in all only", () => {
  const [{ estimates }] = compareMethods(methods, ["R@1", "R@10"]);
  const of = (method: string) => estimates.filter((e) => e.method === method && e.metric === "R@1");
  deepStrictEqual(of("baseline").map(({ scope, queries, mean }) => [scope, queries, mean]), [
    ["all", 4, 37.5],
    ["clock", 2, 75],
    ["colour", 1, 0],
  ]);
  strictEqual(estimates.filter(({ metric }) => metric === "R@10").every(({ mean }) => mean === 100), true);
});

Deno.test("compareMethods(): subset recall counts the queries with a group; categories count alike", () => {
  const subset = [0, 1, null, 2], categories = ["dress", "shirt", "shirt", "shirt"];
  const of = (one: SeedRanks, metric: string) => {
    const [{ estimates }] = compareMethods([{ label: "a", against: [], runs: [one] }], [metric]);
    return estimates.map(({ scope, queries, mean }) => [scope, queries, mean]);
  };
  const ranks = [HIT, MISS, MISS, HIT],
    at2 = of(run(1, ranks, { subset, rules: ["", "x", "y", ""] }), "R_subset@2");
  strictEqual(at2.length, 2); // no query of rule y has a group
  ok(Math.abs(Number(at2[0][2]) - 200 / 3) < 1e-9);
  deepStrictEqual(at2.map(([scope, queries]) => [scope, queries]), [["all", 3], ["x", 1]]);
  // dress: 1 of 1; shirt: 1 of 3
  const [all, shirt, dress] = of(run(1, ranks, { categories, rules: categories }), "R@1");
  ok(Math.abs(Number(all[2]) - (100 + 100 / 3) / 2) < 1e-9, String(all));
  deepStrictEqual([shirt, dress], [["shirt", 3, 100 / 3], ["dress", 1, 100]]);
  throws(() => of(run(1, ranks), "recall"), { message: /^metric "recall": expected R@k or R_subset@k/ });
});

Deno.test("compareMethods(): runs of different protocols never meet", () => {
  const other = { ...protocol, referenceRemoved: false };
  const comparisons = compareMethods([
    { label: "baseline", against: [], runs: [run(1, [HIT, MISS])] },
    { label: "ours", against: ["baseline"], runs: [run(1, [HIT, HIT], { protocol: other })] },
  ], ["R@1"]);
  deepStrictEqual(comparisons.map((c) => [c.protocol, c.estimates[0].method, c.differences]), [
    [protocol, "baseline", []],
    [other, "ours", []],
  ]);
});

Deno.test("compareMethods() refuses runs that do not ask the same, and a seed twice", () => {
  const against = (second: SeedRanks) => () =>
    compareMethods([{ label: "a", against: [], runs: [run(1, [HIT, MISS]), second] }], ["R@1"]);
  throws(
    against(run(2, [HIT, MISS], { queries: ["q0", "x"] })),
    (e) => e instanceof DataError && /query 1: q1 and x/.test(e.message),
  );
  throws(against(run(2, [HIT])), /differ in query 1/);
  throws(against(run(1, [HIT, HIT])), /a: two runs of seed 1/);
  throws(against(run(2, [HIT, HIT], { rules: [] })), /2 queries, 2 ranks, 0 rules/);
});

Deno.test("a comparison as text has every part, and the same bytes each time", () => {
  const show = () => terminalBlocks(compareMethods(methods, ["R@1"]).flatMap(comparisonBlocks));
  const text = show();
  match(text, /^Recall in percent on toy val/);
  match(text, /\nbaseline +2 +37\.50 ± 17\.68 \[\d+\.\d\d, \d+\.\d\d\]\n/);
  match(text, /\nours +baseline +R@1 +\+50\.00 +\+75\.00 \+25\.00 +0\.250 +0\.500\n/);
  match(text, /\nR@1 by rule on toy val.*\n\n.*\n.*\nclock +2 +75\.0 +66\.7\n/);
  match(text, /ours - baseline \(p\)\n.*\nclock +\+25\.0 \(1\.000\)\n/);
  strictEqual(show(), text);
});

Deno.test("one seed has no spread and no test over seeds; a difference that rounds to nothing is +0.00", () => {
  const one = [
    { label: "a", against: [], runs: [run(1, [HIT, MISS])] },
    { label: "b", against: ["a"], runs: [run(1, [MISS, HIT])] },
  ];
  const text = terminalBlocks(compareMethods(one, ["R@1"]).flatMap(comparisonBlocks));
  match(text, /\na +1 +50\.00 ± - \[/);
  match(text, /\nb +a +R@1 +\+0\.00 +\+0\.00 +1\.000 +-\n/);
});

Deno.test("a comparison as rows can be written and read as CSV", () => {
  const comparisons = compareMethods(methods, ["R@1"]);
  for (const rows of [estimateRows(comparisons), differenceRows(comparisons)]) {
    const read = parseCsv(encodeCsv(rows), "csv");
    deepStrictEqual(
      read,
      rows.map((row) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, String(v)]))),
    );
  }
  strictEqual(differenceRows(comparisons)[0].pValue, 0.25);
});
