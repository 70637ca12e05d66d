/** Writes safetensors files; `safetensors.ts` reads them and tells the format. */
import { joinBytes } from "../core/bytes.ts";
import { ShapeError } from "../core/errors.ts";
import { writeFileAtomic } from "./atomic.ts";
import { readAhead } from "./read_ahead.ts";
import {
  ARRAYS,
  bytesOfTensor,
  isSizes,
  type StoredTensor,
  type TensorInfo,
  type TensorSource,
} from "./stored_tensor.ts";

/** Tensors to write, by key. */
export type TensorsToWrite = Map<string, StoredTensor> | Record<string, StoredTensor>;

/**
 * Writes a file atomically. Equal tensors and metadata give equal bytes, in whatever order they are passed: wide dtypes
 * first, so that all stay aligned, then by key; the header is padded to 8 bytes with spaces.
 *
 * @throws {ShapeError} If a tensor's data does not fit its dtype and shape.
 */
export async function writeSafetensors(
  path: string,
  tensors: TensorsToWrite,
  metadata: Record<string, string> = {},
): Promise<void> {
  await writeFileAtomic(path, encodedPieces(tensors, metadata));
}

/**
 * The same from tensors that are read one at a time, in this order of bytes: two are in memory at once.
 *
 * @throws {ShapeError} As `writeSafetensors`; no file is left behind then.
 */
export async function copyToSafetensors(
  path: string,
  source: TensorSource,
  metadata: Record<string, string> = {},
): Promise<void> {
  await writeFileAtomic(path, copiedPieces(source, metadata));
}

async function* copiedPieces(
  source: TensorSource,
  metadata: Record<string, string>,
): AsyncGenerator<Uint8Array> {
  const { order, head } = encodedHeader([...source.tensors], metadata);
  yield head;
  for await (const [key, tensor] of readAhead(source, order.map(([key]) => key))) {
    checkTensor(key, { ...tensor, ...source.tensors.get(key) } as StoredTensor); // the data against what the header says
    yield bytesOfTensor(tensor);
  }
}

/**
 * The same from tensors that come one behind the other, such as from a GPU.
 *
 * @param read Gives the tensors of these keys, in this order.
 * @param metadata Asked for twice, before the first tensor and behind the last one, with texts of the same lengths: so a
 * hash of the tensors can stand in it.
 * @throws {ShapeError} As `writeSafetensors`, or if a tensor does not come; no file is left behind then.
 */
export async function streamSafetensors(
  path: string,
  tensors: ReadonlyMap<string, TensorInfo>,
  read: (keys: readonly string[]) => AsyncIterable<StoredTensor>,
  metadata: () => Record<string, string>,
): Promise<void> {
  const header = () => encodedHeader([...tensors], metadata());
  const { order, head } = header();
  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield head;
    const left = order.values();
    for await (const tensor of read(order.map(([key]) => key))) {
      const { value: next } = left.next();
      if (!next) throw new ShapeError(`more than ${order.length} tensors came`);
      const [key, info] = next;
      checkTensor(key, { ...tensor, ...info } as StoredTensor);
      yield bytesOfTensor(tensor);
    }
    const { value: missing } = left.next();
    if (missing) throw new ShapeError(`tensor "${missing[0]}" did not come`);
  }
  await writeFileAtomic(path, pieces(), { start: () => sameLength(header().head, head) });
}

function sameLength(head: Uint8Array, before: Uint8Array): Uint8Array {
  if (head.length === before.length) return head;
  throw new ShapeError(
    `the metadata took ${before.length} bytes with the header, and now take ${head.length}`,
  );
}

/** The bytes that `writeSafetensors` writes. */
export function encodeSafetensors(
  tensors: TensorsToWrite,
  metadata: Record<string, string> = {},
): Uint8Array<ArrayBuffer> {
  return joinBytes(encodedPieces(tensors, metadata));
}

/** The header, then each tensor's bytes: views, not copies. */
function encodedPieces(tensors: TensorsToWrite, metadata: Record<string, string>): Uint8Array[] {
  const entries = tensors instanceof Map ? [...tensors] : Object.entries(tensors);
  for (const [key, tensor] of entries) checkTensor(key, tensor);
  const { order, head } = encodedHeader(entries, metadata);
  return [head, ...order.map(([, tensor]) => bytesOfTensor(tensor))];
}

/** The header's bytes, and the tensors in the order of theirs. */
function encodedHeader<T extends TensorInfo>(entries: [string, T][], metadata: Record<string, string>) {
  const byKey = (a: string, b: string) => a < b ? -1 : 1; // by code unit: the same in every locale
  const width = ({ dtype }: TensorInfo) => ARRAYS[dtype].BYTES_PER_ELEMENT;
  const order = entries.toSorted(([a, x], [b, y]) => width(y) - width(x) || byKey(a, b));

  const header: [string, unknown][] = [];
  const notes = Object.entries(metadata).sort(([a], [b]) => byKey(a, b));
  if (notes.length > 0) header.push(["__metadata__", Object.fromEntries(notes)]);
  let at = 0;
  for (const [key, { dtype, shape }] of order) {
    const end = at + shape.reduce((a, b) => a * b, ARRAYS[dtype].BYTES_PER_ELEMENT);
    header.push([key, { dtype, shape, data_offsets: [at, end] }]);
    at = end;
  }
  // Joined by hand: JSON.stringify would move keys that look like integers to the front.
  const json = `{${
    header.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")
  }}`;
  const text = new TextEncoder().encode(json);
  const head = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true);
  head.set(text, 8);
  return { order, head };
}

function checkTensor(key: string, { dtype, shape, data }: StoredTensor): void {
  if (key === "__metadata__") throw new ShapeError(`"__metadata__" is no name for a tensor`);
  const elements = shape.reduce((a, b) => a * b, 1);
  if (!isSizes(shape) || !(data instanceof ARRAYS[dtype]) || data.length !== elements) {
    throw new ShapeError(
      `tensor "${key}": ${data.constructor.name} of ${data.length} elements does not fit ${dtype} [${
        shape.join(", ")
      }]`,
    );
  }
}
