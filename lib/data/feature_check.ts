/** Which stored features are sound: listed in the index, and with the checksum that stands there. */
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { DataError } from "../core/errors.ts";
import { writeFileAtomic } from "../io/atomic.ts";
import { isJsonObject } from "../io/json_keys.ts";
import {
  currentRecords,
  type FeatureLayout,
  type FeatureRecord,
  parseRecord,
  shardName,
} from "./feature_layout.ts";
import { parseJson, readTextIfThere, RECORDS } from "./feature_manifest.ts";

/**
 * Reads every record of a store that the index lists.
 *
 * @param onCheck Called after each.
 * @returns The sound ones by slot, and how many lines and records are damaged. Lines that are no records, such as one
 * that a crash tore, are removed from the index.
 */
export async function soundRecords(
  folder: string,
  layout: FeatureLayout,
  onCheck: (done: number, total: number) => void,
): Promise<{ sound: FeatureRecord[]; damaged: number }> {
  const { records, damagedLines } = await readIndex(join(folder, RECORDS));
  const current = [...currentRecords(records).values()].sort((a, b) => a.slot - b.slot);
  const bytes = new Uint8Array(layout.recordBytes), sound: FeatureRecord[] = [];
  let open: { shard: number; file?: Deno.FsFile } | undefined;
  try {
    for (const [i, record] of current.entries()) {
      const { shard, at } = layout.placeOf(record.slot);
      if (open?.shard !== shard) {
        open?.file?.close();
        open = { shard, file: await openIfThere(join(folder, shardName(shard))) };
      }
      if (open.file && await readAt(open.file, at, bytes) && crc32(bytes) === record.crc32) {
        sound.push(record);
      }
      onCheck(i + 1, current.length);
    }
  } finally {
    open?.file?.close();
  }
  return { sound, damaged: current.length - sound.length + damagedLines };
}

async function readIndex(path: string): Promise<{ records: FeatureRecord[]; damagedLines: number }> {
  const lines = (await readTextIfThere(path))?.split("\n") ?? [""];
  const isTorn = lines.pop() !== "", records = lines.map((line) => recordOf(line, path));
  const whole = records.filter((record) => record !== undefined),
    damagedLines = records.length - whole.length;
  if (isTorn || damagedLines > 0) {
    await writeFileAtomic(path, whole.map((record) => JSON.stringify(record) + "\n"));
  }
  return { records: whole, damagedLines };
}

function recordOf(line: string, path: string): FeatureRecord | undefined {
  try {
    const value = parseJson(line, path);
    return parseRecord(isJsonObject(value) ? value : {}, path);
  } catch (error) {
    if (error instanceof DataError) return undefined;
    throw error;
  }
}

async function openIfThere(path: string): Promise<Deno.FsFile | undefined> {
  try {
    return await Deno.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Fills `bytes` from a place of the file; false if the file ends before. */
async function readAt(file: Deno.FsFile, at: number, bytes: Uint8Array): Promise<boolean> {
  await file.seek(at, Deno.SeekMode.Start);
  for (let done = 0; done < bytes.length;) {
    const n = await file.read(bytes.subarray(done));
    if (n === null) return false;
    done += n;
  }
  return true;
}
