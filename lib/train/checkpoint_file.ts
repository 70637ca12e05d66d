/** What a checkpoint's file must hold, and how its tensors are read in pieces. */
import { createHash } from "node:crypto";
import { DataError } from "../core/errors.ts";
import { sameShape, showShape, sizeOf } from "../core/shape.ts";
import { type SafetensorsFile, type StoredTensor, tensorOf } from "../io/safetensors.ts";
import type { Param } from "../tensor/tensor.ts";

/** SHA-256 over the tensors' bytes, ordered by key. */
export function contentHash(tensors: ReadonlyMap<string, StoredTensor>): string {
  const hash = createHash("sha256");
  for (const key of [...tensors.keys()].sort()) {
    const data = tensors.get(key)?.data;
    if (data) hash.update(key).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest("hex");
}

/** @throws {DataError} If the file has other tensors than the model. */
export function checkKeys({ name, tensors }: SafetensorsFile, wanted: ReadonlySet<string>): void {
  const extra = [...tensors.keys()].find((key) => !wanted.has(key));
  const missing = [...wanted].find((key) => !tensors.has(key));
  if (extra ?? missing) {
    throw new DataError(
      `${name}: ${missing ? `no tensor "${missing}"` : `tensor "${extra}" is not one of the model's`}`,
      {
        where: `${name}, ${tensors.size} tensors, expected ${wanted.size}`,
      },
    );
  }
}

/** A tensor of a file, with the shape that the model has. @throws {DataError} */
export function floatsOf(file: SafetensorsFile, key: string, { shape }: Param): Float32Array<ArrayBuffer> {
  const tensor = tensorOf(file, key, "F32");
  if (!sameShape(tensor.shape, shape)) {
    throw new DataError(
      `${file.name}: tensor "${key}" is ${showShape(tensor.shape)}, the model's is ${showShape(shape)}`,
    );
  }
  return tensor.data as Float32Array<ArrayBuffer>; // of a file's own buffer
}

/** Bytes read back at once: a staging buffer has a limit, and a model need not be on the GPU twice. */
const CHUNK_BYTES = 64 * 2 ** 20;

/** Runs of entries of at most 64 MiB together, at least one in each. */
export function chunksOf<E extends readonly [string, Param]>(entries: readonly E[]): E[][] {
  const chunks: E[][] = [];
  let bytes = Infinity;
  for (const entry of entries) {
    const size = 4 * sizeOf(entry[1].shape);
    if (bytes + size > CHUNK_BYTES) {
      chunks.push([]);
      bytes = 0;
    }
    chunks.at(-1)?.push(entry);
    bytes += size;
  }
  return chunks;
}
