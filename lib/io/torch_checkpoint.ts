/**
 * PyTorch checkpoints, read a tensor at a time: what `torch.save` writes since 1.6 (a zip of a pickle and raw storages),
 * and TorchScript archives, whose state dict is found by walking the module objects.
 *
 * Nothing of a file runs: see `pickle.ts` and `torch_names.ts`.
 */
import { crc32 } from "node:zlib";
import { DataError } from "../core/errors.ts";
import type { ByteSource } from "./byte_source.ts";
import { PickleObject, readPickle } from "./pickle.ts";
import { readsOf, type TensorPlace } from "./read_ahead.ts";
import { ARRAYS, type TensorInfo, tensorOfBytes, type WeightsFile } from "./stored_tensor.ts";
import { gatherStrided, isContiguous, spanOf } from "./strided.ts";
import { TORCH_NAMES, TorchTensor } from "./torch_names.ts";
import { readZipDirectory, type ZipEntry } from "./zip_directory.ts";

/** A model's is some 100 kB. It is read whole. */
const MAX_PICKLE_BYTES = 4 * 2 ** 20;
/** A module may contain itself, or one module twice, again and again: walks end here. */
const MAX_DEPTH = 100, MAX_VISITS = 1_000_000;

/**
 * Opens a checkpoint. The source stays open as long as tensors are read from it.
 *
 * @param options.at Which dict of the file is the state dict, by its key. As default the root, if it holds tensors; or
 * the only dict in it that does; or, of several, `model` or `state_dict`.
 * @throws {DataError} If the file is no zip, breaks the format, names anything but tensors and containers, holds
 * tensors outside their storages, or no state dict can be told.
 */
export function parseTorchCheckpoint(source: ByteSource, { at = "" }: { at?: string } = {}): WeightsFile {
  const { name } = source;
  const entries = readZipDirectory(source);
  const root = rootOf(entries, name);
  const byteOrder = entries.get(`${root}byteorder`);
  if (byteOrder && new TextDecoder().decode(readWhole(source, byteOrder)) !== "little") {
    throw new DataError(`${name}: was written on a big-endian machine, which is not read`);
  }
  const pickle = entries.get(`${root}data.pkl`) as ZipEntry; // it is how the root was found
  if (pickle.sizeBytes > MAX_PICKLE_BYTES) {
    throw new DataError(`${name}: data.pkl is ${pickle.sizeBytes} bytes long, more than ${MAX_PICKLE_BYTES}`);
  }
  const value = readPickle(readWhole(source, pickle), `${name}, data.pkl`, TORCH_NAMES);
  const isScript = value instanceof PickleObject;
  const { dict, notes } = isScript
    ? { dict: scriptStateDict(value, name), notes: {} }
    : chooseDict(value, at, name);
  const tensors = new Map<string, TensorInfo>();
  const entryOf = new Map<string, ZipEntry>();
  for (const [key, { storage, shape }] of dict) {
    const entry = entries.get(`${root}data/${storage.key}`);
    const sizeBytes = storage.length * ARRAYS[storage.dtype].BYTES_PER_ELEMENT;
    if (entry?.sizeBytes !== sizeBytes) {
      const found = entry ? `${entry.sizeBytes} bytes long` : "missing";
      throw new DataError(
        `${name}: storage "${storage.key}" of tensor "${key}" is ${found}, ${sizeBytes} expected`,
        {
          where: `${name}, ${root}data/${storage.key}`,
        },
      );
    }
    entryOf.set(key, entry);
    tensors.set(key, { dtype: storage.dtype, shape });
  }
  return {
    name,
    format: isScript ? "TorchScript" : "PyTorch",
    metadata: notes,
    tensors,
    ...readsOf(source, (key) => {
      const tensor = dict.get(key), entry = entryOf.get(key);
      if (!tensor || !entry) throw new DataError(`${name}: no tensor "${key}"`);
      return placeOf(source, tensor, entry);
    }),
  };
}

/** The folder of the archive, `archive/`, and that there is one. */
function rootOf(entries: ReadonlyMap<string, ZipEntry>, name: string): string {
  const pickles = [...entries.keys()].filter((key) => /^([^/]*\/)?data\.pkl$/.test(key));
  if (pickles.length === 1) return pickles[0].slice(0, -"data.pkl".length);
  throw new DataError(
    `${name}: a zip file with ${pickles.length} entries "data.pkl", a PyTorch checkpoint has one`,
  );
}

