import { deepStrictEqual, match, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { DataError } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import type { ByteSource } from "../../lib/io/byte_source.ts";
import { toFloat32 } from "../../lib/io/floats.ts";
import { readPickle } from "../../lib/io/pickle.ts";
import { parseTorchCheckpoint } from "../../lib/io/torch_checkpoint.ts";
import { TORCH_NAMES } from "../../lib/io/torch_names.ts";
import { openWeights, type WeightsFile } from "../../lib/io/weights_file.ts";
import { archive, bytes, floats, le, P, tensor, utf8, zip } from "./torch_archive.ts";

const fixture = (name: string) => new URL(`../oracle/torch/${name}`, import.meta.url).pathname;

/** Bytes in memory; `reads` counts what was asked for. */
function memory(data: Uint8Array<ArrayBuffer>, reads: number[] = []): ByteSource {
  return {
    name: "x.pth",
    sizeBytes: data.length,
    read(at, length) {
      ok(at >= 0 && at + length <= data.length, "a read beyond the end");
      reads.push(length);
      return data.slice(at, at + length);
    },
  };
}

const open = (data: Uint8Array<ArrayBuffer>) => parseTorchCheckpoint(memory(data));
const valuesOf = (file: WeightsFile) =>
  Object.fromEntries([...file.tensors].map(([key, { dtype, shape }]) => [
    key === "__proto__" ? "proto" : key,
    [dtype, [...shape], [...file.read(key).data].map(String).join(" ")],
  ]));

Deno.test("openWeights() reads what torch.save wrote: every dtype, shared, strided, expanded and empty tensors", async () => {
  using file = await openWeights(fixture("torch_save.pth"));
  strictEqual(file.format, "PyTorch");
  deepStrictEqual({ ...file.metadata }, { epoch: "7", name: "é", done: "true", dtype: "torch.float16" });
  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  deepStrictEqual(valuesOf(file), {
    contiguous: ["F32", [4, 6], range(24).join(" ")],
    rows: ["F32", [2, 6], range(12).map((i) => i + 6).join(" ")],
    transposed: ["F32", [6, 4], range(6).flatMap((r) => range(4).map((c) => 6 * c + r)).join(" ")],
    strided: ["F32", [2, 3], "1 3 5 13 15 17"],
    expanded: ["F32", [2, 3], "1 1 1 2 2 2"],
    f16: ["F16", [4], "15872 49152 31743 1"],
    bf16: ["BF16", [3], "16320 49152 32610"],
    f64: ["F64", [1], "1e+300"],
    i64: ["I64", [1, 4], "0 1 2 3"],
    i32: ["I32", [1], "-1"],
    i16: ["I16", [1], "-2"],
    i8: ["I8", [1], "-3"],
    u8: ["U8", [1], "200"],
    bool: ["BOOL", [2], "1 0"],
    scalar: ["F32", [], "0.5"],
    empty: ["F32", [0, 3], ""],
    parameter: ["F32", [2], "7 8"],
    proto: ["F32", [1], "9"],
  });
  deepStrictEqual([...toFloat32(file.read("f16"), "f16")], [1.5, -2, 65504, 2 ** -24]); // 6e-8 is not exact in f16
  deepStrictEqual([...toFloat32(file.read("bf16"), "bf16")].slice(0, 2), [1.5, -2]);
  deepStrictEqual([...toFloat32(file.read("f64"), "f64")], [Infinity]);
  throws(() => toFloat32(file.read("i64"), "i64"), /tensor "i64" is I64, expected floating-point/);
  throws(() => file.read("nope"), /no tensor "nope"/);
});

Deno.test("openWeights() reads a TorchScript archive by walking its modules", async () => {
  using file = await openWeights(fixture("torchscript.pt"));
  strictEqual(file.format, "TorchScript");
  deepStrictEqual(valuesOf(file), {
    half_values: ["F16", [2], "15360 16384"],
    "blocks.0.w": ["F32", [2], "1 2"],
    "blocks.1.w": ["F32", [2], "3 6"],
  });
});

Deno.test("openWeights() takes the model of a training checkpoint, not the optimizer's moments", async () => {
  using file = await openWeights(fixture("training.pth"));
  deepStrictEqual([...file.tensors.keys()], ["half_values", "blocks.0.w", "blocks.1.w"]);
  strictEqual(file.metadata.iteration, "5");
  await rejects(
    openWeights(fixture("training.pth"), { at: "optimizer" }),
    /no dict of tensors at "optimizer"/,
  );
});

Deno.test("openWeights() reads pickle protocol 4", async () => {
  using file = await openWeights(fixture("protocol_4.pth"));
  deepStrictEqual([...file.read("w").data], [1, 2]);
});

Deno.test("openWeights() refuses PyTorch's old format with the line that converts it", async () => {
  await rejects(openWeights(fixture("legacy.pth")), (error) => {
    ok(error instanceof DataError);
    match(error.message, /legacy\.pth: is in PyTorch's format from before 1\.6/);
    match(error.fix ?? "", /python -c .*torch\.save\(torch\.load/);
    return true;
  });
});

Deno.test("openWeights() refuses a folder, a missing file and other formats", async () => {
  await rejects(openWeights(fixture("")), /not a file/);
  await rejects(openWeights(fixture("nope")), /nope: no such file/);
  await rejects(
    openWeights(fixture("make.py")),
    /neither a checkpoint of torch\.save, nor TorchScript, nor safetensors/,
  );
});

Deno.test("f16 is widened exactly: all 65,536 of them", () => {
  const data = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const wide = toFloat32({ dtype: "F16", shape: [65536], data }, "all");
  for (let i = 0; i < 65536; i++) {
    const sign = i & 0x8000 ? -1 : 1, exponent = i >> 10 & 31, fraction = i & 1023;
    const finite = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    const expected = exponent < 31 ? finite : fraction ? NaN : Infinity;
    if (!Object.is(wide[i], sign * expected)) strictEqual(wide[i], sign * expected, `bits ${i}`);
  }
});

const whole = { shape: [4], strides: [1] };
const sound = archive(P.dict({ w: tensor(whole) }), { 0: floats });

Deno.test("a tensor is read alone: opening touches no storage", () => {
  const large = new Uint8Array(4 * 50_000), reads: number[] = [];
  const data = archive(P.dict({ w: tensor({ shape: [10], strides: [1], offset: 100, length: 50_000 }) }), {
    0: large,
  });
  const file = parseTorchCheckpoint(memory(data, reads));
  ok(Math.max(...reads.slice(1)) < 400, `read ${reads}`); // the first is the end of the file, where the directory is
  reads.length = 0;
  strictEqual(file.read("w").data.length, 10);
  deepStrictEqual(reads, [40]);
});

Deno.test("zip64 records are read", () => {
  const file = open(archive(P.dict({ w: tensor(whole) }), { 0: floats }, { zip64: true }));
  deepStrictEqual([...file.read("w").data], [1, 2, 3, 4]);
});

Deno.test("storages beyond 4 GiB are found: the file is virtual", () => {
  const gap = 5 * 2 ** 30, data = bytes([0x80, 2], P.dict({ w: tensor(whole) }), [0x2e]);
  const file = zip([{ name: "a/data.pkl", data }, { name: "a/data/0", data: floats }], { zip64: true });
  const secondAt = 30 + "a/data.pkl".length + 3 + data.length, view = new DataView(file.buffer);
  // The second entry and all behind it move up by the gap, and three records must say so.
  const move = (at: number) => view.setBigUint64(at, view.getBigUint64(at, true) + BigInt(gap), true);
  const directoryField = file.length - 22 - 20 - 8,
    directoryAt = Number(view.getBigUint64(directoryField, true));
  const secondRecord = directoryAt + 46 + "a/data.pkl".length + 28;
  move(secondRecord + 46 + "a/data/0".length + 4 + 16);
  move(directoryField);
  move(file.length - 22 - 12); // the place of the zip64 record, in its locator
  const source: ByteSource = {
    name: "virtual.pth",
    sizeBytes: file.length + gap,
    read: (at, length) =>
      Uint8Array.from({ length }, (_, i) => {
        const place = at + i;
        return place < secondAt ? file[place] : place < secondAt + gap ? 0 : file[place - gap];
      }),
  };
  deepStrictEqual([...parseTorchCheckpoint(source).read("w").data], [1, 2, 3, 4]);
});

const huge = 0x7fffffff;
const tensorOf = (spec: Parameters<typeof tensor>[0]) => archive(P.dict({ w: tensor(spec) }), { 0: floats });
const pickled = (...pieces: (Uint8Array | readonly number[])[]) => archive(bytes(...pieces));
const call = (module: string, name: string, argument: Uint8Array) =>
  pickled(P.global(module, name), argument, P.tuple1, P.reduce);
const pkl = { name: "a/data.pkl", data: bytes([0x80, 2], P.dict({ w: tensor(whole) }), [0x2e]) };
const storage = { name: "a/data/0", data: floats };
/** A module whose fields `a` and `b` are one module, and so on: 2^depth paths. */
const doubling = (depth: number): Uint8Array =>
  bytes(
    P.global("__torch__", "M"),
    P.emptyTuple,
    P.newObject,
    P.emptyDict,
    P.mark,
    ...(depth ? [P.text("a"), doubling(depth - 1), P.put(depth), P.text("b"), P.get(depth)] : []),
    P.setItems,
    P.build,
  );

/** Each hostile or damaged file, and what its error must say. */
const hostile: Record<string, [data: Uint8Array<ArrayBuffer>, message: RegExp]> = {
  "calls os.system": [
    call("os", "system", P.text("touch /tmp/owned")),
    /names "os\.system", which is not read/,
  ],
  "calls posix.system": [call("posix", "system", P.text("x")), /names "posix\.system"/],
  "calls builtins.eval": [call("builtins", "eval", P.text("1")), /names "builtins\.eval"/],
  "calls __builtin__.getattr": [call("__builtin__", "getattr", P.text("x")), /names "__builtin__\.getattr"/],
  "calls torch.load": [call("torch", "load", P.text("x")), /names "torch\.load"/],
  "calls torch._utils.__builtins__": [
    call("torch._utils", "__builtins__", P.text("x")),
    /names "torch\._utils/,
  ],
  "calls numpy's reconstruct": [
    call("numpy.core.multiarray", "_reconstruct", P.text("x")),
    /names "numpy\.core\.multiarray\._reconstruct"/,
  ],
  "names Object.prototype's members": [
    pickled(P.global("constructor", "constructor")),
    /names "constructor\.con/,
  ],
  "names __proto__": [pickled(P.global("torch", "__proto__")), /names "torch\.__proto__"/],
  "calls a text": [pickled(P.text("x"), P.emptyTuple, P.reduce), /calls what is no function/],
  "calls with no tuple": [
    pickled(P.global("collections", "OrderedDict"), P.int(1), P.reduce),
    /arguments of collections\.OrderedDict are no tuple/,
  ],
  "makes an object of a function": [
    pickled(P.global("collections", "OrderedDict"), P.emptyTuple, P.newObject),
    /makes an object of what is no class/,
  ],
  "makes an OrderedDict of numbers": [
    call("collections", "OrderedDict", bytes(P.int(1))),
    /OrderedDict is made of what are no pairs/,
  ],
  "builds a number": [pickled(P.int(1), P.emptyDict, P.build), /state is given to what is no object/],
  "underflows the stack": [pickled(P.emptyDict, P.reduce), /stack underflow: 2 values wanted, 1 there/],
  "pops below a mark": [pickled(P.int(1), P.mark, P.tuple1), /stack underflow: 1 values wanted, 0 there/],
  "has no mark": [pickled(P.emptyList, P.appends), /no mark is open/],
  "has a mark too many": [pickled(P.emptyDict, P.mark), /stops with 1 values and 1 open marks/],
  "stops with nothing": [pickled(), /stops with 0 values/],
  "stops with two values": [pickled(P.int(1), P.int(2)), /stops with 2 values/],
  "recalls what was never kept": [pickled(P.get(7)), /memo 7 was never set/],
  "keeps nothing": [pickled(P.put(0)), /stack underflow: no value there/],
  "appends to a dict": [pickled(P.emptyDict, P.mark, P.int(1), P.appends), /appended to what is no list/],
  "sets items of a list": [pickled(P.emptyList, P.mark, P.int(1), P.setItems), /set in what is no dict/],
  "has a key without value": [pickled(P.emptyDict, P.mark, P.int(1), P.setItems), /key has no value/],
  "has a text of 4 GiB": [
    pickled([0x58, 0xff, 0xff, 0xff, 0xff]),
    /the pickle ends at byte \d+, 4294967295 bytes/,
  ],
  "has bytes of 2 GiB": [pickled([0x42, 0xff, 0xff, 0xff, 0x7f]), /2147483647 bytes are read/],
  "has a whole number of 255 bytes": [pickled([0x8a, 0xff]), /whole number of 255 bytes/],
  "has a text that is not UTF-8": [pickled([0x58], le(4, 1), [0xff]), /text is not UTF-8/],
  "ends inside a name": [zip([{ ...pkl, data: bytes([0x80, 2], utf8("cos")) }]), /ends inside a name/],
  "has an unknown instruction": [pickled([0x00]), /unknown pickle instruction 0x00/],
  "has protocol 0's instructions": [pickled(utf8("I1\n")), /unknown pickle instruction 0x49/],
  "is a tuple in a tuple, a hundred thousand deep": [
    pickled(P.emptyTuple, new Array(100_000).fill(P.tuple1[0])),
    /0 dicts of tensors/,
  ],
  "holds itself": [pickled(P.emptyList, P.put(0), P.mark, P.get(0), P.appends), /0 dicts of tensors/],
  "is a module that holds itself": [
    pickled(
      P.global("__torch__", "M"),
      P.emptyTuple,
      P.newObject,
      P.put(0),
      P.emptyDict,
      P.mark,
      P.text("a"),
      P.get(0),
      P.setItems,
      P.build,
    ),
    /its modules contain themselves/,
  ],
  "has modules with 2^40 paths": [archive(doubling(40)), /more than 1000000 fields/],
  "makes a million dicts": [
    archive(new Uint8Array(1_000_001).fill(P.emptyDict[0])),
    /the pickle makes more than 1000000 values/,
  ],
  "has a pickle of 4 MiB": [archive(new Uint8Array(4 * 2 ** 20)), /data\.pkl is 4194307 bytes long/],
  "has a tensor beyond its storage": [
    tensorOf({ shape: [5], strides: [1] }),
    /ends at element 5 of storage "0"/,
  ],
  "has a tensor beyond its storage by its offset": [tensorOf({ ...whole, offset: 1 }), /ends at element 5/],
  "has a tensor beyond its storage by its strides": [
    tensorOf({ shape: [2], strides: [4] }),
    /ends at element 5/,
  ],
  "has sizes whose product is no number": [
    tensorOf({ shape: [huge, huge, huge, huge], strides: [1, 1, 1, 1] }),
    /ends at element/,
  ],
  "has an expansion bomb": [
    tensorOf({ shape: [huge, huge], strides: [0, 0] }),
    /made of the 4 of its storage/,
  ],
  "has a negative size": [tensorOf({ shape: [-1], strides: [1] }), /no equally long lists of sizes/],
  "has a negative stride": [tensorOf({ shape: [2], strides: [-1] }), /no equally long lists of sizes/],
  "has a negative offset": [tensorOf({ ...whole, offset: -1 }), /begins at element -1/],
  "has fewer strides than sizes": [tensorOf({ shape: [2, 2], strides: [1] }), /no equally long lists/],
  "has 65 axes": [
    tensorOf({ shape: new Array(65).fill(1), strides: new Array(65).fill(1) }),
    /no equally long lists/,
  ],
  "has a storage shorter than the pickle says": [
    tensorOf({ ...whole, length: 8 }),
    /is 16 bytes long, 32 expected/,
  ],
  "has a storage longer than the pickle says": [
    tensorOf({ shape: [2], strides: [1], length: 2 }),
    /16 bytes long, 8 expected/,
  ],
  "lacks a storage": [tensorOf({ ...whole, key: "9" }), /storage "9" of tensor "w" is missing/],
  "reaches out of its folder": [
    tensorOf({ ...whole, key: "../data.pkl" }),
    /storage "\.\.\/data\.pkl".* is missing/,
  ],
  "has an unknown storage type": [
    tensorOf({ ...whole, type: "QInt8Storage" }),
    /names "torch\.QInt8Storage"/,
  ],
  "has a tensor of a text": [
    pickled(P.global("torch._utils", "_rebuild_tensor_v2"), P.text("x"), P.tuple1, P.reduce),
    /made of what is no storage/,
  ],
  "has a parameter of a text": [
    call("torch._utils", "_rebuild_parameter", P.text("x")),
    /parameter is made of what is no tensor/,
  ],
  "has a persistent id of a number": [pickled(P.int(1), P.persistent), /persistent id is no tuple/],
  "has a persistent id of something else": [
    pickled(P.text("module"), P.tuple1, P.persistent),
    /persistent id names no storage/,
  ],
  "holds a tensor and no dict": [
    archive(tensor(whole), { 0: floats }),
    /0 dicts of tensors, one is expected/,
  ],
  "holds two dicts of tensors": [
    archive(P.dict({ a: P.dict({ w: tensor(whole) }), b: P.dict({ w: tensor(whole) }) }), { 0: floats }),
    /2 dicts of tensors, one is expected/,
  ],

  "is empty": [new Uint8Array(0), /no end-of-directory record/],
  "is an end-of-directory record alone": [zip([]), /a zip file with 0 entries "data\.pkl"/],
  "has two pickles": [zip([pkl, { ...pkl, name: "b/data.pkl" }]), /with 2 entries "data\.pkl"/],
  "has an entry twice": [zip([pkl, storage, storage]), /entry "a\/data\/0" occurs twice/],
  "has entries that overlap": [
    zip([pkl, { ...storage, localSaid: 4 }]),
    /begins at byte 4, inside entry "a\/data\.pkl"/,
  ],
  "has an entry that reaches into the directory": [
    zip([pkl, { ...storage, sizeSaid: 10_000 }]),
    /ends at byte \d+, inside the directory/,
  ],
  "has an entry of 4 GiB": [zip([pkl, { ...storage, sizeSaid: 0xfffffffe }]), /inside the directory/],
  "has an entry beyond the file": [
    zip([pkl, { ...storage, localSaid: 0xfffffff0 }]),
    /the header of entry "a\/data\/0" is bytes/,
  ],
  "has another name in the local header": [
    zip([pkl, { ...storage, localName: "a/data/1" }]),
    /no header of entry "a\/data\/0"/,
  ],
  "has an encrypted entry": [zip([pkl, { ...storage, flags: 1 }]), /entry "a\/data\/0" is encrypted/],
  "has a compressed pickle": [zip([{ ...pkl, method: 8 }]), /entry "a\/data\.pkl" is compressed/],
  "has a pickle with another checksum": [zip([{ ...pkl, crc: 1 }]), /"a\/data\.pkl" has another checksum/],
  "counts more entries than there are": [
    zip([pkl], { countSaid: 2 }),
    /2 entries in \d+ bytes|no entry where one/,
  ],
  "counts fewer entries than there are": [
    zip([pkl, storage], { countSaid: 1 }),
    /bytes after the last entry/,
  ],
  "counts 65,535 entries": [zip([pkl], { countSaid: 65535 }), /65535 entries in \d+ bytes/],
  "has its directory elsewhere": [zip([pkl], { directorySaid: 3 }), /should end at/],
  "has a directory of 4 GiB": [zip([pkl], { directorySizeSaid: 0xffffffff }), /more than 67108864/],
  "has bytes before the directory that belong to it": [
    zip([pkl], { directorySizeSaid: 500, directorySaid: 0 }),
    /should end at/,
  ],
  "has zip64 sizes beyond 2^53": [
    zip([pkl], { zip64: true, directorySizeSaid: 2 ** 60 }),
    /a size or offset of 1152921504606846976/,
  ],
  "is of a big-endian machine": [
    zip([pkl, storage, { name: "a/byteorder", data: utf8("big") }]),
    /written on a big-endian machine/,
  ],
};

for (const [what, [data, message]] of Object.entries(hostile)) {
  Deno.test(`a checkpoint that ${what} is refused`, () => {
    throws(() => open(data), (error) => {
      ok(error instanceof DataError, Deno.inspect(error));
      match(error.message, message);
      return true;
    });
  });
}

Deno.test("a damaged or compressed storage is refused when it is read, the others are not touched", () => {
  const both = P.dict({ a: tensor(whole), b: tensor({ ...whole, key: "1" }) });
  const data = bytes([0x80, 2], both, [0x2e]);
  const damaged = open(zip([{ ...pkl, data }, storage, { name: "a/data/1", data: floats, crc: 1 }]));
  deepStrictEqual([...damaged.read("a").data], [1, 2, 3, 4]);
  throws(() => damaged.read("b"), /x\.pth: entry "a\/data\/1" has another checksum than when it was written/);
  const packed = open(zip([{ ...pkl, data }, storage, { name: "a/data/1", data: floats, method: 8 }]));
  throws(() => packed.read("b"), /entry "a\/data\/1" is compressed/);
});

Deno.test("an error in a pickle tells the byte", () => {
  throws(() => open(pickled(P.int(1), P.global("os", "system"))), { where: "x.pth, data.pkl, byte 7" });
});

Deno.test("a file cut short anywhere is refused", () => {
  for (let length = 0; length < sound.length; length++) {
    throws(() => open(sound.slice(0, length)), DataError, `${length} of ${sound.length} bytes`);
  }
  deepStrictEqual([...open(sound).read("w").data], [1, 2, 3, 4]);
});

/** True if it went well, false if it was refused; anything else is our fault. */
function isAccepted(attempt: () => void): boolean {
  try {
    attempt();
    return true;
  } catch (error) {
    ok(error instanceof DataError, Deno.inspect(error));
    return false;
  }
}

Deno.test("2,000 files with a few wrong bytes are read or refused, never anything else", () => {
  const random = new Random(1, "damage");
  let refused = 0;
  for (let i = 0; i < 2000; i++) {
    const data = sound.slice(), [count, ...places] = random.uniform(9, 0, 1);
    places.slice(0, 1 + Math.floor(4 * count)).forEach((x, j) =>
      data[Math.floor(x * data.length)] = 37 * i + 91 * j
    );
    const isRead = isAccepted(() => {
      const file = open(data);
      for (const key of file.tensors.keys()) file.read(key);
    });
    if (!isRead) refused++;
  }
  ok(refused > 1000, `${refused} refused`);
});

Deno.test("3,000 pickles with a few wrong bytes are read or refused, never anything else", () => {
  const random = new Random(2, "damage"), whole = Deno.readFileSync(fixture("torch_save.pth"));
  const at = 0x40, end = whole.indexOf(0x50, at + 1500); // the pickle is the first entry, stored
  const pickle = whole.slice(at, end);
  strictEqual(pickle[0], 0x80);
  let refused = 0;
  for (let i = 0; i < 3000; i++) {
    const data = pickle.slice(), [count, ...places] = random.uniform(9, 0, 1);
    places.slice(0, 1 + Math.floor(4 * count)).forEach((x, j) =>
      data[Math.floor(x * data.length)] = 41 * i + 91 * j
    );
    if (!isAccepted(() => void readPickle(data, "x", TORCH_NAMES))) refused++;
  }
  ok(refused > 1000, `${refused} refused`);
});
