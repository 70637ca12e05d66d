/** Files of weights in any format that is read: PyTorch, TorchScript, safetensors. */
import { DataError } from "../core/errors.ts";
import { openBytes } from "./byte_source.ts";
import { parseSafetensorsFile } from "./safetensors.ts";
import type { WeightsFile } from "./stored_tensor.ts";
import { parseTorchCheckpoint } from "./torch_checkpoint.ts";

export type { StoredTensor, TensorInfo, TensorSource, WeightsFile } from "./stored_tensor.ts";

/** Options of `openWeights`. */
export interface WeightsOptions {
  /** PyTorch: the key of the dict that is the state dict, where the file has several. */
  readonly at?: string;
}

/**
 * Opens a file of weights; its content tells the format. Tensors are read one at a time: a file may be larger than the
 * memory.
 *
 * @throws {DataError} If there is no such file, it is damaged or cut short, or of a format that is not read.
 *
 * @example Usage
 * ```ts ignore
 * using file = await openWeights("blip2_pretrained_vitL.pth");
 * const { shape, data } = file.read("query_tokens"); // [1, 32, 768]
 * ```
 */
export async function openWeights(
  path: string,
  options: WeightsOptions = {},
): Promise<WeightsFile & Disposable> {
  const source = await openBytes(path);
  try {
    const head = source.read(0, Math.min(source.sizeBytes, LEGACY_MAGIC.length));
    const begins = (bytes: readonly number[]) => bytes.every((byte, i) => head[i] === byte);
    if (begins(LEGACY_MAGIC)) throw legacy(path);
    const isZip = begins([0x50, 0x4b]); // PK
    if (!isZip && head[8] !== 0x7b) { // {
      throw new DataError(
        `${path}: is neither a checkpoint of torch.save, nor TorchScript, nor safetensors`,
        {
          where: `${path}, ${source.sizeBytes} bytes`,
          fix: "the file is damaged or of another kind; download it again",
        },
      );
    }
    const file = isZip ? parseTorchCheckpoint(source, options) : parseSafetensorsFile(source);
    return { ...file, [Symbol.dispose]: () => source[Symbol.dispose]() };
  } catch (error) {
    source[Symbol.dispose]();
    throw error;
  }
}

/** Protocol 2 and PyTorch's magic number: how files of `torch.save` before 1.6 begin. */
const LEGACY_MAGIC = [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

const legacy = (path: string) =>
  new DataError(`${path}: is in PyTorch's format from before 1.6, which is not read`, {
    where: `${path}, byte 0`,
    fix: "convert it, with PyTorch:\n" +
      "python -c \"import torch, sys; torch.save(torch.load(sys.argv[1], map_location='cpu'), sys.argv[2])\" IN OUT",
  });
