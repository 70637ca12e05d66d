/** The table of the runs that are done: for the terminal, and as files. */
import { ConfigError } from "../../lib/core/errors.ts";
import { writeFileAtomic } from "../../lib/io/atomic.ts";
import { encodeCsv } from "../../lib/io/csv.ts";
import { compareMethods, type Comparison } from "../../lib/report/compare.ts";
import {
  COMPARISON_CAPTION,
  comparisonBlocks,
  differenceRows,
  estimateRows,
} from "../../lib/report/compare_text.ts";
import { markdownBlocks, terminalBlocks } from "../../lib/report/table.ts";
import type { RunManifest } from "../../lib/train/run.ts";
import { doneManifest, type Job, ranksOf } from "./jobs.ts";
import type { OpenTable } from "./open_table.ts";

/** What is compared where the table does not say. */
const METRICS = ["R@1", "R@10"];

/** A table that was written. */
export interface WrittenTable {
  readonly text: string;
  readonly files: readonly string[];
  readonly comparisons: readonly Comparison[];
}

/**
 * Compares the runs that are done and writes the table. The same runs give the same bytes.
 *
 * @throws {ConfigError} If no run is done.
 */
export async function writeTable(
  table: OpenTable,
  jobs: readonly Job[],
  out: string,
): Promise<WrittenTable> {
  const manifests: RunManifest[] = [], done: Job[] = [];
  for (const job of jobs) {
    const manifest = await doneManifest(job);
    if (!manifest) continue;
    manifests.push(manifest);
    done.push(job);
  }
  if (done.length === 0) {
    throw new ConfigError(`${out}: no run of the table is done`, { fix: "leave --done out" });
  }
  const labelOf = (name: string) => table.rows.find((row) => row.name === name)?.label ?? name;
  const methods = await Promise.all(table.rows.map(async ({ name, label, against }) => ({
    label,
    against: against.map(labelOf),
    runs: (await Promise.all(done.filter(({ row }) => row.name === name).map(ranksOf))).flat(),
  })));
  const comparisons = compareMethods(methods, table.metrics ?? METRICS);
  const blocks = comparisons.flatMap(comparisonBlocks);
  const caption = `${COMPARISON_CAPTION}\n\n${provenance(jobs.length, manifests)}`;
  const base = `${out}/${table.name}`, text = `${terminalBlocks(blocks)}\n\n${caption}`;
  const contents: Record<string, string> = {
    [`${base}.txt`]: `${text}\n`,
    [`${base}.md`]: `${markdownBlocks(blocks)}\n\n${caption}\n`,
    [`${base}.json`]: JSON.stringify({ comparisons }, null, 2) + "\n",
    [`${base}.csv`]: encodeCsv(estimateRows(comparisons)),
    [`${base}_tests.csv`]: encodeCsv(differenceRows(comparisons)),
  };
  for (const [path, content] of Object.entries(contents)) await writeFileAtomic(path, content);
  return { text, files: Object.keys(contents), comparisons };
}

/** With what the runs were made: whatever is not the same in all of them shows. */
function provenance(count: number, manifests: readonly RunManifest[]): string {
  const list = (of: (manifest: RunManifest) => string | null) =>
    [...new Set(manifests.map(of))].map((value) => value ?? "unknown").sort().join(", ");
  return `${manifests.length} of ${count} runs; ${
    list(({ config }) => config.steps === undefined ? `${config.epochs} epochs` : `${config.steps} steps`)
  }; commit ${list(({ commit }) => commit)}; ${list(({ adapter }) => adapter.description)}; Deno ${
    list(({ versions }) => versions.deno)
  }`;
}
