/**
 * safetensors files: 8 bytes little-endian header length, a JSON header, the data.
 *
 * Source: https://github.com/huggingface/safetensors, README "Format". Nothing of a file is trusted: every length,
 * offset and shape is checked before it is used, and a file is returned whole or not at all.
 */
import { DataError } from "../core/errors.ts";
import type { ByteSource } from "./byte_source.ts";
import { isJsonObject, JsonKeyError, keyPlaces } from "./json_keys.ts";
import { readsOf } from "./read_ahead.ts";
import {
  ARRAYS,
  isSizes,
  isStoredDType,
  type StoredArray,
  type StoredDType,
  type StoredTensor,
  tensorOfBytes,
  type WeightsFile,
} from "./stored_tensor.ts";

export {
  copyToSafetensors,
  encodeSafetensors,
  streamSafetensors,
  type TensorsToWrite,
  writeSafetensors,
} from "./safetensors_writer.ts";
export type { StoredArray, StoredDType, StoredTensor };

/** A file in memory. */
export interface SafetensorsFile {
  /** The path or name that errors tell. */
  name: string;
  metadata: Record<string, string>;
  /** By key, in the order of their bytes. */
  tensors: Map<string, StoredTensor>;
}

const MAX_HEADER_BYTES = 100_000_000; // the reference implementation's cap: a header must not be a decompression bomb

/**
 * Reads a file whole. Its tensors are views of one buffer where the alignment allows.
 *
 * @throws {DataError} If the file is missing, cut short, or breaks the format; says which tensor and which byte.
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await Deno.readFile(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) throw new DataError(`${path}: no such file`, { cause });
    throw cause;
  }
  return parseSafetensors(bytes, path);
}

/**
 * Reads a file's bytes. The tensors share the memory of `bytes` where the alignment allows, and copy it elsewhere.
 *
 * @param name What errors call the file.
 * @throws {DataError} If the bytes break the format.
 *
 * @example Usage
 * ```ts
 * const bytes = encodeSafetensors({ w: { dtype: "F32", shape: [2], data: new Float32Array([1, 2]) } });
 * const { data } = tensorOf(parseSafetensors(bytes, "example"), "w", "F32");
 * if (data[1] !== 2) throw new Error("parseSafetensors");
 * ```
 */
export function parseSafetensors(bytes: Uint8Array<ArrayBuffer>, name: string): SafetensorsFile {
  const read = (at: number, length: number) => bytes.subarray(at, at + length);
  const { metadata, dataStart, entries } = parseLayout({ name, sizeBytes: bytes.length, read });
  const tensors = new Map(
    entries.map(({ key, dtype, shape, begin, end }) => [
      key,
      tensorOfBytes(dtype, shape, read(dataStart + begin, end - begin)),
    ]),
  );
  return { name, metadata, tensors };
}

/**
 * Reads the header of a file whose tensors are then read one at a time.
 *
 * @throws {DataError} As `parseSafetensors`.
 */
export function parseSafetensorsFile(source: ByteSource): WeightsFile {
  const { metadata, dataStart, entries } = parseLayout(source);
  const entryOf = new Map(entries.map((entry) => [entry.key, entry]));
  return {
    name: source.name,
    format: "safetensors",
    metadata,
    tensors: new Map(entries.map(({ key, dtype, shape }) => [key, { dtype, shape }])),
    ...readsOf(source, (key) => {
      const entry = entryOf.get(key);
      if (!entry) throw new DataError(`${source.name}: no tensor "${key}"`);
      const { dtype, shape, begin, end } = entry;
      return {
        at: dataStart + begin,
        sizeBytes: end - begin,
        decode: (bytes) => tensorOfBytes(dtype, shape, bytes),
      };
    }),
  };
}

/** What the header says, checked: metadata, and the tensors in the order of their bytes. */
function parseLayout(source: ByteSource) {
  const { name, sizeBytes } = source;
  const { header, text, dataStart } = parseHeader(source);
  const places = placesOf(text, name);
  let metadata: Record<string, string> = {};
  const entries: (Entry & { key: string })[] = [];
  for (const [key, value] of Object.entries(header)) {
    const where = () => placeIn(name, text, places.get(key));
    if (key === "__metadata__") metadata = parseMetadata(value, name, where);
    else entries.push({ key, ...parseEntry(value, key, name, where) });
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCoverage(entries, sizeBytes - dataStart, dataStart, name);
  return { metadata, dataStart, entries };
}

/** One tensor's header entry; `begin` and `end` count from the start of the data. */
interface Entry {
  dtype: StoredDType;
  shape: number[];
  begin: number;
  end: number;
  /** Its place in the header: counted only for an error. */
  where: () => string;
}

/** The byte of the file at which the header's character `index` stands. */
const placeIn = (name: string, text: string, index?: number): string =>
  `${name}, byte ${8 + new TextEncoder().encode(text.slice(0, index ?? 0)).length}`;

function parseHeader(
  { name, sizeBytes, read }: ByteSource,
): { header: Record<string, unknown>; text: string; dataStart: number } {
  const fix = "the file is cut short or is no safetensors file; download or write it again";
  if (sizeBytes < 8) {
    throw new DataError(`${name}: ${sizeBytes} bytes, too few for the header length`, {
      where: `${name}, byte 0`,
      fix,
    });
  }
  const first = read(0, 8);
  const length = new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    throw new DataError(`${name}: the header says ${length} bytes, more than ${MAX_HEADER_BYTES}`, {
      where: `${name}, byte 0`,
      fix,
    });
  }
  const dataStart = 8 + Number(length);
  if (dataStart > sizeBytes) {
    throw new DataError(`${name}: the header ends at byte ${dataStart}, the file at ${sizeBytes}`, {
      where: `${name}, byte 0`,
      fix,
    });
  }
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      read(8, Number(length)),
    );
    const header: unknown = JSON.parse(text);
    if (text[0] === "{" && isJsonObject(header)) return { header, text, dataStart };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DataError(`${name}: the header is not JSON: ${reason}`, {
      where: `${name}, byte 8`,
      fix,
      cause,
    });
  }
  throw new DataError(`${name}: the header is not a JSON object`, { where: `${name}, byte 8`, fix });
}

