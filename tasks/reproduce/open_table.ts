/** Finds a table of results by name or by file, and checks it. */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ConfigError } from "../../lib/core/errors.ts";
import type { StoredConfig } from "../../lib/train/config.ts";
import demo from "./demo.ts";
import type { ResultTable } from "./table.ts";

const tables: Readonly<Record<string, ResultTable>> = { demo };

/**
 * Opens a table.
 *
 * @param which The name of one that comes with the toolkit, or the path of a file that exports one by default.
 * @throws {ConfigError} If there is none, or its rows do not fit together.
 */
export async function openTable(which: string): Promise<ResultTable> {
  const table = Object.hasOwn(tables, which) ? tables[which] : await load(which);
  const names = table.rows.map(({ name }) => name);
  for (const [i, { name, against }] of table.rows.entries()) {
    if (!/^[\w-]+$/.test(name) || names.indexOf(name) < i) {
      throw new ConfigError(
        `${which}: row ${i + 1}: expected a new name of letters, digits and -, got "${name}"`,
      );
    }
    const missing = against.find((other) => !names.includes(other));
    if (missing !== undefined) {
      throw new ConfigError(`${which}: row "${name}" is tested against no row "${missing}"`);
    }
  }
  return table;
}

async function load(which: string): Promise<ResultTable> {
  const fix = `there is: ${Object.keys(tables).join(", ")}; or name a file: ./mine.ts`;
  if (!/\.[jt]s$/.test(which)) throw new ConfigError(`--table: no table "${which}"`, { fix });
  let found: Partial<ResultTable> | undefined;
  try {
    found = (await import(pathToFileURL(resolve(which)).href)).default;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new ConfigError(`${which} does not load: ${reason}`, { fix, cause });
  }
  if (typeof found?.name === "string" && typeof found.experiment === "string" && Array.isArray(found.rows)) {
    return found as ResultTable;
  }
  throw new ConfigError(`${which}: exports no table by default`, { fix: "copy tasks/reproduce/demo.ts" });
}

/**
 * Checks a row's flags against the experiment's defaults: one that is misspelt would train the default.
 *
 * @throws {ConfigError} If there is no such flag, or its value is of another type.
 */
export function checkFlags(row: string, flags: StoredConfig, defaults: StoredConfig): void {
  for (const [name, value] of Object.entries(flags)) {
    if (!Object.hasOwn(defaults, name)) {
      throw new ConfigError(`row "${row}": the experiment has no flag "${name}"`);
    }
    if (typeof value !== typeof defaults[name]) {
      throw new ConfigError(
        `row "${row}": ${name}: expected a ${typeof defaults[name]}, got ${JSON.stringify(value)}`,
      );
    }
  }
}
