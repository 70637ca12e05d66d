/** PyTorch archives byte by byte, sound or with one thing wrong. Independent of the toolkit's own writer. */
import { crc32 } from "node:zlib";

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A little-endian number of 2, 4 or 8 bytes. */
export function le(width: 2 | 4 | 8, value: number | bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
  return new Uint8Array(view.buffer, 0, width);
}

/** Pieces as one. */
export const bytes = (...pieces: (Uint8Array | readonly number[])[]): Uint8Array<ArrayBuffer> =>
  new Uint8Array(pieces.flatMap((piece) => [...piece]));

/** An entry; what is not given is right. */
export interface EntrySpec {
  readonly name: string;
  readonly data: Uint8Array;
  readonly crc?: number;
  readonly method?: number;
  readonly flags?: number;
  /** What the directory says. */
  readonly sizeSaid?: number;
  readonly localSaid?: number;
  /** The name in the local header. */
  readonly localName?: string;
}

/** What is wrong with the file as a whole. */
export interface ZipSpec {
  readonly zip64?: boolean;
  readonly countSaid?: number;
  readonly directorySaid?: number;
  readonly directorySizeSaid?: number;
  /** Bytes between the entries and the directory. */
  readonly gap?: Uint8Array;
}

/** A zip file. With `zip64` every size, offset and count stands in the zip64 records only. */
export function zip(entries: readonly EntrySpec[], spec: ZipSpec = {}): Uint8Array<ArrayBuffer> {
  const files: Uint8Array[] = [], directory: Uint8Array[] = [];
  let at = 0;
  for (const { name, data, crc = crc32(data), method = 0, flags = 0, ...said } of entries) {
    const text = utf8(name), localText = utf8(said.localName ?? name), size = said.sizeSaid ?? data.length;
    const common = (n: number) => [le(2, flags), le(2, method), le(4, 0), le(4, crc), le(4, n), le(4, n)];
    const local = bytes(
      le(4, 0x04034b50),
      le(2, 20),
      ...common(data.length),
      le(2, localText.length),
      le(2, 3),
    );
    files.push(local, localText, utf8("pad"), data);
    const extra = spec.zip64
      ? bytes(le(2, 1), le(2, 24), le(8, size), le(8, size), le(8, said.localSaid ?? at))
      : new Uint8Array();
    directory.push(
      bytes(
        le(4, 0x02014b50),
        le(2, 20),
        le(2, 20),
        ...common(spec.zip64 ? 0xffffffff : size),
        le(2, text.length),
        le(2, extra.length),
        le(4, 0),
        le(2, 0),
        le(4, 0),
        le(4, spec.zip64 ? 0xffffffff : said.localSaid ?? at),
        text,
        extra,
      ),
    );
    at += local.length + localText.length + 3 + data.length;
  }
  files.push(spec.gap ?? new Uint8Array());
  at += spec.gap?.length ?? 0;
  const list = bytes(...directory);
  const count = spec.countSaid ?? entries.length, place = spec.directorySaid ?? at;
  const size = spec.directorySizeSaid ?? list.length;
  const end64 = bytes(
    le(4, 0x06064b50),
    le(8, 44),
    le(4, 0),
    le(8, 0),
    le(8, count),
    le(8, count),
    le(8, size),
    le(8, place),
    le(4, 0x07064b50),
    le(4, 0),
    le(8, at + list.length),
    le(4, 1),
  );
  const end = spec.zip64
    ? bytes(le(4, 0x06054b50), le(4, 0), le(4, 0xffffffff), le(4, 0xffffffff), le(4, 0xffffffff), le(2, 0))
    : bytes(le(4, 0x06054b50), le(4, 0), le(2, count), le(2, count), le(4, size), le(4, place), le(2, 0));
  return bytes(...files, list, ...(spec.zip64 ? [end64] : []), end);
}

/** A checkpoint: its pickle's bytes, without the first two and the last, and its storages. */
export const archive = (
  pickle: Uint8Array,
  storages: Readonly<Record<string, Uint8Array>> = {},
  spec: ZipSpec = {},
): Uint8Array<ArrayBuffer> =>
  zip([
    { name: "archive/data.pkl", data: bytes([0x80, 2], pickle, [0x2e]) },
    ...Object.entries(storages).map(([key, data]) => ({ name: `archive/data/${key}`, data })),
    { name: "archive/version", data: utf8("3\n") },
  ], spec);

/** Pickle instructions by name. */
export const P = {
  mark: [0x28],
  none: [0x4e],
  emptyDict: [0x7d],
  emptyList: [0x5d],
  emptyTuple: [0x29],
  tuple: [0x74],
  tuple1: [0x85],
  appends: [0x65],
  setItems: [0x75],
  reduce: [0x52],
  newObject: [0x81],
  build: [0x62],
  persistent: [0x51],
  put: (index: number) => [0x71, index],
  get: (index: number) => [0x68, index],
  int: (value: number) => bytes([0x4a], le(4, value)),
  text: (text: string) => bytes([0x58], le(4, utf8(text).length), utf8(text)),
  global: (module: string, name: string) => utf8(`c${module}\n${name}\n`),
  ints: (values: readonly number[]) => bytes([0x28], ...values.map((n) => P.int(n)), [0x74]),
  dict: (items: Readonly<Record<string, Uint8Array | readonly number[]>>) =>
    bytes([0x7d, 0x28], ...Object.entries(items).flatMap(([key, value]) => [P.text(key), value]), [0x75]),
};

/** A view of a storage; what is not given is that of a whole float storage. */
export interface TensorSpec {
  readonly key?: string;
  readonly type?: string;
  readonly length?: number;
  readonly offset?: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** `_rebuild_tensor_v2` of a storage. */
export function tensor(
  { key = "0", type = "FloatStorage", length = 4, offset = 0, shape, strides }: TensorSpec,
): Uint8Array<ArrayBuffer> {
  return bytes(
    P.global("torch._utils", "_rebuild_tensor_v2"),
    P.mark,
    P.mark,
    P.text("storage"),
    P.global("torch", type),
    P.text(key),
    P.text("cpu"),
    P.int(length),
    P.tuple,
    P.persistent,
    P.int(offset),
    P.ints(shape),
    P.ints(strides),
    [0x89],
    P.none,
    P.tuple,
    P.reduce,
  );
}

/** Four floats. */
export const floats = new Uint8Array(new Float32Array([1, 2, 3, 4]).buffer);
