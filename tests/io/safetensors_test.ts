import assert from "node:assert/strict";
import { DataError, ShapeError } from "../../lib/core/errors.ts";
import {
  encodeSafetensors,
  parseSafetensors,
  readSafetensors,
  type StoredTensor,
  tensorOf,
  writeSafetensors,
} from "../../lib/io/safetensors.ts";

const oracle = new URL("../oracle/", import.meta.url);

/** A file from a header text, or an object, and data; `length` lies about the header where given. */
function file(header: string | object, data: number[] = [], length?: bigint): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

const u8 = (begin: number, end: number) => ({
  dtype: "U8",
  shape: [end - begin],
  data_offsets: [begin, end],
});

/** Each corrupt file, and what its error must say. */
const corrupt: Record<string, [bytes: Uint8Array<ArrayBuffer>, message: RegExp, where?: RegExp]> = {
  "is empty": [new Uint8Array(0), /0 bytes, too few for the header length/, /byte 0/],
  "ends inside the header length": [new Uint8Array(7), /7 bytes, too few/],
  "ends inside the header": [
    file({ a: u8(0, 1) }, []).subarray(0, 20),
    /header ends at byte \d+, the file at 20/,
  ],
  "has a header length beyond the file": [file("{}", [], 1000n), /header ends at byte 1008, the file at 10/],
  "has a huge header length": [
    file("{}", [], 2n ** 63n),
    /header says 9223372036854775808 bytes, more than 100000000/,
  ],
  "has a header length above the cap": [file("{}", [], 100_000_001n), /more than 100000000/],
  "has a header that is not JSON": [file('{"a": '), /header is not JSON/, /byte 8/],
  "has a header with a trailing comma": [file('{"a":{},}'), /header is not JSON/],
  "has a header that is not UTF-8": [file("{}").with(9, 0xff), /header is not JSON/],
  "has a header that begins with a space": [file(" {}"), /not a JSON object/],
  "has an array as header": [file("[]"), /not a JSON object/],
  "has a number as header": [file("12"), /not a JSON object/],
  "has a key twice": [
    file(
      '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    ),
    /key "a" occurs twice/,
    /byte 61$/,
  ],
  "has a field twice": [
    file('{"a":{"dtype":"U8","shape":[1],"shape":[0],"data_offsets":[0,0]}}'),
    /key "shape" occurs twice/,
  ],
  "has a tensor that is no object": [file({ a: 3 }), /tensor "a" is not an object/, /byte 9$/],
  "has an unknown field": [file({ a: { ...u8(0, 0), strides: [1] } }), /unknown field "strides"/],
  "has an unknown dtype": [file({ a: { ...u8(0, 0), dtype: "F12" } }), /dtype "F12", known are F64, /],
  "has an inherited name as dtype": [file({ a: { ...u8(0, 0), dtype: "toString" } }), /dtype "toString"/],
  "has no dtype": [file({ a: { shape: [0], data_offsets: [0, 0] } }), /dtype undefined/],
  "has a negative size": [file({ a: { ...u8(0, 0), shape: [-1] } }), /shape \[-1\], expected sizes/],
  "has a broken size": [file({ a: { ...u8(0, 0), shape: [0.5] } }), /shape \[0.5\]/],
  "has a scalar as shape": [file({ a: { ...u8(0, 0), shape: 0 } }), /shape 0, expected sizes/],
  "has a shape that overflows": [
    file({ a: { dtype: "F32", shape: [2 ** 31, 2 ** 31, 4], data_offsets: [0, 4] } }, [0, 0, 0, 0]),
    /needs 73786976294838210000 bytes, its data_offsets \[0, 4\] give 4/,
  ],
  "has offsets of one number": [file({ a: { ...u8(0, 0), data_offsets: [0] } }), /data_offsets \[0\]/],
  "has offsets backwards": [file({ a: { ...u8(0, 0), data_offsets: [3, 2] } }), /data_offsets \[3,2\]/],
  "has a negative offset": [file({ a: { ...u8(0, 0), data_offsets: [-1, 0] } }), /data_offsets \[-1,0\]/],
  "has a length unlike the shape": [
    file({ a: { dtype: "F32", shape: [2], data_offsets: [0, 7] } }, [0, 0, 0, 0, 0, 0, 0]),
    /of F32 \[2\] needs 8 bytes, its data_offsets \[0, 7\] give 7/,
  ],
  "overlaps": [
    file({ a: u8(0, 2), b: u8(1, 3) }, [1, 2, 3]),
    /tensor "b" begins at data byte 1, inside tensor "a", which ends at 2/,
    /byte 61$/,
  ],
  "has two tensors at one place": [
    file({ a: u8(0, 2), b: u8(0, 2) }, [1, 2]),
    /tensor "b" begins at data byte 0, inside/,
  ],
  "has a hole": [
    file({ a: u8(0, 1), b: u8(2, 3) }, [1, 2, 3]),
    /data bytes 1 to 2, before tensor "b", belong to no/,
  ],
  "has a hole at the start": [file({ a: u8(1, 2) }, [1, 2]), /data bytes 0 to 1, before tensor "a"/],
  "is cut short in the data": [file({ a: u8(0, 9) }, [1, 2]), /tensor "a" ends at byte \d+, the file at \d+/],
  "has bytes at the end": [file({ a: u8(0, 1) }, [1, 2, 3]), /2 bytes after tensor "a" belong to no tensor/],
  "has bytes and no tensor": [file("{}", [1]), /1 bytes after the header/],
  "has metadata that is no object": [file({ __metadata__: [] }), /__metadata__ is not an object/],
  "has metadata that is no string": [file({ __metadata__: { a: 1 } }), /__metadata__ "a" is not a string/],
};

for (const [what, [bytes, message, where]] of Object.entries(corrupt)) {
  Deno.test(`parseSafetensors() refuses a file that ${what}`, () => {
    assert.throws(() => parseSafetensors(bytes, "x.safetensors"), (error) => {
      assert.ok(error instanceof DataError, String(error));
      assert.match(error.message, message);
      assert.match(error.message, /^x\.safetensors: /);
      assert.match(error.where ?? "", where ?? /^x\.safetensors, byte \d+$/);
      return true;
    });
  });
}

Deno.test("parseSafetensors() refuses every truncation of an oracle case", async () => {
  const bytes = await Deno.readFile(new URL("linear_small.safetensors", oracle));
  assert.equal(parseSafetensors(bytes, "whole").metadata.op, "linear");
  for (let length = 0; length < bytes.length; length += 61) {
    assert.throws(() => parseSafetensors(bytes.slice(0, length), "cut"), DataError, `${length} bytes`);
  }
});

const every: Record<string, StoredTensor> = {
  "z.f64": { dtype: "F64", shape: [2], data: new Float64Array([Math.PI, -0]) },
  "i64": { dtype: "I64", shape: [1], data: new BigInt64Array([-(2n ** 63n)]) },
  "u64": { dtype: "U64", shape: [1], data: new BigUint64Array([2n ** 64n - 1n]) },
  "f32": { dtype: "F32", shape: [2, 3], data: new Float32Array([1, NaN, -0, Infinity, 1e-45, 0.1]) },
  "i32": { dtype: "I32", shape: [1, 1], data: new Int32Array([-(2 ** 31)]) },
  "u32": { dtype: "U32", shape: [1], data: new Uint32Array([2 ** 32 - 1]) },
  "f16": { dtype: "F16", shape: [3], data: new Uint16Array([0x3c00, 0x7e00, 0x8000]) },
  "bf16": { dtype: "BF16", shape: [1], data: new Uint16Array([0x3f80]) },
  "i16": { dtype: "I16", shape: [1], data: new Int16Array([-5]) },
  "u16": { dtype: "U16", shape: [1], data: new Uint16Array([65535]) },
  "i8": { dtype: "I8", shape: [3], data: new Int8Array([-128, 0, 127]) },
  "u8": { dtype: "U8", shape: [5], data: new Uint8Array([0, 1, 2, 3, 255]) },
  "bool": { dtype: "BOOL", shape: [2], data: new Uint8Array([0, 1]) },
  "f8": { dtype: "F8_E4M3", shape: [1], data: new Uint8Array([0x38]) },
  "scalar": { dtype: "F32", shape: [], data: new Float32Array([7]) },
  "empty": { dtype: "F32", shape: [0, 4], data: new Float32Array(0) },
  "7": { dtype: "U8", shape: [1], data: new Uint8Array([7]) },
  'ключ "q" 😀': { dtype: "U8", shape: [1], data: new Uint8Array([9]) },
};

Deno.test("encodeSafetensors() and parseSafetensors() round-trip every dtype, bit for bit", () => {
  const metadata = { op: "test", "10": "ten", note: 'line\n"quoted" é' };
  const back = parseSafetensors(encodeSafetensors(every, metadata), "x");
  assert.deepEqual({ ...back.metadata }, metadata);
  assert.deepEqual([...back.tensors.keys()].sort(), Object.keys(every).sort());
  for (const [key, { dtype, shape, data }] of Object.entries(every)) {
    const got = back.tensors.get(key);
    assert.deepEqual([got?.dtype, got?.shape], [dtype, shape], key);
    assert.deepEqual(got?.data, data, key);
    assert.ok(Object.is(got?.data.at(-1), data.at(-1)), key);
  }
});

Deno.test("encodeSafetensors() gives the same bytes whatever the order of its arguments", () => {
  const metadata = { b: "2", a: "1" };
  const bytes = encodeSafetensors(every, metadata);
  const reversed = new Map(Object.entries(every).reverse());
  assert.deepEqual(encodeSafetensors(reversed, { a: "1", b: "2" }), bytes);
  const headerLength = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  assert.equal(headerLength % 8, 0);
  for (const { data } of parseSafetensors(bytes, "x").tensors.values()) {
    assert.equal(data.buffer, bytes.buffer, "aligned, so a view and no copy");
  }
});

Deno.test("parseSafetensors() copies what is not aligned, and reads a view into a larger buffer", () => {
  const header = { a: u8(0, 1), b: { dtype: "F32", shape: [1], data_offsets: [1, 5] } };
  const bytes = file(header, [3, ...new Uint8Array(new Float32Array([1.5]).buffer)]);
  for (const shift of [0, 1, 2, 3]) {
    const larger = new Uint8Array(bytes.length + 8);
    larger.set(bytes, shift);
    const { tensors } = parseSafetensors(larger.subarray(shift, shift + bytes.length), "x");
    assert.deepEqual([...tensors.values()].map((t) => t.data[0]), [3, 1.5]);
  }
});

Deno.test("parseSafetensors() keeps names that JavaScript treats specially", () => {
  const bytes = file(`{"__metadata__":{"__proto__":"p"},"__proto__":${JSON.stringify(u8(0, 1))}}`, [4]);
  const { tensors, metadata } = parseSafetensors(bytes, "x");
  assert.equal(tensors.get("__proto__")?.data[0], 4);
  assert.deepEqual(Object.entries(metadata), [["__proto__", "p"]]);
});

Deno.test("readSafetensors() reads every oracle case, and encoding them again loses nothing", async () => {
  let cases = 0;
  for await (const entry of Deno.readDir(oracle)) {
    if (!entry.name.endsWith(".safetensors")) continue;
    const read = await readSafetensors(new URL(entry.name, oracle).pathname);
    assert.equal(read.metadata.format, "cala-oracle-1", entry.name);
    const again = parseSafetensors(encodeSafetensors(read.tensors, read.metadata), entry.name);
    assert.deepEqual(new Map([...again.tensors].sort()), new Map([...read.tensors].sort()));
    cases++;
  }
  assert.ok(cases >= 40, `${cases} cases`);
});

Deno.test("writeSafetensors() writes what readSafetensors() reads, and leaves no partial", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/w.safetensors`;
  await writeSafetensors(path, every, { step: "3" });
  await writeSafetensors(path, every, { step: "4" });
  assert.equal((await readSafetensors(path)).metadata.step, "4");
  assert.deepEqual(await Deno.readFile(path), encodeSafetensors(every, { step: "4" }));
  assert.deepEqual([...Deno.readDirSync(folder)].map((e) => e.name), ["w.safetensors"]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("readSafetensors() says that a file is missing", async () => {
  await assert.rejects(readSafetensors("/nowhere/x.safetensors"), (error) => error instanceof DataError);
});

Deno.test("encodeSafetensors() refuses data that does not fit", () => {
  const tensor = (t: object) => ({
    w: { dtype: "F32", shape: [2], data: new Float32Array(2), ...t } as StoredTensor,
  });
  assert.doesNotThrow(() => encodeSafetensors(tensor({})));
  for (const wrong of [{ shape: [3] }, { data: new Int32Array(2) }, { dtype: "F16" }, { shape: [-1, -2] }]) {
    assert.throws(() => encodeSafetensors(tensor(wrong)), ShapeError, JSON.stringify(wrong));
  }
  const data = new Uint8Array(1);
  assert.throws(() => encodeSafetensors({ __metadata__: { dtype: "U8", shape: [1], data } }), ShapeError);
});

Deno.test("tensorOf() names a missing key and a wrong dtype", () => {
  const read = parseSafetensors(encodeSafetensors(every), "x");
  assert.equal(tensorOf(read, "scalar", "F32").data[0], 7);
  assert.throws(() => tensorOf(read, "nope", "F32"), /x: no tensor "nope"/);
  assert.throws(() => tensorOf(read, "u8", "F32"), /x: tensor "u8" is U8, expected F32/);
});
