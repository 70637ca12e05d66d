/**
 * Writes checkpoints that `torch.load` opens, with `weights_only=True` too.
 *
 * Source: torch/serialization.py (`_save`), torch/_utils.py (`_rebuild_tensor_v2`).
 */
import { joinBytes } from "../core/bytes.ts";
import { ShapeError } from "../core/errors.ts";
import { stridesOf } from "../core/shape.ts";
import { writeFileAtomic } from "./atomic.ts";
import {
  ARRAYS,
  bytesOfTensor,
  type StoredDType,
  type TensorInfo,
  type TensorSource,
} from "./stored_tensor.ts";
import { type ZipInput, zipPieces } from "./zip_writer.ts";

/** What stands in the dict that `torch.load` gives: a text, a whole number, or a state dict. */
export type TorchValue = string | number | TensorSource;

const STORAGE_NAMES: Partial<Record<StoredDType, string>> = {
  F64: "DoubleStorage",
  F32: "FloatStorage",
  F16: "HalfStorage",
  BF16: "BFloat16Storage",
  I64: "LongStorage",
  I32: "IntStorage",
  I16: "ShortStorage",
  I8: "CharStorage",
  U8: "ByteStorage",
  BOOL: "BoolStorage",
};

/**
 * Writes a checkpoint atomically, a tensor at a time. State dicts become `OrderedDict`s.
 *
 * @param contents As released checkpoints have it: `{ epoch: 3, Blip2Qformer: source }`.
 * @throws {ShapeError} If a tensor has a dtype that PyTorch's storages lack, or more bytes than its shape says.
 */
export async function writeTorchCheckpoint(
  path: string,
  contents: Readonly<Record<string, TorchValue>>,
): Promise<void> {
  await writeFileAtomic(path, torchPieces(contents));
}

/** The bytes that `writeTorchCheckpoint` writes, in pieces. */
export function torchPieces(contents: Readonly<Record<string, TorchValue>>): Iterable<Uint8Array> {
  const pickle = new PickleWriter(), storages: ZipInput[] = [];
  pickle.dict(Object.entries(contents), (value) => {
    if (typeof value !== "object") return pickle.plain(value);
    pickle.orderedDict([...value.tensors], (info, key) => {
      const name = String(storages.length);
      pickle.tensor(key, info, name);
      storages.push({ name: `archive/data/${name}`, bytes: () => checkedBytes(value, key, info) });
    });
  });
  const text = (content: string) => () => new TextEncoder().encode(content);
  return zipPieces([
    { name: "archive/data.pkl", bytes: () => pickle.finish() },
    { name: "archive/byteorder", bytes: text("little") },
    ...storages,
    { name: "archive/version", bytes: text("3\n") },
  ]);
}

function checkedBytes(source: TensorSource, key: string, info: TensorInfo): Uint8Array {
  const bytes = bytesOfTensor(source.read(key)),
    expected = elementsOf(info) * ARRAYS[info.dtype].BYTES_PER_ELEMENT;
  if (bytes.length === expected) return bytes;
  throw new ShapeError(`tensor "${key}": ${bytes.length} bytes, its shape and dtype say ${expected}`);
}

const elementsOf = ({ shape }: TensorInfo): number => shape.reduce((a, b) => a * b, 1);

/** Protocol 2, without a memo: nothing is written twice but short names. */
class PickleWriter {
  readonly #pieces: Uint8Array[] = [new Uint8Array([0x80, 2])]; // PROTO 2

  finish(): Uint8Array {
    return joinBytes([...this.#pieces, new Uint8Array([0x2e])]); // STOP
  }

  dict<T>(items: readonly (readonly [string, T])[], write: (value: T, key: string) => void): void {
    this.#ops(0x7d, 0x28); // EMPTY_DICT MARK
    for (const [key, value] of items) {
      this.plain(key);
      write(value, key);
    }
    this.#ops(0x75); // SETITEMS
  }

  /** The same, made by a call: what `module.state_dict()` gives. */
  orderedDict<T>(items: readonly (readonly [string, T])[], write: (value: T, key: string) => void): void {
    this.#emptyOrderedDict();
    this.#ops(0x28); // MARK
    for (const [key, value] of items) {
      this.plain(key);
      write(value, key);
    }
    this.#ops(0x75); // SETITEMS
  }

  plain(value: string | number): void {
    if (typeof value === "number") return this.#number(value);
    const text = new TextEncoder().encode(value), head = new DataView(new ArrayBuffer(5));
    head.setUint8(0, 0x58); // BINUNICODE
    head.setUint32(1, text.length, true);
    this.#pieces.push(new Uint8Array(head.buffer), text);
  }

  /** `_rebuild_tensor_v2(("storage", type, name, "cpu", elements), 0, shape, strides, False, OrderedDict())`. */
  tensor(key: string, info: TensorInfo, storageName: string): void {
    const storage = STORAGE_NAMES[info.dtype];
    if (!storage) throw new ShapeError(`tensor "${key}": PyTorch has no storage of ${info.dtype}`);
    this.#global("torch._utils", "_rebuild_tensor_v2");
    this.#ops(0x28, 0x28); // MARK MARK
    this.plain("storage");
    this.#global("torch", storage);
    this.plain(storageName);
    this.plain("cpu");
    this.plain(elementsOf(info));
    this.#ops(0x74, 0x51); // TUPLE BINPERSID
    this.plain(0);
    this.#sizes(info.shape);
    this.#sizes(stridesOf(info.shape));
    this.#ops(0x89); // NEWFALSE
    this.#emptyOrderedDict();
    this.#ops(0x74, 0x52); // TUPLE REDUCE
  }

  #emptyOrderedDict(): void {
    this.#global("collections", "OrderedDict");
    this.#ops(0x29, 0x52); // EMPTY_TUPLE REDUCE
  }

  #sizes(sizes: readonly number[]): void {
    this.#ops(0x28); // MARK
    for (const size of sizes) this.plain(size);
    this.#ops(0x74); // TUPLE
  }

  #number(value: number): void {
    // Fractions are left out: weights_only of PyTorch 1.13 does not know them.
    if (!Number.isSafeInteger(value)) throw new ShapeError(`${value} is no whole number`);
    const view = new DataView(new ArrayBuffer(10));
    if (value === (value | 0)) {
      view.setUint8(0, 0x4a); // BININT
      view.setInt32(1, value, true);
      this.#pieces.push(new Uint8Array(view.buffer, 0, 5));
    } else {
      view.setUint16(0, 0x088a, true); // LONG1, 8 bytes
      view.setBigInt64(2, BigInt(value), true);
      this.#pieces.push(new Uint8Array(view.buffer));
    }
  }

  #global(module: string, name: string): void {
    this.#pieces.push(new TextEncoder().encode(`c${module}\n${name}\n`)); // GLOBAL
  }

  #ops(...bytes: number[]): void {
    this.#pieces.push(new Uint8Array(bytes));
  }
}
