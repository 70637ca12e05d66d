import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { ShapeError } from "../../lib/core/errors.ts";
import type { ByteSource } from "../../lib/io/byte_source.ts";
import {
  copyToSafetensors,
  readSafetensors,
  type StoredTensor,
  writeSafetensors,
} from "../../lib/io/safetensors.ts";
import { bytesOfTensor } from "../../lib/io/stored_tensor.ts";
import { torchPieces, writeTorchCheckpoint } from "../../lib/io/torch_writer.ts";
import { openWeights, type TensorSource } from "../../lib/io/weights_file.ts";
import { type ZipInput, zipPieces } from "../../lib/io/zip_writer.ts";
import { readZipDirectory } from "../../lib/io/zip_directory.ts";
import { withFolder } from "../tasks/run_task.ts";
import { bytes } from "./torch_archive.ts";

const fixture = (name: string) => new URL(`../oracle/torch/${name}`, import.meta.url).pathname;

function sourceOf(tensors: Record<string, StoredTensor>): TensorSource {
  return {
    tensors: new Map(Object.entries(tensors)),
    read: (key) => tensors[key],
  };
}

const small = sourceOf({
  w: { dtype: "F32", shape: [2, 2], data: new Float32Array([1, 2, 3, 4]) },
  "é.b": { dtype: "BF16", shape: [], data: new Uint16Array([0x3fc0]) },
});