/** Where each top-level key begins in the header's text. */
function placesOf(text: string, name: string): Map<string, number> {
  try {
    return keyPlaces(text);
  } catch (cause) {
    if (!(cause instanceof JsonKeyError)) throw cause;
    throw new DataError(`${name}: key "${cause.key}" occurs twice`, {
      where: placeIn(name, text, cause.index),
      cause,
    });
  }
}

function parseMetadata(value: unknown, name: string, where: () => string): Record<string, string> {
  if (!isJsonObject(value)) throw new DataError(`${name}: __metadata__ is not an object`, { where: where() });
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") {
      throw new DataError(`${name}: __metadata__ "${key}" is not a string`, { where: where() });
    }
  }
  return value as Record<string, string>;
}

function parseEntry(value: unknown, key: string, name: string, where: () => string): Entry {
  const fail = (what: string) => new DataError(`${name}: tensor "${key}" ${what}`, { where: where() });
  if (!isJsonObject(value)) throw fail("is not an object");
  const { dtype, shape, data_offsets: offsets, ...rest } = value;
  for (const extra of Object.keys(rest)) throw fail(`has an unknown field "${extra}"`);
  if (!isStoredDType(dtype)) {
    throw fail(`has dtype ${JSON.stringify(dtype)}, known are ${Object.keys(ARRAYS).join(", ")}`);
  }
  if (!isSizes(shape)) throw fail(`has shape ${JSON.stringify(shape)}, expected sizes`);
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw fail(`has data_offsets ${JSON.stringify(offsets)}, expected [begin, end]`);
  }
  const [begin, end] = offsets;
  const sizeBytes = shape.reduce((a, b) => a * b, ARRAYS[dtype].BYTES_PER_ELEMENT);
  // A product beyond 2^53 is inexact, but then no file is as long: the comparison still fails.
  if (sizeBytes !== end - begin) {
    throw fail(
      `of ${dtype} [${shape.join(", ")}] needs ${sizeBytes} bytes, its data_offsets [${begin}, ${end}] give ${
        end - begin
      }`,
    );
  }
  return { dtype, shape, begin, end, where };
}

/** The tensors must cover the data without overlap or hole: no byte is read twice or hidden. */
function checkCoverage(
  entries: (Entry & { key: string })[],
  sizeBytes: number,
  dataStart: number,
  name: string,
): void {
  let covered = 0, before = "the header";
  for (const { key, begin, end, where } of entries) {
    if (begin < covered) {
      throw new DataError(
        `${name}: tensor "${key}" begins at data byte ${begin}, inside ${before}, which ends at ${covered}`,
        { where: where() },
      );
    }
    if (begin > covered) {
      throw new DataError(
        `${name}: data bytes ${covered} to ${begin}, before tensor "${key}", belong to no tensor`,
        { where: where() },
      );
    }
    if (end > sizeBytes) {
      throw new DataError(
        `${name}: tensor "${key}" ends at byte ${dataStart + end}, the file at ${dataStart + sizeBytes}`,
        {
          where: where(),
          fix: "the file is cut short; download or write it again",
        },
      );
    }
    covered = end;
    before = `tensor "${key}"`;
  }
  if (covered < sizeBytes) {
    throw new DataError(`${name}: ${sizeBytes - covered} bytes after ${before} belong to no tensor`, {
      where: `${name}, byte ${dataStart + covered}`,
    });
  }
}

/**
 * A tensor that must be there, with its dtype.
 *
 * @throws {DataError} If the file has no such key, or another dtype.
 */
export function tensorOf<D extends StoredDType>(
  file: SafetensorsFile,
  key: string,
  dtype: D,
): { shape: readonly number[]; data: StoredArray<D> } {
  const tensor = file.tensors.get(key);
  if (!tensor) {
    throw new DataError(`${file.name}: no tensor "${key}"`, {
      where: `${file.name}, ${file.tensors.size} tensors`,
    });
  }
  if (tensor.dtype !== dtype) {
    throw new DataError(`${file.name}: tensor "${key}" is ${tensor.dtype}, expected ${dtype}`);
  }
  return { shape: tensor.shape, data: tensor.data as StoredArray<D> };
}
