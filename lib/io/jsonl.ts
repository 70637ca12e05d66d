/** Logs of one JSON object a line: appended durably, read back after a crash, cut back to a checkpoint. */
import { DataError } from "../core/errors.ts";
import { withPath, writeFileAtomic } from "./atomic.ts";

/** One line of a log. */
export type JsonRecord = Record<string, unknown>;

/** The complete lines of a log and, after a crash in the middle of a write, the text of its torn last line. */
export interface JsonlContent {
  records: JsonRecord[];
  torn?: string;
}

/**
 * Appends one line a record and syncs it to the disk. The file is made if it is missing.
 *
 * @throws {DataError} If the file ends in a torn line: the new record would be glued to it. `cutJsonl` removes it.
 */
export async function appendJsonl(path: string, ...records: JsonRecord[]): Promise<void> {
  using file = await Deno.open(path, { read: true, append: true, create: true });
  const { size } = await file.stat();
  if (size > 0) {
    const last = new Uint8Array(1);
    await file.seek(-1, Deno.SeekMode.End);
    await file.read(last);
    if (last[0] !== 0x0a) {
      throw new DataError(`${path}: the last line is not complete`, {
        where: `${path}, byte ${size}`,
        fix: "delete the last line; a crash left it half-written",
      });
    }
  }
  const bytes = new TextEncoder().encode(records.map((record) => JSON.stringify(record) + "\n").join(""));
  try {
    for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
    await file.sync();
  } catch (error) {
    throw withPath(error, path);
  }
}

/**
 * Reads a log. A missing file has no records. A last line without its newline was torn by a crash: it is returned
 * apart and never among the records.
 *
 * @throws {DataError} If a complete line is not a JSON object.
 */
export async function readJsonl(path: string): Promise<JsonlContent> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { records: [] };
    throw error;
  }
  const lines = text.split("\n");
  const torn = lines.pop();
  const records = lines.map((line, i) => parseRecord(line, `${path}, line ${i + 1}`));
  return torn ? { records, torn } : { records };
}

function parseRecord(line: string, where: string): JsonRecord {
  const fix = "delete the line if the log was edited by hand; its numbers are lost";
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new DataError(`${where}: not JSON: ${JSON.stringify(line.slice(0, 60))}`, { fix, cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new DataError(`${where}: not a JSON object: ${JSON.stringify(line.slice(0, 60))}`, { fix });
  }
  return value as JsonRecord;
}

/** Keeps what was logged up to `step`, and every record that has no step. */
export const cutAfter = (step: number) => (record: JsonRecord): boolean =>
  !(typeof record.step === "number" && record.step > step);

/**
 * Drops the records for which `keep` is false, and a torn last line. The kept ones are written anew, atomically; a log
 * that needs no cut is left as it is.
 *
 * @returns How many records were dropped, and the torn line if there was one.
 *
 * @example Usage
 * ```ts
 * const path = await Deno.makeTempFile();
 * await appendJsonl(path, { step: 1 }, { step: 2 });
 * const { dropped } = await cutJsonl(path, cutAfter(1));
 * if (dropped !== 1) throw new Error("cutJsonl");
 * ```
 */
export async function cutJsonl(
  path: string,
  keep: (record: JsonRecord) => boolean,
): Promise<{ dropped: number; torn?: string }> {
  const { records, torn } = await readJsonl(path);
  const kept = records.filter(keep);
  const dropped = records.length - kept.length;
  if (dropped > 0 || torn) await writeFileAtomic(path, kept.map((record) => JSON.stringify(record) + "\n"));
  return torn ? { dropped, torn } : { dropped };
}
