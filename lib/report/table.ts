/**
 * Recall tables. Rows are first sorted into blocks of one protocol each; an output format only writes blocks, so it is
 * one function. Numbers of different protocols never stand in one block.
 */
import { formatCount, textTable } from "../core/format.ts";
import { type Protocol, protocolKey, protocolText } from "../metrics/protocol.ts";
import type { Recalls } from "../metrics/recall.ts";
import type { Bounds } from "../metrics/recall_bounds.ts";

/** What is compared: one line of a table. */
export interface TableRow {
  label: string;
  /** The run folder the numbers come from. */
  run?: string;
  protocol: Protocol;
  metrics: Recalls;
  /** Where files are missing, the ends between which a metric lies: shown in its place. */
  bounds?: Readonly<Record<string, Bounds>>;
}

/** One split's metrics by what the query was made of. */
export interface SplitMetrics {
  /** Reference image and text. */
  composed: Recalls;
  /** The reference image alone. */
  image?: Recalls;
  /** The text alone. */
  text?: Recalls;
  /** Composed, with the weights that training started from. */
  "before training"?: Recalls;
  /** Composed, by category, where a data set has a gallery for each. */
  categories?: Readonly<Record<string, Recalls>>;
  /** The same of the others. */
  otherCategories?: Readonly<Record<string, Readonly<Record<string, Recalls>>>>;
  /** Composed: the ends of each metric of the whole data, where files are missing. */
  bounds?: Readonly<Record<string, Bounds>>;
  /** The same of the others. */
  otherBounds?: Readonly<Record<string, Readonly<Record<string, Bounds>>>>;
}

/** What `train --json` and `eval --json` print. */
export interface RunResult {
  run: string;
  /** By split. */
  metrics: Record<string, SplitMetrics>;
  /** `split` is that of the first split; each row gets its own. */
  protocol: Protocol;
}

const LABELS = [
  ["before training", "before training"],
  ["image", "image only"],
  ["text", "text only"],
  ["composed", "composed"],
] as const;

/** A run's rows: for each split what was measured, composed last. Categories become columns. */
export function rowsOf({ run, metrics, protocol }: RunResult): TableRow[] {
  return Object.entries(metrics).flatMap(([split, measured]) =>
    LABELS.flatMap(([kind, label]) => {
      const recalls = measured[kind];
      if (!recalls) return [];
      const isComposed = kind === "composed";
      const bounds = isComposed ? measured.bounds : measured.otherBounds?.[kind];
      const categories = isComposed ? measured.categories : measured.otherCategories?.[kind];
      return [{
        label,
        run,
        protocol: { ...protocol, split },
        metrics: { ...flatCategories(categories), ...recalls },
        ...(bounds ? { bounds } : {}),
      }];
    })
  );
}

/** What papers report of each category. */
const CATEGORY_METRICS = ["R@10", "R@50"];

/** `{ dress: { "R@10": 1 } }` to `{ "dress R@10": 1 }`. */
const flatCategories = (categories: Readonly<Record<string, Recalls>> = {}): Recalls =>
  Object.fromEntries(
    Object.entries(categories).flatMap(([category, recalls]) =>
      CATEGORY_METRICS.flatMap((name) => name in recalls ? [[`${category} ${name}`, recalls[name]]] : [])
    ),
  );

/** Rows of one protocol as text. The first columns are names, the others numbers. */
export interface TableBlock {
  title: string;
  nameColumns: number;
  header: string[];
  cells: string[][];
}

/** The metrics of some rows, in the order of the row that has most of them. */
export const columnsOf = (rows: readonly Recalls[]): string[] => [
  ...new Set(
    rows.map((row) => Object.keys(row)).sort((a, b) => b.length - a.length).flat(),
  ),
];

/** The rows by protocol, in the order in which protocols, rows and metrics first occur. */
export function tableBlocks(rows: readonly TableRow[]): TableBlock[] {
  const hasRuns = new Set(rows.map((row) => row.run)).size > 1;
  return [...Map.groupBy(rows, (row) => protocolKey(row.protocol)).values()].map((block) => {
    const metrics = columnsOf(block.map((row) => row.metrics));
    const names = (row: TableRow) => hasRuns ? [row.label, row.run ?? ""] : [row.label];
    return {
      title: `Recall in percent on ${protocolText(block[0].protocol)}`,
      nameColumns: hasRuns ? 2 : 1,
      header: [...(hasRuns ? ["", "run"] : [""]), ...metrics],
      cells: block.map((
        row,
      ) => [...names(row), ...metrics.map((name) => formatMetric(name, row))]),
    };
  });
}

/** Recalls with two decimals, or the ends of an interval; numbers of queries whole; a dash where there is none. */
function formatMetric(name: string, { metrics, bounds }: TableRow): string {
  if (metrics[name] === undefined) return "-";
  if (bounds?.[name]) return bounds[name].map((end) => end.toFixed(2)).join("–");
  return name.endsWith("queries") ? formatCount(metrics[name]) : metrics[name].toFixed(2);
}

/** Blocks for a terminal. */
export const terminalBlocks = (blocks: readonly TableBlock[]): string =>
  blocks.map(({ title, nameColumns, header, cells }) => {
    const align = header.map((_, i) => i < nameColumns ? "l" : "r").join("");
    return `${title}\n\n${textTable(cells, { header, align })}`;
  }).join("\n\n");

/** Blocks in Markdown. */
export const markdownBlocks = (blocks: readonly TableBlock[]): string =>
  blocks.map(({ title, nameColumns, header, cells }) => {
    const rule = header.map((_, i) => i < nameColumns ? "---" : "---:");
    const line = (row: string[]) => `| ${row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
    return [title + ":", "", line(header), line(rule), ...cells.map(line)].join("\n");
  }).join("\n\n");

/**
 * The table for a terminal.
 *
 * @example Usage
 * ```ts
 * const protocol = { dataset: "demo", split: "val", gallery: "all", referenceRemoved: true };
 * const text = terminalTable([{ label: "composed", protocol, metrics: { "R@10": 55.9, queries: 3021 } }]);
 * if (!text.endsWith("composed  55.90    3,021")) throw new Error(text);
 * ```
 */
export const terminalTable = (rows: readonly TableRow[]): string => terminalBlocks(tableBlocks(rows));

/** The table in Markdown. */
export const markdownTable = (rows: readonly TableRow[]): string => markdownBlocks(tableBlocks(rows));
