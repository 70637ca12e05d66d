/**
 * Small tables of numbers, one row an epoch. Each change rewrites the file whole and atomically, as the released code
 * does with its metrics: a torn row cannot occur.
 */
import { ConfigError, DataError } from "../core/errors.ts";
import { writeFileAtomic } from "./atomic.ts";

/** Cells by column name. Numbers are written so that reading gives the same number back. */
export type CsvRow = Record<string, string | number>;

/**
 * Adds one row; the first one brings the header.
 *
 * @throws {ConfigError} If the columns are not the file's, in its order.
 * @throws {DataError} If the file is not a table.
 */
export async function appendCsv(path: string, row: CsvRow): Promise<void> {
  const rows = await readCsv(path);
  if (rows.length > 0) {
    const had = Object.keys(rows[0]).join(","), got = Object.keys(row).join(",");
    if (had !== got) throw new ConfigError(`${path}: columns differ: the file has ${had}, the row ${got}`);
  }
  await writeFileAtomic(path, encodeCsv([...rows, row]));
}

/** Drops the rows for which `keep` is false. Cells arrive as text. */
export async function cutCsv(path: string, keep: (row: Record<string, string>) => boolean): Promise<void> {
  const rows = await readCsv(path);
  const kept = rows.filter(keep);
  if (kept.length < rows.length) await writeFileAtomic(path, encodeCsv(kept));
}

/** The rows of a file; none if it is missing. */
export async function readCsv(path: string): Promise<Record<string, string>[]> {
  try {
    return parseCsv(await Deno.readTextFile(path), path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/**
 * Rows as text: a header, no index column, `\n` after each line. No rows, no header: an empty text.
 *
 * @example Usage
 * ```ts
 * const text = encodeCsv([{ epoch: 0, note: "a, b" }]);
 * if (text !== 'epoch,note\n0,"a, b"\n') throw new Error(text);
 * ```
 */
export function encodeCsv(rows: readonly CsvRow[]): string {
  if (rows.length === 0) return "";
  const lines = [Object.keys(rows[0]), ...rows.map((row) => Object.values(row).map(String))];
  return lines.map((cells) => cells.map(quote).join(",") + "\n").join("");
}

const quote = (cell: string): string => /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;

/**
 * The rows of a table with a header (RFC 4180).
 *
 * @throws {DataError} If a row has more or fewer cells than the header, or a quote is not closed.
 */
export function parseCsv(text: string, name: string): Record<string, string>[] {
  const lines: string[][] = [];
  // A cell, quoted or plain, and what ends it. The last line may lack its newline.
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y;
  let row: string[] = [];
  while (cell.lastIndex < text.length || row.length > 0) {
    const start = cell.lastIndex, match = cell.exec(text);
    if (!match) {
      throw new DataError(`${name}: a quote inside a cell, or one that is not closed`, {
        where: `${name}, character ${start}`,
      });
    }
    row.push(match[1] === undefined ? match[2] : match[1].replaceAll('""', '"'));
    if (match[3] === ",") continue;
    lines.push(row);
    row = [];
  }
  const [header, ...body] = lines;
  return body.map((cells, i) => {
    if (cells.length !== header.length) {
      throw new DataError(`${name}: row ${i + 1} has ${cells.length} cells, the header ${header.length}`);
    }
    return Object.fromEntries(cells.map((value, j) => [header[j], value]));
  });
}
