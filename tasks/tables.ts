/** The tables of some runs in one: rows of equal protocol side by side. */
import { flag } from "../lib/core/flags.ts";
import { markdownTable, rowsOf, type RunResult, terminalTable } from "../lib/report/table.ts";
import { readResults } from "../lib/train/results.ts";
import { parseCommand, printJson, runCommand } from "../lib/core/command.ts";

const spec = {
  name: "tables",
  summary: "Puts the results of runs in one table: a block a protocol, a row a run. RUN is a run's folder.",
  flags: {
    markdown: flag(false, "as Markdown"),
    all: flag(false, "also the rows of an image or a text alone, and of the initial weights"),
    json: flag(false, 'all rows as one JSON object: {"rows": [...]}'),
  },
  positionals: { usage: "RUN...", min: 1 },
};

/** A run's results, under the path that it was named by. */
async function resultsOf(folder: string): Promise<RunResult> {
  const run = folder.replace(/[/\\]+$/, "");
  return { ...await readResults(run), run };
}

async function tables(argv: readonly string[]): Promise<void> {
  const args = parseCommand(spec, argv);
  if (!args) return;
  const { markdown, all, json } = args.values;
  const results = await Promise.all([...new Set(args.positionals)].map(resultsOf));
  const rows = results.flatMap(rowsOf).filter(({ label }) => all || json || label === "composed");
  if (json) return printJson({ rows });
  console.log(markdown ? markdownTable(rows) : terminalTable(rows));
}

if (import.meta.main) await runCommand(tables);
