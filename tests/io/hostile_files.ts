/** Files that attack or break their reader, made by rule: every dangerous name by every way to call it, and so on. */
import { archive, bytes, floats, le, P, tensor, utf8, zip } from "./torch_archive.ts";

/** A file, and what must become of it: most are refused; `either` may also be read, where what is wrong does no harm. */
export interface HostileFile {
  readonly name: string;
  readonly data: Uint8Array<ArrayBuffer>;
  readonly expect: "refused" | "either";
}

type Piece = Uint8Array | readonly number[];
const refused = (name: string, data: Uint8Array<ArrayBuffer>): HostileFile => ({
  name,
  data,
  expect: "refused",
});
const either = (name: string, data: Uint8Array<ArrayBuffer>): HostileFile => ({
  name,
  data,
  expect: "either",
});
const pickled = (...pieces: Piece[]) => archive(bytes(...pieces), { 0: floats });
const whole = tensor({ shape: [4], strides: [1] });
const sound = archive(P.dict({ w: whole }), { 0: floats });

/** What a pickle of an attacker calls. */
const NAMES: readonly (readonly [module: string, name: string])[] = [
  ["os", "system"],
  ["posix", "system"],
  ["nt", "system"],
  ["os", "popen"],
  ["subprocess", "Popen"],
  ["subprocess", "check_output"],
  ["builtins", "eval"],
  ["builtins", "exec"],
  ["builtins", "getattr"],
  ["builtins", "__import__"],
  ["__builtin__", "apply"],
  ["importlib", "import_module"],
  ["runpy", "run_path"],
  ["webbrowser", "open"],
  ["pickle", "loads"],
  ["shutil", "rmtree"],
  ["socket", "create_connection"],
  ["ctypes", "CDLL"],
  ["operator", "attrgetter"],
  ["functools", "partial"],
  ["copyreg", "_reconstructor"],
  ["torch", "load"],
  ["torch.hub", "load"],
  ["torch.utils.cpp_extension", "load_inline"],
  ["torch._utils", "_rebuild_qtensor"],
  ["collections", "defaultdict"],
  ["constructor", "constructor"],
  ["__proto__", "constructor"],
  ["Object", "prototype"],
  ["Deno", "Command"],
  ["globalThis", "eval"],
  ["node:child_process", "execSync"],
];

/** Ways to reach a name and to call it with `touch owned`. */
const CALLS: Readonly<Record<string, (module: string, name: string) => Piece[]>> = {
  "GLOBAL REDUCE": (module, name) => [P.global(module, name), P.text("touch owned"), P.tuple1, P.reduce],
  "STACK_GLOBAL REDUCE": (module, name) => [
    P.text(module),
    P.text(name),
    [0x93],
    P.text("touch owned"),
    P.tuple1,
    P.reduce,
  ],
  "GLOBAL NEWOBJ": (module, name) => [P.global(module, name), P.text("touch owned"), P.tuple1, P.newObject],
  "INST": (module, name) => [P.mark, P.text("touch owned"), utf8(`i${module}\n${name}\n`)],
  "OBJ": (module, name) => [P.mark, P.global(module, name), P.text("touch owned"), [0x6f]],
};

function* calls(): Generator<HostileFile> {
  for (const [module, name] of NAMES) {
    for (const [how, call] of Object.entries(CALLS)) {
      yield refused(`${module}.${name} by ${how}`, pickled(...call(module, name)));
    }
    yield refused(
      `${module}.${name} within a state dict`,
      pickled(P.dict({ w: whole, x: bytes(...CALLS["GLOBAL REDUCE"](module, name)) })),
    );
  }
  for (const code of [0x82, 0x83, 0x84]) {
    yield refused(`extension registry 0x${code.toString(16)}`, pickled([code, 1, 0, 0, 0]));
  }
  for (const module of ["__torch__", "__torch__.os"]) {
    yield refused(
      `a TorchScript class ${module} with arguments`,
      pickled(...CALLS["GLOBAL NEWOBJ"](module, "system")),
    );
    yield refused(
      `a TorchScript class ${module} as a function`,
      pickled(...CALLS["GLOBAL REDUCE"](module, "system")),
    );
  }
}

