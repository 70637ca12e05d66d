/** Files that are either whole or absent, and the hash that names them. */
import { createHash } from "node:crypto";

/** What can be written: a text, bytes, or pieces of either. */
export type FileData =
  | string
  | Uint8Array
  | Iterable<string | Uint8Array>
  | AsyncIterable<string | Uint8Array>;

/**
 * Writes a file through a `*.partial` beside it: written, synced to the disk, then renamed over `path`. A reader, or a
 * crash at any moment, sees the old file or the new one. On failure the partial is removed and `path` is untouched.
 *
 * @param options.start Called when all pieces are written: bytes to put over the first ones. For a header that tells what
 * is only known then.
 *
 * @example Usage
 * ```ts
 * const path = await Deno.makeTempFile();
 * await writeFileAtomic(path, ["a", new Uint8Array([98])]);
 * if (await Deno.readTextFile(path) !== "ab") throw new Error("writeFileAtomic");
 * ```
 */
export async function writeFileAtomic(
  path: string,
  data: FileData,
  { start }: { start?: () => Uint8Array } = {},
): Promise<void> {
  // Beside the target: a rename is atomic only within one file system.
  const partial = `${path}.${crypto.randomUUID().slice(0, 8)}.partial`;
  try {
    await writeSynced(partial, data, start);
    await Deno.rename(partial, path);
  } catch (error) {
    await removeIfThere(partial);
    throw withPath(error, path);
  }
}

/** The error, with the path in its message: on a full disk the operating system tells none. */
export function withPath(error: unknown, path: string): unknown {
  if (error instanceof Error && !error.message.includes(path)) error.message += `: ${path}`;
  return error;
}

async function writeSynced(path: string, data: FileData, start?: () => Uint8Array): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  const pieces = typeof data === "string" || data instanceof Uint8Array ? [data] : data;
  for await (const piece of pieces) await writeAll(file, piece);
  if (start) {
    await file.seek(0, Deno.SeekMode.Start);
    await writeAll(file, start());
  }
  await file.sync();
}

/** Writes every byte: one `write` may take only a part. */
async function writeAll(file: Deno.FsFile, piece: string | Uint8Array): Promise<void> {
  const bytes = typeof piece === "string" ? new TextEncoder().encode(piece) : piece;
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/**
 * SHA-256 of bytes, or of a text's UTF-8, as 64 hexadecimal digits.
 *
 * @example Usage
 * ```ts
 * if (!sha256Hex("abc").startsWith("ba7816bf8f01cfea")) throw new Error("sha256Hex");
 * ```
 */
export const sha256Hex = (data: Uint8Array | string): string =>
  createHash("sha256").update(data).digest("hex");
