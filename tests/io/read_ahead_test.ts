/** Reading ahead gives what reading gives, one tensor ahead and no more, and fails when it is the damaged one's turn. */
import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { type ByteSource, openBytes } from "../../lib/io/byte_source.ts";
import { readAhead } from "../../lib/io/read_ahead.ts";
import { encodeSafetensors, parseSafetensorsFile } from "../../lib/io/safetensors.ts";
import type { StoredTensor, TensorSource } from "../../lib/io/stored_tensor.ts";
import { parseTorchCheckpoint } from "../../lib/io/torch_checkpoint.ts";
import { openWeights } from "../../lib/io/weights_file.ts";
import { bytes, floats, P, tensor, zip } from "./torch_archive.ts";

const fixture = (name: string) => new URL(`../oracle/torch/${name}`, import.meta.url).pathname;

async function inFile(data: Uint8Array, test: (path: string) => Promise<void>) {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, data);
    await test(path);
  } finally {
    await Deno.remove(path);
  }
}

async function sameAsRead(path: string) {
  using file = await openWeights(path);
  const keys = [...file.tensors.keys()], came: string[] = [];
  for await (const [key, tensor] of readAhead(file, keys)) {
    deepStrictEqual(tensor, file.read(key), key); // while the next one is read
    came.push(key);
  }
  deepStrictEqual(came, keys);
}

Deno.test("readAhead() gives what read() gives, of all three formats: shared, strided and empty tensors too", async () => {
  for (const name of ["torch_save.pth", "torchscript.pt"]) await sameAsRead(fixture(name));
  const data = Float32Array.from({ length: 999 }, (_, i) => i);
  const large: StoredTensor = { dtype: "F32", shape: [1 << 20], data: new Float32Array(1 << 20).fill(7) };
  const tensors = {
    large,
    a: { dtype: "F32", shape: [999], data },
    empty: { dtype: "F32", shape: [0, 3], data: new Float32Array() },
    odd: { dtype: "U8", shape: [3], data: new Uint8Array([1, 2, 3]) },
    half: { dtype: "F16", shape: [2], data: new Uint16Array([0x3c00, 0x4000]) },
  } as const;
  await inFile(encodeSafetensors(tensors), sameAsRead);
});

/** A source whose steps are told: `> key` when its bytes are read, `= key` when it is decoded. */
function told(keys: readonly string[], steps: string[], broken?: string): TensorSource {
  const info = { dtype: "F32", shape: [0], data: new Float32Array() } as const;
  return {
    tensors: new Map(keys.map((key) => [key, info])),
    read: () => info,
    async startRead(key) {
      steps.push(`> ${key}`);
      await new Promise((resolve) => setTimeout(resolve));
      if (key === broken) throw new Error(`${key} is broken`);
      steps.push(`. ${key}`);
      return () => {
        steps.push(`= ${key}`);
        return info;
      };
    },
  };
}

Deno.test("readAhead() starts the next tensor before it decodes the present one, and none beyond it", async () => {
  const steps: string[] = [];
  for await (const [key] of readAhead(told(["a", "b", "c"], steps), ["a", "b", "c"])) {
    steps.push(`work ${key}`);
  }
  deepStrictEqual(
    steps.filter((step) => !step.startsWith(".")),
    ["> a", "> b", "= a", "work a", "> c", "= b", "work b", "= c", "work c"],
  );
  for await (const _ of readAhead(told([], steps), [])) throw new Error("there is none");
});

Deno.test("readAhead() fails at the broken tensor's turn, even if the work before it takes long", async () => {
  const steps: string[] = [];
  await rejects(async () => {
    for await (const [key] of readAhead(told(["a", "b", "c"], steps, "b"), ["a", "b", "c"])) {
      await new Promise((resolve) => setTimeout(resolve, 20)); // b has failed by now
      steps.push(`work ${key}`);
    }
  }, /b is broken/);
  deepStrictEqual(steps, ["> a", ". a", "> b", "= a", "work a"]);
});

Deno.test("readAhead() has stopped reading when its caller stops: the file may be closed", async () => {
  const steps: string[] = [];
  for await (const [key] of readAhead(told(["a", "b", "c"], steps), ["a", "b", "c"])) if (key === "a") break;
  deepStrictEqual(steps, ["> a", ". a", "> b", "= a", ". b"]);
});

Deno.test("readAhead() reads a source that has no other thread", async () => {
  const file = parseSafetensorsFile(inMemory(encodeSafetensors({
    w: { dtype: "F32", shape: [2], data: new Float32Array([1, 2]) },
  })));
  for await (const [, { data }] of readAhead(file, ["w"])) deepStrictEqual([...data], [1, 2]);
  const plain = { tensors: file.tensors, read: file.read };
  for await (const [, { data }] of readAhead(plain, ["w"])) deepStrictEqual([...data], [1, 2]);
  await rejects(async () => {
    for await (const _ of readAhead(file, ["nope"])) throw new Error("there is none");
  }, /no tensor "nope"/);
});

const inMemory = (data: Uint8Array<ArrayBuffer>): ByteSource => ({
  name: "x",
  sizeBytes: data.length,
  read: (at, length) => data.slice(at, at + length),
});

Deno.test("readAhead() compares checksums", async () => {
  const whole = { shape: [4], strides: [1] };
  const both = P.dict({ a: tensor(whole), b: tensor({ ...whole, key: "1" }) });
  const archive = zip([
    { name: "a/data.pkl", data: bytes([0x80, 2], both, [0x2e]) },
    { name: "a/data/0", data: floats },
    { name: "a/data/1", data: floats, crc: 1 },
  ]);
  const came: string[] = [];
  const readAll = async (source: TensorSource) => {
    for await (const [key] of readAhead(source, source.tensors.keys())) came.push(key);
  };
  const expected = /entry "a\/data\/1" has another checksum than when it was written/;
  await inFile(archive, async (path) => {
    using file = await openWeights(path);
    await rejects(readAll(file), expected);
  });
  await rejects(readAll(parseTorchCheckpoint(inMemory(archive))), expected);
  deepStrictEqual(came, ["a", "a"]);
});

Deno.test("openBytes() reads at several places at once", async () => {
  const data = Uint8Array.from({ length: 300_000 }, (_, i) => i % 251);
  await inFile(data, async (path) => {
    using source = await openBytes(path);
    const { readAsync } = source;
    ok(readAsync);
    const reads = [200_000, 0, 100_000].map((at) => readAsync(at, 99_999));
    deepStrictEqual(source.read(7, 9), data.slice(7, 16));
    const [c, a, b] = await Promise.all(reads);
    deepStrictEqual([a, b, c], [0, 100_000, 200_000].map((at) => data.slice(at, at + 99_999)));
    await rejects(readAsync(299_999, 2), /bytes 299999 to 300001, the file ends at 300000/);
    strictEqual((await readAsync(299_999, 1))[0], data[299_999]);
    await Deno.truncate(path, 10);
    await rejects(readAsync(0, 20), /ends at byte 10, and was 300000 bytes long when opened/);
    deepStrictEqual(await readAsync(0, 10), data.slice(0, 10));
  });
});
