/** Files read in places instead of whole. */
import { DataError } from "../core/errors.ts";

/** Bytes at places: an open file, or anything that behaves like one. */
export interface ByteSource {
  /** What errors call it. */
  readonly name: string;
  readonly sizeBytes: number;
  /**
   * `length` bytes from `at`, as memory of their own.
   *
   * @throws {DataError} If they reach beyond the end.
   */
  read(at: number, length: number): Uint8Array<ArrayBuffer>;
}

/** Fails unless `length` bytes from `at` lie within the source. */
export function checkRange({ name, sizeBytes }: ByteSource, at: number, length: number, what: string): void {
  if (Number.isSafeInteger(at) && Number.isSafeInteger(length) && at >= 0 && length >= 0) {
    if (at + length <= sizeBytes) return;
  }
  throw new DataError(`${name}: ${what} is bytes ${at} to ${at + length}, the file ends at ${sizeBytes}`, {
    where: `${name}, byte ${at}`,
    fix: "the file is cut short or damaged; download or write it again",
  });
}

/**
 * Opens a file for reading in places. Reads are synchronous: a file has one cursor, and two reads at once would move it
 * under each other.
 *
 * @throws {DataError} If there is no such file.
 */
export async function openBytes(path: string): Promise<ByteSource & Disposable> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) throw new DataError(`${path}: no such file`, { cause });
    throw cause;
  }
  const { size, isFile } = file.statSync();
  const source = {
    name: path,
    sizeBytes: size,
    read(at: number, length: number) {
      checkRange(source, at, length, "what is read");
      const bytes = new Uint8Array(length);
      file.seekSync(at, Deno.SeekMode.Start);
      for (let done = 0; done < length;) {
        const n = file.readSync(bytes.subarray(done));
        if (n === null) {
          throw new DataError(`${path}: ends at byte ${at + done}, and was ${size} bytes long when opened`);
        }
        done += n;
      }
      return bytes;
    },
    [Symbol.dispose]: () => file.close(),
  };
  if (isFile) return source;
  file.close();
  throw new DataError(`${path}: not a file`);
}
