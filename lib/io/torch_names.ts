/**
 * What PyTorch's pickles may name: tensors, their storages, and containers. Everything else is refused by name.
 *
 * Source: torch/_utils.py (`_rebuild_*`), torch/serialization.py (`persistent_id`), torch/jit/_pickle.py.
 */
import { DataError } from "../core/errors.ts";
import { PickleClass, PickleFunction, type PickleNames } from "./pickle.ts";
import { ARRAYS, isSizes, type StoredDType } from "./stored_tensor.ts";

/** Where the elements of a tensor lie: a file of the archive, which tensors may share. */
export interface TorchStorage {
  /** Its name under `data/`. */
  readonly key: string;
  readonly dtype: StoredDType;
  /** Elements that it holds. */
  readonly length: number;
}

/** A tensor of the archive: a view of its storage. Offset and strides count elements. */
export class TorchTensor {
  constructor(
    readonly storage: TorchStorage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}

class StorageType {
  constructor(readonly dtype: StoredDType) {}
}
class Storage {
  constructor(readonly storage: TorchStorage) {}
}

const STORAGES: ReadonlyMap<string, StorageType> = new Map(
  Object.entries(
    {
      DoubleStorage: "F64",
      FloatStorage: "F32",
      HalfStorage: "F16",
      BFloat16Storage: "BF16",
      LongStorage: "I64",
      IntStorage: "I32",
      ShortStorage: "I16",
      CharStorage: "I8",
      ByteStorage: "U8",
      BoolStorage: "BOOL",
    } satisfies Record<string, StoredDType>,
  ).map(([name, dtype]) => [name, new StorageType(dtype)]),
);

/** Largest number of axes that PyTorch has. */
const MAX_RANK = 64;
/** An expanded tensor is larger than its storage; up to here that is no attack. */
const MAX_EXPANDED_BYTES = 64 * 2 ** 20;

/** `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks)`. */
function rebuildTensor([stored, offset, shape, strides]: readonly unknown[]): TorchTensor {
  if (!(stored instanceof Storage)) throw new DataError("a tensor is made of what is no storage");
  if (!isSizes([offset])) throw new DataError(`a tensor begins at element ${String(offset)}`);
  if (!isSizes(shape) || !isSizes(strides) || shape.length !== strides.length || shape.length > MAX_RANK) {
    throw new DataError("a tensor's shape and strides are no equally long lists of sizes");
  }
  const { storage } = stored, text = `a tensor [${shape.join(", ")}] with strides [${strides.join(", ")}]`;
  const elements = shape.reduce((a, b) => a * b, 1);
  // The element behind the last one; beyond 2^53 the sum is inexact, and larger than any storage still.
  const end = Number(offset) + (elements && shape.reduce((sum, n, i) => sum + (n - 1) * strides[i], 1));
  if (end > storage.length) {
    throw new DataError(
      `${text} ends at element ${end} of storage "${storage.key}", which has ${storage.length}`,
    );
  }
  if (elements > storage.length && elements * ARRAYS[storage.dtype].BYTES_PER_ELEMENT > MAX_EXPANDED_BYTES) {
    throw new DataError(`${text} has ${elements} elements, made of the ${storage.length} of its storage`);
  }
  return new TorchTensor(storage, Number(offset), shape, strides);
}

/** `_rebuild_parameter(data, requires_grad, backward_hooks)`. */
function rebuildParameter([data]: readonly unknown[]): TorchTensor {
  if (!(data instanceof TorchTensor)) throw new DataError("a parameter is made of what is no tensor");
  return data;
}

/** `OrderedDict()`, or of pairs. */
function orderedDict([pairs = []]: readonly unknown[]): Map<unknown, unknown> {
  if (!Array.isArray(pairs) || !pairs.every((pair) => Array.isArray(pair) && pair.length === 2)) {
    throw new DataError("an OrderedDict is made of what are no pairs");
  }
  return new Map(pairs);
}

/** A list or a value with a note about its type, which is not needed. */
const first = ([value]: readonly unknown[]): unknown => value;

const FUNCTIONS: Readonly<Record<string, PickleFunction["apply"]>> = {
  "collections.OrderedDict": orderedDict,
  "torch._utils._rebuild_tensor_v2": rebuildTensor,
  "torch._utils._rebuild_tensor": rebuildTensor,
  "torch._utils._rebuild_parameter": rebuildParameter,
  "torch._utils._rebuild_parameter_with_state": rebuildParameter,
  "torch.Size": first,
  "torch.device": () => "device", // where a tensor was; the reader has its own place for it
  "torch.jit._pickle.build_intlist": first,
  "torch.jit._pickle.build_doublelist": first,
  "torch.jit._pickle.build_boollist": first,
  "torch.jit._pickle.build_tensorlist": first,
  "torch.jit._pickle.restore_type_tag": first,
};
const TABLE: ReadonlyMap<string, PickleFunction> = new Map(
  Object.entries(FUNCTIONS).map(([name, apply]) => [name, new PickleFunction(name, apply)]),
);

/** Names of element types, which settings mention: `torch.float16`. */
const DTYPE_NAME = /^torch\.(float|double|half|bfloat|u?int|long|bool|complex)\d*$/;

/** The rules for a PyTorch archive. */
export const TORCH_NAMES: PickleNames = {
  global(module, name) {
    const full = `${module}.${name}`;
    const known = TABLE.get(full) ?? (module === "torch" ? STORAGES.get(name) : undefined);
    if (known) return known;
    if (DTYPE_NAME.test(full)) return full;
    if (module === "__torch__" || module.startsWith("__torch__.")) return new PickleClass(full); // TorchScript's classes
    throw new DataError(`the pickle names ${JSON.stringify(full)}, which is not read`, {
      fix:
        "only tensors and containers are read, nothing is run; if you trust the file, save its state dict alone:\n" +
        "python -c \"import torch, sys; torch.save(torch.load(sys.argv[1], map_location='cpu')['model'], " +
        'sys.argv[2])" IN OUT',
    });
  },
  persistent(id) {
    if (!Array.isArray(id)) throw new DataError("a persistent id is no tuple");
    const [kind, type, key, , length] = id;
    const isSound = kind === "storage" && type instanceof StorageType && typeof key === "string" &&
      isSizes([length]);
    if (!isSound) throw new DataError("a persistent id names no storage");
    return new Storage({ key, dtype: type.dtype, length });
  },
};
