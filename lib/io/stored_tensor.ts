/** Tensors as files hold them: dtype, shape, elements. */

/** Array types by dtype. F16, BF16 and F8 stay raw bits; BOOL is one byte, 0 or 1. */
export const ARRAYS = {
  F64: Float64Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
  F32: Float32Array,
  I32: Int32Array,
  U32: Uint32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I16: Int16Array,
  U16: Uint16Array,
  F8_E4M3: Uint8Array,
  F8_E5M2: Uint8Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

/** Element types of a file. */
export type StoredDType = keyof typeof ARRAYS;
/** The typed array that holds the elements of a dtype. */
export type StoredArray<D extends StoredDType = StoredDType> = ReturnType<(typeof ARRAYS)[D]["of"]>;
/** A tensor as bytes on disk: row major. `dtype` tells the type of `data`. */
export type StoredTensor = {
  [D in StoredDType]: { dtype: D; shape: readonly number[]; data: StoredArray<D> };
}[StoredDType];

/** True for the name of a dtype. */
export const isStoredDType = (dtype: unknown): dtype is StoredDType =>
  typeof dtype === "string" && Object.hasOwn(ARRAYS, dtype);

/** True for a list of sizes or offsets: integers from 0 that a number holds exactly. */
export const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);

/** What can be told of a tensor without reading it. */
export interface TensorInfo {
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
}

/** Tensors by key, each read when it is asked for. */
export interface TensorSource {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** @throws {DataError} If there is no such key, or its bytes are damaged. */
  read(key: string): StoredTensor;
  /**
   * The same in two steps: another thread reads the bytes, then the function that is given checks and decodes them. For
   * `readAhead`; without it there is only `read`.
   */
  startRead?(key: string): Promise<() => StoredTensor>;
}

/** A file of weights. */
export interface WeightsFile extends TensorSource {
  /** The path or name that errors tell. */
  readonly name: string;
  readonly format: "PyTorch" | "TorchScript" | "safetensors";
  /** The notes beside the tensors: safetensors' `__metadata__`, or a checkpoint's plain values such as `epoch`. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** A tensor over memory of its own, or over a part of another's: then it is copied where the alignment asks for it. */
export function tensorOfBytes(
  dtype: StoredDType,
  shape: readonly number[],
  bytes: Uint8Array<ArrayBuffer>,
): StoredTensor {
  const ArrayType = ARRAYS[dtype], { buffer, byteOffset, byteLength } = bytes;
  const data = byteOffset % ArrayType.BYTES_PER_ELEMENT === 0
    ? new ArrayType(buffer, byteOffset, byteLength / ArrayType.BYTES_PER_ELEMENT)
    : new ArrayType(buffer.slice(byteOffset, byteOffset + byteLength));
  return { dtype, shape, data } as StoredTensor; // ARRAYS pairs them: TypeScript cannot follow the index
}

/** The bytes of a tensor, as the file has them. */
export const bytesOfTensor = ({ data }: StoredTensor): Uint8Array<ArrayBuffer> =>
  new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
