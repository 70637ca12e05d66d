/** The tables of some runs in one: rows of equal protocol side by side, with intervals, tests and reported numbers. */
import { note, parseCommand, printJson, runCommand } from "../lib/core/command.ts";
import { ConfigError } from "../lib/core/errors.ts";
import { flag } from "../lib/core/flags.ts";
import { nearestName } from "../lib/core/format.ts";
import { encodeCsv } from "../lib/io/csv.ts";
import { latexBlocks, latexText } from "../lib/report/latex.ts";
import { type MeasuredRow, recallTable } from "../lib/report/recall_table.ts";
import { recallBlocks, recallCaption, recallCsvRows } from "../lib/report/recall_text.ts";
import { markdownBlocks, rowsOf, terminalBlocks } from "../lib/report/table.ts";
import { isNeverBegun, measuredRows, readFolder } from "./tables/rows.ts";

const spec = {
  name: "tables",
  summary:
    `Puts the results of runs in one table: a block a protocol; runs that differ in their seeds only are one row, with mean,
spread and 95% interval. For FashionIQ and CIRR with what other papers report, and where the protocol is the same the
difference to CaLa's reported numbers. RUN is a run's folder, or one of its folders eval/NAME.`,
  flags: {
    markdown: flag(false, "as Markdown"),
    latex: flag(false, "as LaTeX, with booktabs"),
    csv: flag(false, "as CSV, a line a number"),
    json: flag(false, 'as one JSON object: {"rows": [...], "table": {...}}'),
    against: flag("", "test every other row against this one: its name in the table, or one of its runs"),
    reported: flag(true, "with the numbers that other papers report"),
    all: flag(false, "also the rows of an image or a text alone, and of the initial weights"),
  },
  positionals: { usage: "RUN...", min: 1 },
};

/** The label of the row that `--against` names. @throws {ConfigError} If there is none. */
function labelOf(against: string, rows: readonly MeasuredRow[]): string | undefined {
  if (against === "") return undefined;
  const asFolder = against.replace(/[/\\]+$/, "");
  const found = rows.find(({ label, runs }) => label === against || runs.includes(asFolder));
  if (found) return found.label;
  const labels = rows.map(({ label }) => label), near = nearestName(against, labels);
  throw new ConfigError(`--against: no row "${against}"`, {
    fix: `${near ? `did you mean "${near}"? ` : ""}there are: ${labels.join("; ")}`,
  });
}

async function tables(argv: readonly string[]): Promise<void> {
  const args = parseCommand(spec, argv);
  if (!args) return;
  const { markdown, latex, csv, json, against, reported, all } = args.values;
  if ([markdown, latex, csv, json].filter(Boolean).length > 1) {
    throw new ConfigError("one of --markdown, --latex, --csv and --json");
  }
  const names = [...new Set(args.positionals.map((run) => run.replace(/[/\\]+$/, "")))], begun: string[] = [];
  for (const name of names) {
    if (await isNeverBegun(name)) note(`${name}: this run never began, it is left out`);
    else begun.push(name);
  }
  if (begun.length === 0) {
    throw new ConfigError("none of these runs began", { fix: "deno task train --help" });
  }
  const folders = await Promise.all(begun.map(readFolder));
  const rows = measuredRows(folders, all);
  const table = recallTable(rows, { against: labelOf(against, rows), withReported: reported });
  if (json) return printJson({ rows: folders.flatMap(({ result }) => rowsOf(result)), table });
  if (csv) return console.log(encodeCsv(recallCsvRows(table)).trimEnd());
  const blocks = recallBlocks(table), caption = recallCaption(table);
  const [text, below] = latex
    ? [latexBlocks(blocks), latexText(caption).replace(/^/gm, "% ")]
    : [markdown ? markdownBlocks(blocks) : terminalBlocks(blocks), caption];
  console.log(caption ? `${text}\n\n${below}` : text);
}

if (import.meta.main) await runCommand(tables);
