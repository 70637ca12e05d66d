/** A checkpoint's file: written and read a tensor at a time, with the hash of its content in its metadata. */
import { createHash } from "node:crypto";
import { DataError } from "../core/errors.ts";
import { sameShape, showShape, sizeOf } from "../core/shape.ts";
import { type ByteSource, openBytes } from "../io/byte_source.ts";
import { readAhead } from "../io/read_ahead.ts";
import { parseSafetensorsFile, type StoredTensor, streamSafetensors } from "../io/safetensors.ts";
import { bytesOfTensor, type TensorInfo, type WeightsFile } from "../io/stored_tensor.ts";
import type { State } from "../plan/state.ts";
import type { Param } from "../tensor/tensor.ts";

/** What a tensor of a file is of a state: a parameter, one of its moments, or `t`: how often it was updated. */
export interface StateTensor {
  readonly param: Param;
  readonly buffer: "param" | "m" | "v" | "t";
}

/** An open file. */
export type CheckpointFile = WeightsFile & Disposable;

/** SHA-256 over keys and bytes, ordered by key. */
class ContentHash {
  readonly #hash = createHash("sha256");
  add(key: string, tensor: StoredTensor): void {
    this.#hash.update(key).update(bytesOfTensor(tensor));
  }
  hex(): string {
    return this.#hash.digest("hex");
  }
}

/** Writes a file atomically; the hash of its content becomes `sha256` of the metadata. Waits for the GPU. */
export async function writeCheckpoint(
  path: string,
  state: State,
  tensors: ReadonlyMap<string, StateTensor>,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  const hash = new ContentHash();
  let sha256 = "0".repeat(64); // its place, until all is written
  const infos = new Map([...tensors].map(([key, tensor]) => [key, infoOf(tensor)]));
  async function* read(keys: readonly string[]): AsyncGenerator<StoredTensor> {
    // Every type is four bytes wide, so the file's order is that of the keys, which the hash asks for.
    const entries = keys.flatMap((key) => {
      const tensor = tensors.get(key);
      return tensor ? [[key, tensor] as const] : [];
    });
    for (const chunk of chunksOf(entries)) {
      for (const [i, tensor] of (await readChunk(state, chunk)).entries()) {
        hash.add(chunk[i][0], tensor);
        yield tensor;
      }
    }
    sha256 = hash.hex();
  }
  await streamSafetensors(path, infos, read, () => ({ ...metadata, sha256 }));
}

const infoOf = ({ param, buffer }: StateTensor): TensorInfo =>
  buffer === "t" ? { dtype: "U32", shape: [] } : { dtype: "F32", shape: param.shape };

/** Bytes read back at once: a staging buffer has a limit, and a model need not be on the GPU twice. */
const CHUNK_BYTES = 64 * 2 ** 20;

type Entry = readonly [key: string, tensor: StateTensor];

/** Runs of entries of one buffer and of at most 64 MiB together, at least one in each. */
function chunksOf(entries: readonly Entry[]): Entry[][] {
  const chunks: Entry[][] = [];
  let bytes = 0, buffer: string | undefined;
  for (const entry of entries) {
    const [, tensor] = entry, size = 4 * sizeOf(infoOf(tensor).shape);
    if (tensor.buffer !== buffer || bytes + size > CHUNK_BYTES) {
      chunks.push([]);
      bytes = 0;
    }
    chunks.at(-1)?.push(entry);
    buffer = tensor.buffer;
    bytes += size;
  }
  return chunks;
}

/** The values of a chunk, in its order. */
async function readChunk(state: State, chunk: readonly Entry[]): Promise<StoredTensor[]> {
  const params = chunk.map(([, { param }]) => param), [[, { buffer }]] = chunk;
  if (buffer === "t") {
    const steps = await state.readSteps();
    const groupOf = new Map(
      state.groups.flatMap(({ params }, group) => params.map((param) => [param, group])),
    );
    return params.map((param) => {
      const data = Uint32Array.of(steps[groupOf.get(param) ?? 0]); // whatever has moments is in a group
      return { dtype: "U32", shape: [], data };
    });
  }
  const values = await state.read(params, buffer);
  return values.map((data, i) => ({ dtype: "F32", shape: params[i].shape, data }));
}

/**
 * Opens a file and reads it once; nothing if there is none.
 *
 * @throws {DataError} If it is damaged: its values have not the hash that it tells.
 */
export async function openCheckpoint(path: string): Promise<CheckpointFile | undefined> {
  let source: ByteSource & Disposable;
  try {
    await Deno.stat(path);
    source = await openBytes(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  try {
    const file = parseSafetensorsFile(source), hash = new ContentHash();
    for await (const [key, tensor] of readAhead(file, [...file.tensors.keys()].sort())) hash.add(key, tensor);
    if (file.metadata.sha256 !== hash.hex()) {
      throw new DataError(`${path}: its values have changed since they were written`, {
        where: `${path}, SHA-256 over ${file.tensors.size} tensors`,
        fix: "put the file back from a copy, or pass --fresh to start anew",
      });
    }
    return { ...file, [Symbol.dispose]: () => source[Symbol.dispose]() };
  } catch (error) {
    source[Symbol.dispose]();
    throw error;
  }
}

/** @throws {DataError} If the file has other tensors than these, or one has another shape or type. */
export function checkTensors(file: WeightsFile, wanted: ReadonlyMap<string, StateTensor>): void {
  const { name, tensors } = file;
  const extra = [...tensors.keys()].find((key) => !wanted.has(key));
  const missing = [...wanted.keys()].find((key) => !tensors.has(key));
  if (extra ?? missing) {
    throw new DataError(
      `${name}: ${missing ? `no tensor "${missing}"` : `tensor "${extra}" is not one of the model's`}`,
      {
        where: `${name}, ${tensors.size} tensors, expected ${wanted.size}`,
      },
    );
  }
  for (const [key, { dtype, shape }] of tensors) {
    const tensor = wanted.get(key);
    if (!tensor) continue;
    const model = infoOf(tensor);
    if (dtype !== model.dtype) {
      throw new DataError(`${name}: tensor "${key}" is ${dtype}, expected ${model.dtype}`);
    }
    if (!sameShape(shape, model.shape)) {
      throw new DataError(
        `${name}: tensor "${key}" is ${showShape(shape)}, the model's is ${showShape(model.shape)}`,
      );
    }
  }
}

/** Copies parameters and moments to the state, one at a time. The file is one that `checkTensors` has passed. */
export function loadInto(state: State, file: WeightsFile, tensors: ReadonlyMap<string, StateTensor>): void {
  for (const [key, { param, buffer }] of tensors) {
    if (buffer === "t") continue;
    const { data } = file.read(key);
    if (data instanceof Float32Array) state.write(param, buffer, data);
  }
}
