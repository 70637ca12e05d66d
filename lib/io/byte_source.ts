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
  /** The same by another thread, while this one does something else. Without it there is only `read`. */
  readAsync?(at: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
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
 * Opens a file for reading in places.
 *
 * It is opened twice: a file has one cursor, and `read` may be called while another thread reads. Asynchronous reads wait
 * for each other.
 *
 * @throws {DataError} If there is no such file.
 */
export async function openBytes(path: string): Promise<ByteSource & Disposable> {
  using handles = new DisposableStack();
  const file = handles.use(await openFile(path)), second = handles.use(await openFile(path));
  const { size, isFile } = file.statSync();
  if (!isFile) throw new DataError(`${path}: not a file`);
  const endsAt = (at: number) =>
    new DataError(`${path}: ends at byte ${at}, and was ${size} bytes long when opened`);
  let busy: Promise<unknown> | undefined;
  const readSecond = async (at: number, length: number) => {
    const bytes = new Uint8Array(length);
    second.seekSync(at, Deno.SeekMode.Start); // at once: the other thread begins before this one goes on
    for (let done = 0; done < length;) {
      const n = await second.read(bytes.subarray(done));
      if (n === null) throw endsAt(at + done);
      done += n;
    }
    return bytes;
  };
  const opened = handles.move();
  const source = {
    name: path,
    sizeBytes: size,
    read(at: number, length: number) {
      checkRange(source, at, length, "what is read");
      const bytes = new Uint8Array(length);
      file.seekSync(at, Deno.SeekMode.Start);
      for (let done = 0; done < length;) {
        const n = file.readSync(bytes.subarray(done));
        if (n === null) throw endsAt(at + done);
        done += n;
      }
      return bytes;
    },
    async readAsync(at: number, length: number) {
      checkRange(source, at, length, "what is read");
      while (busy) await busy;
      const reading = readSecond(at, length);
      busy = reading.catch(() => {}); // whoever asked for it is told
      try {
        return await reading;
      } finally {
        busy = undefined;
      }
    },
    [Symbol.dispose]: () => opened.dispose(),
  };
  return source;
}

async function openFile(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) throw new DataError(`${path}: no such file`, { cause });
    throw cause;
  }
}
