/** Tensors one behind the other, each read from the disk while the one before it is worked on. */
import type { ByteSource } from "./byte_source.ts";
import type { StoredTensor, TensorSource } from "./stored_tensor.ts";

/**
 * Reads tensors in the order of `keys`, best that of the file. While the caller works on a tensor, another thread reads
 * the bytes of the next one: two are in memory at once.
 *
 * @throws {DataError} As `read`, when it is the damaged tensor's turn.
 *
 * @example Usage
 * ```ts
 * const w = { dtype: "F32", shape: [2], data: new Float32Array([1, 2]) } as const;
 * const source = { tensors: new Map([["w", w]]), read: () => w };
 * for await (const [key, { data }] of readAhead(source, source.tensors.keys())) {
 *   if (key !== "w" || data[1] !== 2) throw new Error("readAhead");
 * }
 * ```
 */
export async function* readAhead(
  source: TensorSource,
  keys: Iterable<string>,
): AsyncGenerator<readonly [key: string, tensor: StoredTensor], void, void> {
  const order = [...keys];
  const start = (key: string) => {
    const reading = startRead(source, key);
    reading.catch(() => {}); // it may fail before its turn, when nobody waits for it
    return reading;
  };
  let next = order.length > 0 ? start(order[0]) : undefined;
  try {
    for (let i = 0; next; i++) {
      const decode: () => StoredTensor = await next;
      next = i + 1 < order.length ? start(order[i + 1]) : undefined; // before the present one is checked and decoded
      yield [order[i], decode()];
    }
  } finally {
    await next?.catch(() => {}); // the caller may stop early, and then close the file
  }
}

/** Starts to read a tensor, of any source: one that cannot reads it when it is decoded. */
export const startRead = (source: TensorSource, key: string): Promise<() => StoredTensor> =>
  source.startRead?.(key) ?? Promise.resolve(() => source.read(key));

/** Where a tensor's bytes lie, and what they say. */
export interface TensorPlace {
  readonly at: number;
  readonly sizeBytes: number;
  /** @throws {DataError} If they are damaged. */
  decode(bytes: Uint8Array<ArrayBuffer>): StoredTensor;
}

/**
 * Both ways to read a file's tensors.
 *
 * @param placeOf Throws a `DataError` if there is no such key.
 */
export const readsOf = (
  source: ByteSource,
  placeOf: (key: string) => TensorPlace,
): Required<Pick<TensorSource, "read" | "startRead">> => ({
  read(key) {
    const { at, sizeBytes, decode } = placeOf(key);
    return decode(source.read(at, sizeBytes));
  },
  async startRead(key) {
    const { at, sizeBytes, decode } = placeOf(key);
    const bytes = await source.readAsync?.(at, sizeBytes) ?? source.read(at, sizeBytes);
    return () => decode(bytes);
  },
});
