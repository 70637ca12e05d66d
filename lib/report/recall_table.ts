/**
 * The table of some runs: one source, from which every output format is written. Rows of one protocol stand in one block;
 * reported rows stand in it only where they were measured in the same way, else in a block of their own.
 */
import { type Protocol, protocolKey } from "../metrics/protocol.ts";
import type { Recalls } from "../metrics/recall.ts";
import type { Bounds } from "../metrics/recall_bounds.ts";
import { compareMethods, type Difference, type SeedRanks } from "./compare.ts";
import { columnsOf } from "./table.ts";
import { isComparable, OUR_METHOD, reportedOn, type ReportedRow, type ReportedSplit } from "./published.ts";

/** What a row is made of: runs that differ in their seeds only. */
export interface MeasuredRow {
  readonly label: string;
  readonly runs: readonly string[];
  readonly protocol: Protocol;
  /** Of each run. */
  readonly metrics: readonly Recalls[];
  /** Where files are missing. */
  readonly bounds?: Readonly<Record<string, Bounds>>;
  /** Of each run whose rankings are kept; without them there is neither interval nor test. */
  readonly ranks: readonly SeedRanks[];
}

/** A number of a row, in percent. */
export interface RecallCell {
  /** Over the runs. */
  readonly mean: number;
  /** Standard deviation over the runs (n - 1). */
  readonly spread?: number;
  /** The 95% bootstrap interval over queries; where files are missing, the ends of what is known. */
  readonly low?: number;
  readonly high?: number;
  /** True where low and high come from missing files. */
  readonly isBound?: boolean;
}

/** A row with its numbers by metric. */
export interface RecallRow {
  readonly label: string;
  readonly runs: readonly string[];
  readonly seeds: readonly number[];
  readonly cells: Readonly<Record<string, RecallCell>>;
  /** To the reported numbers of the paper's own method, where these are comparable. */
  readonly differences?: Recalls;
}

/** Rows of one protocol. */
export interface RecallBlock {
  readonly protocol: Protocol;
  /** Columns, in order. */
  readonly metrics: readonly string[];
  readonly rows: readonly RecallRow[];
  /** Reported under the same protocol. */
  readonly reported: readonly ReportedRow[];
  /** Each row against the one that was asked for. */
  readonly tests: readonly Difference[];
}

/** The whole table. */
export interface RecallTable {
  readonly blocks: readonly RecallBlock[];
  /** Reported on these data sets under other protocols. */
  readonly elsewhere: readonly ReportedSplit[];
}

/** What papers print of a whole split; a category has R@10 and R@50. */
const RECALLS = [
  "R@1",
  "R@5",
  "R@10",
  "R@50",
  "R_subset@1",
  "R_subset@2",
  "R_subset@3",
  "mean(R@5+R_s@1)",
  "average_recall",
];

/**
 * The table of some rows. Equal rows give equal tables.
 *
 * @param against The label of the row that the others are tested against.
 * @throws {DataError} If two rows of one protocol have different queries.
 */
export function recallTable(
  measured: readonly MeasuredRow[],
  { against, withReported = true }: { readonly against?: string; readonly withReported?: boolean } = {},
): RecallTable {
  const elsewhere = new Set<ReportedSplit>();
  const groups = [...Map.groupBy(measured, ({ protocol }) => protocolKey(protocol)).values()];
  const blocks = groups.map((rows): RecallBlock => {
    const [{ protocol, metrics: [first] }] = rows;
    const all = withReported ? reportedOn(protocol) : [];
    const here = all.filter((reported) => isComparable(reported, protocol, first.queries));
    for (const reported of all) if (!here.includes(reported)) elsewhere.add(reported);
    const reported = here.flatMap(({ rows }) => rows);
    const ours = reported.find(({ method }) => method === OUR_METHOD);
    const metrics = columnsOf(rows.flatMap(({ metrics }) => metrics));
    return { protocol, metrics, reported, ...compared(rows, metrics, against, ours) };
  });
  return {
    blocks,
    elsewhere: [...elsewhere].filter((one) => !blocks.some(({ reported }) => reported.includes(one.rows[0]))),
  };
}

function compared(
  rows: readonly MeasuredRow[],
  metrics: readonly string[],
  against: string | undefined,
  ours: ReportedRow | undefined,
): Pick<RecallBlock, "rows" | "tests"> {
  const comparable = rows.filter(({ ranks }) => ranks.length > 0);
  const [comparison] = compareMethods(
    comparable.map(({ label, ranks }) => ({
      label,
      against: against === undefined || against === label ? [] : [against],
      runs: ranks,
    })),
    RECALLS.filter((metric) => metrics.includes(metric)),
  );
  const estimates = Map.groupBy(comparison?.estimates ?? [], ({ method }) => method);
  const tests = (comparison?.differences ?? []).map((test) => ({ ...test, metric: nameOf(test) }))
    .filter(({ metric }) => metrics.includes(metric));
  return {
    tests,
    rows: rows.map(({ label, runs, metrics: values, bounds, ranks }) => {
      const found = new Map((estimates.get(label) ?? []).map((one) => [nameOf(one), one]));
      const cells = Object.fromEntries(metrics.flatMap((metric) => {
        const each = values.flatMap((one) => one[metric] ?? []);
        if (each.length === 0) return [];
        const { low, high, spread } = found.get(metric) ?? {};
        const limits = bounds?.[metric]
          ? { low: bounds[metric][0], high: bounds[metric][1], isBound: true }
          : low === undefined
          ? {}
          : { low, high };
        const mean = each.reduce((a, b) => a + b, 0) / each.length;
        return [[metric, {
          mean,
          ...(spread === null || spread === undefined ? {} : { spread }),
          ...limits,
        }]];
      }));
      const differences = ours && Object.fromEntries(
        Object.entries(ours.metrics).flatMap(([metric, value]) =>
          metric in cells ? [[metric, cells[metric].mean - value]] : []
        ),
      );
      return {
        label,
        runs,
        seeds: ranks.map(({ seed }) => seed),
        cells,
        ...(differences ? { differences } : {}),
      };
    }),
  };
}

/** As a table's columns have it: of a category with its name in front. */
const nameOf = ({ scope, metric }: { scope: string; metric: string }): string =>
  scope === "all" ? metric : `${scope} ${metric}`;