Deno.test("writeTorchCheckpoint() keeps every dtype of torch.save, and its tensors' bytes", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/out.pth`;
    using original = await openWeights(fixture("torch_save.pth"));
    await writeTorchCheckpoint(path, { epoch: 2 ** 40, name: "é", Blip2Qformer: original });
    using copy = await openWeights(path);
    deepStrictEqual({ ...copy.metadata }, { epoch: String(2 ** 40), name: "é" });
    deepStrictEqual([...copy.tensors], [...original.tensors]);
    strictEqual(copy.tensors.size, 18);
    for (const key of copy.tensors.keys()) {
      deepStrictEqual(bytesOfTensor(copy.read(key)), bytesOfTensor(original.read(key)), key);
    }
    const names = Array.from(Deno.readDirSync(folder), ({ name }) => name);
    deepStrictEqual(names, ["out.pth"]);
  });
});

Deno.test("writeTorchCheckpoint() writes the pickle that torch.load with weights_only accepts", () => {
  const file = bytes(...torchPieces({ epoch: 3, Blip2Qformer: small }));
  const text = String.fromCharCode(...file);
  // The exact bytes were opened by PyTorch 1.13, weights_only too, when this was written.
  const pickle = text.slice(64, text.indexOf("PK", 64));
  const int = (n: number) => `J${String.fromCharCode(n)}\0\0\0`,
    str = (s: string) => `X${int(s.length).slice(1)}${s}`;
  const tensor = (type: string, key: string, n: number, shape: string, strides: string) =>
    `ctorch._utils\n_rebuild_tensor_v2\n((${str("storage")}ctorch\n${type}\n${str(key)}${str("cpu")}${
      int(n)
    }tQ` +
    `${int(0)}(${shape}t(${strides}t\x89ccollections\nOrderedDict\n)RtR`;
  strictEqual(
    pickle,
    `\x80\x02}(${str("epoch")}${int(3)}${str("Blip2Qformer")}ccollections\nOrderedDict\n)R(` +
      str("w") + tensor("FloatStorage", "0", 4, int(2) + int(2), int(2) + int(1)) +
      str("Ã©.b") + tensor("BFloat16Storage", "1", 1, "", "") + "uu.",
  );
});

Deno.test("storages begin at multiples of 64 bytes, as PyTorch maps them", () => {
  const file = bytes(...torchPieces({ epoch: 0, model: small }));
  const entries = readZipDirectory(inMemory(file));
  deepStrictEqual([...entries.keys()], [
    "archive/data.pkl",
    "archive/byteorder",
    "archive/data/0",
    "archive/data/1",
    "archive/version",
  ]);
  for (const { at, name } of entries.values()) strictEqual(at % 64, 0, name);
});

Deno.test("writeTorchCheckpoint() refuses what PyTorch cannot hold, and leaves no file", async () => {
  await withFolder(async (folder) => {
    const u32 = sourceOf({ t: { dtype: "U32", shape: [1], data: new Uint32Array(1) } });
    await rejects(writeTorchCheckpoint(`${folder}/a.pth`, { model: u32 }), /PyTorch has no storage of U32/);
    const short = sourceOf({ t: { dtype: "F32", shape: [2], data: new Float32Array(1) } });
    await rejects(
      writeTorchCheckpoint(`${folder}/a.pth`, { model: short }),
      /"t": 4 bytes, its shape and dtype say 8/,
    );
    await rejects(writeTorchCheckpoint(`${folder}/a.pth`, { epoch: 0.5 }), /0\.5 is no whole number/);
    deepStrictEqual([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("copyToSafetensors() writes the bytes that writeSafetensors() writes", async () => {
  await withFolder(async (folder) => {
    using original = await openWeights(fixture("torch_save.pth"));
    const all = new Map([...original.tensors.keys()].map((key) => [key, original.read(key)]));
    await writeSafetensors(`${folder}/a.safetensors`, all, { epoch: "7" });
    await copyToSafetensors(`${folder}/b.safetensors`, original, { epoch: "7" });
    deepStrictEqual(
      await Deno.readFile(`${folder}/b.safetensors`),
      await Deno.readFile(`${folder}/a.safetensors`),
    );
    const lying = sourceOf({ t: { dtype: "F32", shape: [2], data: new Float32Array(1) } });
    await rejects(copyToSafetensors(`${folder}/c.safetensors`, lying), ShapeError);
  });
});

Deno.test("openWeights() reads safetensors a tensor at a time, with the values of readSafetensors()", async () => {
  const path = new URL("../oracle/softmax_plain.safetensors", import.meta.url).pathname;
  using file = await openWeights(path);
  const whole = await readSafetensors(path);
  strictEqual(file.format, "safetensors");
  deepStrictEqual(file.metadata, whole.metadata);
  deepStrictEqual([...file.tensors.keys()], [...whole.tensors.keys()]);
  for (const [key, tensor] of whole.tensors) deepStrictEqual(file.read(key), tensor);
  throws(() => file.read("nope"), /no tensor "nope"/);
});

function inMemory(data: Uint8Array<ArrayBuffer>): ByteSource {
  return { name: "x.zip", sizeBytes: data.length, read: (at, length) => data.slice(at, at + length) };
}

Deno.test("zipPieces() writes zip64 records for more than 65,534 entries", () => {
  const inputs = Array.from(
    { length: 65_536 },
    (_, i): ZipInput => ({ name: String(i), bytes: () => new Uint8Array() }),
  );
  const pieces = [...zipPieces(inputs)], sizeBytes = pieces.reduce((sum, { length }) => sum + length, 0);
  const data = new Uint8Array(sizeBytes);
  let at = 0;
  for (const piece of pieces) {
    data.set(piece, at);
    at += piece.length;
  }
  strictEqual(readZipDirectory(inMemory(data)).size, 65_536);
});

Deno.test("zipPieces() writes offsets beyond 4 GiB into zip64 records", () => {
  // One buffer of 512 MiB stands for nine entries; what is kept is where the entries lie, not their bytes.
  const block = new Uint8Array(2 ** 29);
  const inputs = Array.from({ length: 9 }, (_, i): ZipInput => ({ name: `b${i}`, bytes: () => block }));
  inputs.push({ name: "last", bytes: () => new Uint8Array([1, 2, 3]) });
  const small: { at: number; piece: Uint8Array }[] = [];
  let sizeBytes = 0;
  for (const piece of zipPieces(inputs)) {
    if (piece !== block) small.push({ at: sizeBytes, piece });
    sizeBytes += piece.length;
  }
  const source: ByteSource = {
    name: "virtual.zip",
    sizeBytes,
    read(from, length) {
      const out = new Uint8Array(length);
      for (const { at, piece } of small) {
        const begin = Math.max(from, at), end = Math.min(from + length, at + piece.length);
        if (begin < end) out.set(piece.subarray(begin - at, end - at), begin - from);
      }
      return out;
    },
  };
  const last = readZipDirectory(source).get("last");
  ok(last && last.at > 2 ** 32);
  deepStrictEqual([...source.read(last.at, 3)], [1, 2, 3]);
});