/** An entry's bytes, checked against its checksum. */
function readWhole(source: ByteSource, entry: ZipEntry): Uint8Array<ArrayBuffer> {
  checkStored(source, entry);
  const bytes = source.read(entry.at, entry.sizeBytes);
  checkSum(source, entry, bytes);
  return bytes;
}

function checkSum({ name }: ByteSource, entry: ZipEntry, bytes: Uint8Array): void {
  if (crc32(bytes) === entry.crc32) return;
  throw new DataError(`${name}: entry "${entry.name}" has another checksum than when it was written`, {
    where: `${name}, byte ${entry.at}`,
    fix: "the file is damaged: download or write it again (in PyTorch without set_crc32_options(False))",
  });
}

function checkStored({ name }: ByteSource, entry: ZipEntry): void {
  if (entry.isStored) return;
  throw new DataError(`${name}: entry "${entry.name}" is compressed; torch.save stores its entries`, {
    fix: "write the file again with torch.save, not with a zip program",
  });
}

/** The part of a storage that a tensor reaches over, from its first element to its last. */
function placeOf(source: ByteSource, tensor: TorchTensor, entry: ZipEntry): TensorPlace {
  const { storage: { dtype }, shape, offset } = tensor, width = ARRAYS[dtype].BYTES_PER_ELEMENT;
  const sizeBytes = width * spanOf(tensor), isWhole = sizeBytes === entry.sizeBytes;
  checkStored(source, entry);
  return {
    at: isWhole ? entry.at : entry.at + width * offset,
    sizeBytes,
    decode(bytes) {
      if (isWhole) checkSum(source, entry, bytes); // no checksum covers a part of a shared storage
      return tensorOfBytes(dtype, shape, isContiguous(tensor) ? bytes : gatherStrided(bytes, tensor, width));
    },
  };
}

/** The tensors among a dict's own values. */
function tensorsIn(value: unknown): Map<string, TorchTensor> {
  const found = new Map<string, TorchTensor>();
  if (value instanceof Map) {
    for (const [key, item] of value) {
      if (item instanceof TorchTensor && typeof key === "string") found.set(key, item);
    }
  }
  return found;
}

/** The state dict of what `torch.save` was given, and the plain values beside it, as text. */
function chooseDict(
  value: unknown,
  at: string,
  name: string,
): { dict: Map<string, TorchTensor>; notes: Record<string, string> } {
  const items: [string, unknown][] = value instanceof Map
    ? [...value].filter((item): item is [string, unknown] => typeof item[0] === "string")
    : [];
  const notes = Object.fromEntries(
    items.filter(([, v]) => ["string", "number", "boolean"].includes(typeof v)).map((
      [k, v],
    ) => [k, String(v)]),
  );
  const dicts = new Map(
    items.map(([key, item]) => [key, tensorsIn(item)] as const).filter(([, tensors]) => tensors.size > 0),
  );
  const own = tensorsIn(value);
  if (own.size > 0 && !at) return { dict: own, notes };
  const key = at ||
    (dicts.size === 1 ? [...dicts.keys()][0] : ["model", "state_dict"].find((k) => dicts.has(k)));
  const dict = key === undefined ? undefined : dicts.get(key);
  if (dict) return { dict, notes };
  const choices = [...dicts.keys()].map((k) => JSON.stringify(k)).join(", ") || "none";
  throw new DataError(
    at
      ? `${name}: no dict of tensors at "${at}"`
      : `${name}: ${dicts.size} dicts of tensors, one is expected`,
    {
      where: `${name}, dicts of tensors: ${choices}`,
      fix: dicts.size > 0 ? "pass --at with one of them" : undefined,
    },
  );
}

/** Every tensor of a TorchScript module by its path: parameters, buffers, and attributes that are tensors. */
function scriptStateDict(root: PickleObject, name: string): Map<string, TorchTensor> {
  const found = new Map<string, TorchTensor>();
  let visits = 0;
  const walk = (object: PickleObject, prefix: string, depth: number) => {
    if (depth > MAX_DEPTH) throw new DataError(`${name}: its modules contain themselves, at "${prefix}"`);
    for (const [field, value] of object.fields) {
      if (++visits > MAX_VISITS) {
        throw new DataError(`${name}: its modules have more than ${MAX_VISITS} fields`);
      }
      if (typeof field !== "string") continue;
      const key = `${prefix}${field}`;
      if (value instanceof PickleObject) walk(value, `${key}.`, depth + 1);
      else if (value instanceof TorchTensor) {
        if (found.has(key)) throw new DataError(`${name}: two tensors have the path "${key}"`);
        found.set(key, value);
      }
    }
  };
  walk(root, "", 0);
  return found;
}
