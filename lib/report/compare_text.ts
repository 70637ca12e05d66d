/** A comparison of methods as tables for people, and as rows for programs. */
import type { CsvRow } from "../io/csv.ts";
import { protocolText } from "../metrics/protocol.ts";
import type { Comparison, Difference, Estimate } from "./compare.ts";
import type { TableBlock } from "./table.ts";

/** How the numbers were made: the caption of every such table. */
export const COMPARISON_CAPTION =
  `mean ± standard deviation over seeds (n - 1) [95% bootstrap interval over queries].
The interval resamples queries, each averaged over the seeds of its row first, 2,000 times. A test is a paired
permutation test, two-sided: each query's hits are averaged over the seeds that both rows have, the differences of
the queries keep or change their sign at random (10,000 times; all assignments where at most 16 queries differ).
Both speak of other queries and these weights, not of training again. For that, "p over seeds" is the same test with a
seed's difference in place of a query's, all assignments counted: with 3 seeds it cannot fall below 0.25, with 6 below
0.031. p-values are not corrected for the number of tests. Queries that share a reference are not independent, so
intervals over queries are somewhat too narrow and their p-values too small.`;

/** The tables of a comparison: Recall, the tests, then both by rule. */
export function comparisonBlocks({ protocol, estimates, differences }: Comparison): TableBlock[] {
  const isAll = ({ scope }: { scope: string }) => scope === "all";
  const title = (what: string) => `${what} on ${protocolText(protocol)}`;
  const blocks = [
    { title: title("Recall in percent"), ...recallTable(estimates.filter(isAll)) },
    { title: title("Tests"), ...testTable(differences.filter(isAll)) },
  ];
  const byRule = Map.groupBy(estimates.filter((e) => !isAll(e)), ({ metric }) => metric);
  for (const [metric, group] of byRule) {
    blocks.push({ title: title(`${metric} by rule`), ...ruleTable(group) });
    const tests = differences.filter((d) => !isAll(d) && d.metric === metric);
    if (tests.length > 0) blocks.push({ title: title(`Tests of ${metric} by rule`), ...ruleTests(tests) });
  }
  return blocks.filter(({ cells }) => cells.length > 0);
}

type Table = Omit<TableBlock, "title">;

function recallTable(estimates: readonly Estimate[]): Table {
  const metrics = [...new Set(estimates.map(({ metric }) => metric))];
  const cells = [...Map.groupBy(estimates, ({ method }) => method)].map(([method, group]) => [
    method,
    String(group[0].seeds.length),
    ...group.map(({ mean, spread, low, high }) =>
      `${mean.toFixed(2)} ± ${spread?.toFixed(2) ?? "-"} [${low.toFixed(2)}, ${high.toFixed(2)}]`
    ),
  ]);
  return { nameColumns: 1, header: ["", "seeds", ...metrics], cells };
}

/** A test a line. */
export const testTable = (differences: readonly Difference[]): Table => ({
  nameColumns: 3,
  header: ["", "against", "", "difference", "by seed", "p over queries", "p over seeds"],
  cells: differences.map(({ method, against, metric, difference, bySeed, pValue, pOverSeeds }) => [
    method,
    against,
    metric,
    signed(difference),
    bySeed.map((d) => signed(d)).join(" "),
    formatP(pValue),
    pOverSeeds === null ? "-" : formatP(pOverSeeds),
  ]),
});

/** A row a rule, a column a method. */
function ruleTable(estimates: readonly Estimate[]): Table {
  const methods = [...new Set(estimates.map(({ method }) => method))];
  const cells = [...Map.groupBy(estimates, ({ scope }) => scope)].map((
    [rule, group],
  ) => [rule, String(group[0].queries), ...group.map(({ mean }) => mean.toFixed(1))]);
  return { nameColumns: 1, header: ["rule", "queries", ...methods], cells };
}

/** A row a rule, a column a pair of methods. */
function ruleTests(differences: readonly Difference[]): Table {
  const pairName = ({ method, against }: Difference) => `${method} - ${against}`;
  const pairs = [...new Set(differences.map(pairName))];
  const cells = [...Map.groupBy(differences, ({ scope }) => scope)].map(([rule, group]) => [
    rule,
    ...group.map(({ difference, pValue }) => `${signed(difference, 1)} (${formatP(pValue)})`),
  ]);
  return { nameColumns: 1, header: ["rule", ...pairs.map((pair) => `${pair} (p)`)], cells };
}

/** With its sign; what rounds to zero is `+0.00`. */
export function signed(value: number, digits = 2): string {
  const rounded = Number(value.toFixed(digits)) + 0; // + 0: -0 becomes 0
  return `${rounded < 0 ? "" : "+"}${rounded.toFixed(digits)}`;
}

/** The sample's smallest is 1 / 10,001. */
const formatP = (p: number): string => p < 0.0005 ? "<0.0005" : p.toFixed(3);

/** Every number of a comparison, a row each, for spreadsheets. */
export const estimateRows = (comparisons: readonly Comparison[]): CsvRow[] =>
  comparisons.flatMap(({ protocol, estimates }) =>
    estimates.map(({ seeds, spread, ...others }) => ({
      protocol: protocolText(protocol),
      ...others,
      seeds: seeds.join(" "),
      spread: spread ?? "",
    }))
  );

/** Every test of a comparison, a row each. */
export const differenceRows = (comparisons: readonly Comparison[]): CsvRow[] =>
  comparisons.flatMap(({ protocol, differences }) =>
    differences.map(({ bySeed, seeds, pOverSeeds, isExact, ...others }) => ({
      protocol: protocolText(protocol),
      ...others,
      seeds: seeds.join(" "),
      bySeed: bySeed.join(" "),
      isExact: String(isExact),
      pOverSeeds: pOverSeeds ?? "",
    }))
  );