/** Instructions with a length, and the width of it. */
const LENGTHS: readonly (readonly [what: string, op: number, width: 2 | 4 | 8])[] = [
  ["BINUNICODE", 0x58, 4],
  ["BINBYTES", 0x42, 4],
  ["BINSTRING", 0x54, 4],
  ["LONG4", 0x8b, 4],
  ["BINUNICODE8", 0x8d, 8],
  ["BINBYTES8", 0x8e, 8],
  ["BYTEARRAY8", 0x96, 8],
];

function* lengths(): Generator<HostileFile> {
  for (const [what, op, width] of LENGTHS) {
    for (const length of [2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      if (length < 2n ** BigInt(8 * width)) {
        yield refused(`${what} of ${length} bytes`, pickled([op], le(width, length)));
      }
    }
  }
  yield refused("a FRAME of 2^64 - 1 bytes that holds nothing", pickled([0x95], le(8, 2n ** 64n - 1n)));
  for (const n of [0x7fffffff, -1, -0x80000000]) {
    yield refused(`a tensor [${n}]`, pickled(P.dict({ w: tensor({ shape: [n], strides: [1] }) })));
    yield refused(`a stride of ${n}`, pickled(P.dict({ w: tensor({ shape: [2], strides: [n] }) })));
    yield refused(
      `an offset of ${n}`,
      pickled(P.dict({ w: tensor({ shape: [1], strides: [1], offset: n }) })),
    );
    yield refused(
      `a storage of ${n}`,
      pickled(P.dict({ w: tensor({ shape: [1], strides: [1], length: n }) })),
    );
  }
}

/** Lists of which each holds the one before twice: `2^depth` leaves. */
const doubled = (depth: number): Piece[] => [
  P.emptyList,
  P.put(0),
  ...Array.from(
    { length: depth },
    (_, i) => [P.emptyList, P.put(i + 1), P.mark, P.get(i), P.get(i), P.appends],
  ).flat(),
];

function* bombs(): Generator<HostileFile> {
  yield refused(
    "lists that hold themselves, through a tuple",
    pickled(P.emptyList, P.put(0), P.mark, P.get(0), P.tuple1, P.appends),
  );
  yield refused(
    "a dict that is its own key and value",
    pickled(P.emptyDict, P.put(0), P.mark, P.get(0), P.get(0), P.setItems),
  );
  yield refused("a list that doubles 200 times", pickled(P.mark, ...doubled(200), P.tuple));
  yield either(
    "a state dict beside a list that doubles 200 times",
    pickled(P.dict({ model: P.dict({ w: whole }), x: bytes(P.mark, ...doubled(200), P.tuple) })),
  );
  for (
    const [what, op] of [["lists", 0x5d], ["dicts", 0x7d], ["tuples", 0x29], ["marks", 0x28], [
      "nulls",
      0x4e,
    ]] as const
  ) {
    yield refused(`two million ${what}`, archive(new Uint8Array(2_000_000).fill(op)));
  }
  yield refused(
    "a million calls of OrderedDict",
    archive(bytes(P.global("collections", "OrderedDict"), P.put(0), callsOf(800_000))),
  );
  yield refused(
    "tuples 1,500,000 deep",
    archive(bytes(P.emptyTuple, new Uint8Array(1_500_000).fill(P.tuple1[0]))),
  );
  yield refused(
    "an expansion of 16 bytes to 2^62",
    pickled(P.dict({ w: tensor({ shape: [2 ** 31 - 1, 2 ** 31 - 1], strides: [0, 0] }) })),
  );
  const many = P.dict(
    Object.fromEntries(
      Array.from({ length: 400 }, (_, i) => [`w${i}`, tensor({ shape: [2 ** 24], strides: [0] })]),
    ),
  );
  yield refused("400 expansions of 64 MiB each, and no such storage", archive(many));
}

/** GET 0, EMPTY_TUPLE, REDUCE again and again. */
function callsOf(count: number): Uint8Array {
  const out = new Uint8Array(4 * count);
  for (let i = 0; i < out.length; i += 4) out.set([0x68, 0, 0x29, 0x52], i);
  return out;
}

const view = (data: Uint8Array) => new DataView(data.buffer, data.byteOffset, data.byteLength);

/** Places of the zip's records. */
function recordsOf(data: Uint8Array): { at: number; kind: "local" | "central" | "end" }[] {
  const kinds = { 0x04034b50: "local", 0x02014b50: "central", 0x06054b50: "end" } as const;
  const found: { at: number; kind: "local" | "central" | "end" }[] = [];
  for (let at = 0; at + 4 <= data.length; at++) {
    const kind = kinds[view(data).getUint32(at, true) as keyof typeof kinds];
    if (kind) found.push({ at, kind });
  }
  return found;
}

/** Fields of each record: offset and width. */
const FIELDS = {
  local: [[6, 2], [8, 2], [14, 4], [18, 4], [22, 4], [26, 2], [28, 2]],
  central: [[8, 2], [10, 2], [16, 4], [20, 4], [24, 4], [28, 2], [30, 2], [32, 2], [34, 2], [42, 4]],
  end: [[4, 2], [6, 2], [8, 2], [10, 2], [12, 4], [16, 4], [20, 2]],
} as const;

function* zips(): Generator<HostileFile> {
  for (const { at, kind } of recordsOf(sound)) {
    for (const cut of [at, at + 4, at + 20]) {
      yield refused(`a zip cut at ${cut}, in a ${kind} record`, sound.slice(0, cut));
    }
    for (const [offset, width] of FIELDS[kind]) {
      const old = width === 2
        ? view(sound).getUint16(at + offset, true)
        : view(sound).getUint32(at + offset, true);
      for (const value of [0, old + 1, 2 ** (8 * width) - 1]) {
        if (value === old) continue;
        const data = sound.slice();
        data.set(le(width, value), at + offset);
        yield either(`a zip whose ${kind} record at ${at} has ${value} at ${offset}`, data);
      }
    }
  }
  const pkl = { name: "a/data.pkl", data: bytes([0x80, 2], P.dict({ w: whole }), [0x2e]) };
  const same = Array.from({ length: 200 }, (_, i) => ({ name: `a/data/${i}`, data: floats, localSaid: 0 }));
  yield refused("200 entries at one place", zip([pkl, ...same]));
  yield refused(
    "an entry that says 4 GiB for 16 bytes",
    zip([pkl, { name: "a/data/0", data: floats, sizeSaid: 0xffffffff }]),
  );
  yield refused(
    "a deflated storage of 40 bytes",
    zip([pkl, { name: "a/data/0", data: new Uint8Array(40), method: 8 }]),
  );
  yield refused("a deflated pickle", zip([{ ...pkl, method: 8 }, { name: "a/data/0", data: floats }]));
  for (const name of ["__proto__", "../../data.pkl", "/data.pkl", "a/b/data.pkl", "", "constructor"]) {
    yield refused(
      `a pickle called ${JSON.stringify(name)}`,
      zip([{ ...pkl, name }, { name: "a/data/0", data: floats }]),
    );
  }
}

function* prototypes(): Generator<HostileFile> {
  for (const key of ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"]) {
    const text = JSON.stringify({ dtype: "U8", shape: [1], data_offsets: [0, 1] });
    yield either(
      `a state dict with the key ${key}`,
      archive(P.dict({ [`${key}`]: whole, w: whole }), { 0: floats }),
    );
    yield either(
      `a note ${key}`,
      archive(P.dict({ model: P.dict({ w: whole }), [`${key}`]: P.text("polluted") }), { 0: floats }),
    );
    yield refused(
      `a storage called ${key}`,
      archive(P.dict({ w: tensor({ key, shape: [4], strides: [1] }) }), { 0: floats }),
    );
    yield refused(
      `a storage type ${key}`,
      pickled(P.dict({ w: tensor({ type: key, shape: [4], strides: [1] }) })),
    );
    yield either(`safetensors with the tensor ${key}`, safetensors(`{"${key}":${text}}`, [1]));
    yield either(
      `safetensors with the note ${key}`,
      safetensors(`{"__metadata__":{"${key}":"polluted"},"w":${text}}`, [1]),
    );
    yield refused(
      `safetensors with the field ${key}`,
      safetensors(`{"w":{"${key}":{"polluted":1},${text.slice(1)}}`, [1]),
    );
    yield refused(
      `safetensors of dtype ${key}`,
      safetensors(`{"w":{"dtype":"${key}","shape":[1],"data_offsets":[0,1]}}`, [1]),
    );
  }
}

function safetensors(header: string, data: readonly number[] = [], length?: bigint): Uint8Array<ArrayBuffer> {
  const text = utf8(header);
  return new Uint8Array([...le(8, length ?? BigInt(text.length)), ...text, ...data]);
}

function* safetensorsFiles(): Generator<HostileFile> {
  const entry = (fields: object) =>
    safetensors(JSON.stringify({ w: { dtype: "F32", shape: [2], data_offsets: [0, 8], ...fields } }), [
      1,
      2,
      3,
      4,
      5,
      6,
      7,
      8,
    ]);
  for (
    const length of [
      0n,
      1n,
      1000n,
      10n ** 8n,
      10n ** 8n + 1n,
      2n ** 31n,
      2n ** 32n,
      2n ** 53n,
      2n ** 63n,
      2n ** 64n - 1n,
    ]
  ) {
    yield refused(`a safetensors header of ${length} bytes`, safetensors('{"w":{}}', [], length));
  }
  const values = [null, true, "2", -1, 0.5, 1e308, 2 ** 53, {}, [null], [-1], [0.5], [1e308], ["2"], [
    2 ** 53,
    2 ** 53,
  ], [[2]]];
  for (const field of ["shape", "data_offsets", "dtype"]) {
    for (const value of values) {
      yield refused(`a safetensors ${field} of ${JSON.stringify(value)}`, entry({ [field]: value }));
    }
  }
  for (const dtype of ["f32", "F32 ", "F8", "C64", "I128", "OBJECT", ""]) {
    yield refused(`a safetensors dtype "${dtype}"`, entry({ dtype }));
  }
  for (const offsets of [[0, 4], [0, 12], [4, 12], [8, 0], [2 ** 52, 2 ** 52 + 8]]) {
    yield refused(`safetensors data_offsets [${offsets}]`, entry({ data_offsets: offsets }));
  }
  yield refused("a safetensors header 200,000 lists deep", safetensors(`{"w":${"[".repeat(200_000)}`));
  yield refused(
    "a safetensors header 200,000 lists deep, closed",
    safetensors(`{"w":${"[".repeat(200_000)}${"]".repeat(200_000)}}`),
  );
  const row = (i: number) => `"${i}":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`;
  yield refused(
    "100,000 safetensors tensors on one byte",
    safetensors(`{${Array.from({ length: 100_000 }, (_, i) => row(i)).join(",")}}`, [1]),
  );
  yield refused(
    "a safetensors key of 5 MB, twice",
    safetensors(`{"${"k".repeat(5e6)}":1,"${"k".repeat(5e6)}":2}`),
  );
}

/** All of them. */
export function* hostileFiles(): Generator<HostileFile> {
  yield* calls();
  yield* lengths();
  yield* bombs();
  yield* zips();
  yield* prototypes();
  yield* safetensorsFiles();
}
