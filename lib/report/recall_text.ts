/** A table of runs as text for people, and as rows for programs. */
import { formatCount } from "../core/format.ts";
import type { CsvRow } from "../io/csv.ts";
import { protocolText } from "../metrics/protocol.ts";
import { signed, testTable } from "./compare_text.ts";
import { OUR_METHOD, type ReportedRow } from "./published.ts";
import type { RecallBlock, RecallCell, RecallTable } from "./recall_table.ts";
import type { TableBlock } from "./table.ts";

/** The table's blocks: those of the runs, with their tests, then what is reported under other protocols. */
export const recallBlocks = ({ blocks, elsewhere }: RecallTable): TableBlock[] => [
  ...blocks.flatMap((block) => [
    measuredBlock(block),
    ...(block.tests.length > 0
      ? [{ title: `Tests on ${protocolText(block.protocol)}`, ...testTable(block.tests) }]
      : []),
  ]),
  ...elsewhere.map(({ about, rows }) => {
    const metrics = [...new Set(rows.flatMap((row) => Object.keys(row.metrics)))];
    return {
      title:
        `As reported in other papers on ${about}: another protocol than that of the rows above, not to be compared`,
      nameColumns: 1,
      header: ["", ...metrics],
      cells: rows.map((row) => reportedCells(row, metrics)),
    };
  }),
];

function measuredBlock({ protocol, metrics, rows, reported }: RecallBlock): TableBlock {
  const hasSeeds = rows.some(({ runs }) => runs.length > 1);
  const names = (label: string, runs = "") => hasSeeds ? [label, runs] : [label];
  return {
    title: `Recall in percent on ${protocolText(protocol)}`,
    nameColumns: 1,
    header: [...names("", "runs"), ...metrics],
    cells: [
      ...rows.flatMap(({ label, runs, cells, differences }) => [
        [...names(label, String(runs.length)), ...metrics.map((name) => cellText(name, cells[name]))],
        ...(differences
          ? [[
            ...names(`${label}, difference to ${OUR_METHOD} as reported`),
            ...metrics.map((name) => name in differences ? signed(differences[name]) : ""),
          ]]
          : []),
      ]),
      ...reported.map((row) => {
        const [label, ...numbers] = reportedCells(row, metrics);
        return [...names(label), ...numbers];
      }),
    ],
  };
}

const reportedLabel = ({ method, source }: ReportedRow): string => `${method}, as reported in ${source}`;

const reportedCells = (row: ReportedRow, metrics: readonly string[]): string[] => [
  reportedLabel(row),
  ...metrics.map((name) => row.metrics[name]?.toFixed(2) ?? "-"),
];

/** `46.69 ± 0.21 [45.30, 48.02]`; where files are missing, the ends alone. */
function cellText(name: string, cell?: RecallCell): string {
  if (!cell) return "-";
  const { mean, spread, low, high, isBound } = cell;
  if (name.endsWith("queries")) return formatCount(mean);
  if (low === undefined || high === undefined) {
    return mean.toFixed(2) + (spread === undefined ? "" : ` ± ${spread.toFixed(2)}`);
  }
  if (isBound) return `${low.toFixed(2)}–${high.toFixed(2)}`;
  const center = mean.toFixed(2) + (spread === undefined ? "" : ` ± ${spread.toFixed(2)}`);
  return `${center} [${low.toFixed(2)}, ${high.toFixed(2)}]`;
}

/** What the numbers mean: only what the table holds is explained. */
export function recallCaption({ blocks, elsewhere }: RecallTable): string {
  const rows = blocks.flatMap((block) => block.rows), cells = rows.flatMap((row) => Object.values(row.cells));
  const reported = [
    ...blocks.flatMap((block) => block.reported),
    ...elsewhere.flatMap((split) => split.rows),
  ];
  const has = (is: (cell: RecallCell) => boolean) => cells.some(is);
  const notes = reported.flatMap((row) => row.note ? `${reportedLabel(row)}: ${row.note}` : []);
  return [
    ...(has(({ low, isBound }) => low !== undefined && !isBound)
      ? [
        "[low, high]: 95% bootstrap interval over queries, each averaged over the runs of its row first (2,000 resamples).",
        "It speaks of other queries and these weights, not of training again. Queries that share a reference are not",
        "independent, so it is somewhat too narrow; where all queries hit, or none, it is a point.",
      ]
      : []),
    ...(has(({ spread }) => spread !== undefined)
      ? ["±: standard deviation over the runs of a row (n - 1)."]
      : []),
    ...(has(({ isBound }) => isBound === true)
      ? ["low–high: files are missing; a metric of the whole data lies between these ends."]
      : []),
    ...(blocks.some(({ tests }) => tests.length > 0)
      ? [
        "Tests: paired permutation test, two-sided, 10,000 permutations; p over seeds counts all assignments. Not corrected",
        "for the number of tests.",
      ]
      : []),
    ...(reported.length > 0
      ? ["As reported: quoted from tables of other papers; check against the original before you cite it."]
      : []),
    ...notes.map((note) => `${note}.`),
  ].join("\n");
}

/** A row a number, for spreadsheets and scripts. */
export function recallCsvRows({ blocks, elsewhere }: RecallTable): CsvRow[] {
  const row = (
    protocol: string,
    label: string,
    source: string,
    metric: string,
    cell: RecallCell,
  ): CsvRow => ({
    protocol,
    row: label,
    source,
    metric,
    mean: cell.mean,
    spread: cell.spread ?? "",
    low: cell.low ?? "",
    high: cell.high ?? "",
    interval: cell.low === undefined ? "" : cell.isBound ? "missing files" : "bootstrap 95%",
  });
  const reportedRows = (protocol: string, rows: readonly ReportedRow[]) =>
    rows.flatMap(({ method, source, metrics }) =>
      Object.entries(metrics).map(([metric, mean]) => ({
        ...row(protocol, method, `as reported in ${source}`, metric, { mean }),
        runs: "",
        difference: "",
      }))
    );
  return [
    ...blocks.flatMap(({ protocol, rows, reported }) => {
      const name = protocolText(protocol);
      const measured = rows.flatMap(({ label, runs, cells, differences }) =>
        Object.entries(cells).map(([metric, cell]) => ({
          ...row(name, label, "measured", metric, cell),
          runs: runs.join(" "),
          difference: differences?.[metric] ?? "",
        }))
      );
      return [...measured, ...reportedRows(name, reported)];
    }),
    ...elsewhere.flatMap(({ about, rows }) => reportedRows(about, rows)),
  ];
}
