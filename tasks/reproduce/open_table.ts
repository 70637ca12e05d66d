/** Finds a table of results by name or by file, with its experiments, and checks that its rows fit together. */
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ConfigError } from "../../lib/core/errors.ts";
import { checkFlagValues } from "../../lib/core/flags.ts";
import { nearestName } from "../../lib/core/format.ts";
import { isJsonObject } from "../../lib/io/json_keys.ts";
import type { Experiment } from "../../lib/train/experiment.ts";
import type { MethodRow, ResultTable } from "../../lib/train/result_table.ts";
import { openExperiment } from "../experiments.ts";

const folder = new URL("../../experiments/tables/", import.meta.url);

/** Names of the tables that come with the toolkit. */
export const tableNames = (): string[] =>
  [...Deno.readDirSync(fileURLToPath(folder))].flatMap(({ name }) =>
    name.endsWith(".ts") ? [name.slice(0, -3)] : []
  ).sort();

/** A row with its experiment. */
export interface OpenRow extends MethodRow {
  readonly opened: Experiment;
  readonly firstStageRow?: OpenRow;
}

/** A table, checked. */
export interface OpenTable extends ResultTable {
  readonly rows: readonly OpenRow[];
}

/**
 * Opens a table.
 *
 * @param which The name of one that comes with the toolkit, or the path of a file that exports one by default.
 * @throws {ConfigError} If there is none, its rows do not fit together, or a row's flags are not its experiment's.
 */
export async function openTable(which: string): Promise<OpenTable> {
  const table = await load(which), names: string[] = [];
  const rows: OpenRow[] = [];
  for (const [i, row] of table.rows.entries()) {
    if (!isRow(row)) {
      throw new ConfigError(`${which}: row ${i + 1}: expected { name, label, flags, against }`);
    }
    if (!/^[\w-]+$/.test(row.name) || names.includes(row.name)) {
      throw new ConfigError(
        `${which}: row ${i + 1}: expected a new name of letters, digits, - and _, got "${row.name}"`,
      );
    }
    names.push(row.name);
    const firstStageRow = rows.find(({ name }) => name === row.firstStage);
    if (row.firstStage !== undefined && !firstStageRow) {
      throw new ConfigError(`${which}: row "${row.name}": no row "${row.firstStage}" before it`);
    }
    rows.push({ ...row, opened: await openExperiment(row.experiment ?? table.experiment), firstStageRow });
  }
  if (rows.length === 0) throw new ConfigError(`${which}: it has no rows`);
  for (const { name, against, flags, firstStage, opened } of rows) {
    const missing = against.find((other) => !names.includes(other));
    if (missing !== undefined) {
      throw new ConfigError(`${which}: row "${name}" is tested against no row "${missing}"`);
    }
    if ("seed" in flags) throw new ConfigError(`${which}: row "${name}": its seeds are those of --seeds`);
    try {
      checkFlagValues(opened.flags, { ...flags, ...(firstStage === undefined ? {} : { firstStage }) });
    } catch (error) {
      if (error instanceof ConfigError) error.where = `${which}: row "${name}", ${opened.source}`;
      throw error;
    }
  }
  return { ...table, rows };
}

/**
 * The rows of those names, in the table's order; all where none is named.
 *
 * @throws {ConfigError} If there is no row of a name (the nearest is told).
 */
export function chooseRows({ name, rows }: OpenTable, names: readonly string[]): OpenRow[] {
  const known = rows.map((row) => row.name);
  for (const wanted of names) {
    if (known.includes(wanted)) continue;
    const near = nearestName(wanted, known);
    throw new ConfigError(`--rows: ${name} has no row "${wanted}"`, {
      fix: `${near ? `did you mean "${near}"? ` : ""}it has: ${known.join(", ")}`,
    });
  }
  return rows.filter((row) => names.length === 0 || names.includes(row.name));
}

async function load(which: string): Promise<ResultTable> {
  const names = tableNames(), isPath = /[/\\]|\.[jt]s$/.test(which);
  if (!isPath && !names.includes(which)) {
    throw new ConfigError(`--table: no table "${which}"`, {
      fix: `there is: ${names.join(", ")}; or name a file: ./mine.ts`,
    });
  }
  const url = isPath ? pathToFileURL(resolve(which)) : new URL(`${which}.ts`, folder);
  let found: unknown;
  try {
    found = (await import(url.href)).default;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new ConfigError(`${which} does not load: ${reason}`, { cause });
  }
  const isTable = isJsonObject(found) && typeof found.name === "string" && /^[\w-]+$/.test(found.name) &&
    typeof found.experiment === "string" && Array.isArray(found.rows) &&
    (found.metrics === undefined || isTexts(found.metrics));
  if (isTable) return found as unknown as ResultTable;
  throw new ConfigError(`${which}: exports no table by default`, { fix: "copy experiments/tables/demo.ts" });
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((one) => typeof one === "string");

const isOptionalText = (value: unknown): boolean => value === undefined || typeof value === "string";

const isRow = (row: unknown): boolean =>
  isJsonObject(row) && typeof row.name === "string" && typeof row.label === "string" &&
  isJsonObject(row.flags) && isTexts(row.against) &&
  isOptionalText(row.experiment) && isOptionalText(row.firstStage) &&
  (row.maxSeeds === undefined || (Number.isInteger(row.maxSeeds) && Number(row.maxSeeds) > 0));
