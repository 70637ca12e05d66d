/**
 * Zip files of stored entries, in pieces: nothing larger than one entry is in memory.
 *
 * Source: PKWARE, APPNOTE.TXT 6.3.10; zip64 records where a size, an offset or the count asks for one.
 */
import { crc32 } from "node:zlib";
import { joinBytes } from "../core/bytes.ts";

/** An entry to write. `bytes` is called once, when it is its turn. */
export interface ZipInput {
  readonly name: string;
  readonly bytes: () => Uint8Array;
}

/** PyTorch maps storages into memory: their data begin at multiples of this. */
const ALIGNMENT = 64;
const LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END64 = 0x06064b50, LOCATOR64 = 0x07064b50, END = 0x06054b50;
const UTF8_NAMES = 1 << 11, VERSION = 45, DATE = 1 << 5 | 1; // 1 January 1980: equal contents, equal bytes
const FULL16 = 0xffff, FULL32 = 0xffffffff;

/** The file's pieces in order. */
export function* zipPieces(inputs: Iterable<ZipInput>): Generator<Uint8Array> {
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const { name, bytes } of inputs) {
    const data = bytes(), text = new TextEncoder().encode(name), crc = crc32(data);
    const isWide = data.length >= FULL32;
    const wide = isWide ? record([[2, 1], [2, 16], [8, data.length], [8, data.length]]) : new Uint8Array();
    // The extra field "FB" is PyTorch's own name for padding.
    const unpadded = at + 30 + text.length + wide.length + 4;
    const padding = (ALIGNMENT - unpadded % ALIGNMENT) % ALIGNMENT;
    const extra = joinBytes([wide, record([[2, 0x4246], [2, padding]]), new Uint8Array(padding)]);
    const size = isWide ? FULL32 : data.length;
    const common: Field[] = [[2, VERSION], [2, UTF8_NAMES], [2, 0], [2, 0], [2, DATE], [4, crc], [4, size], [
      4,
      size,
    ]];
    const header = joinBytes([
      record([[4, LOCAL], ...common, [2, text.length], [2, extra.length]]),
      text,
      extra,
    ]);
    const isFar = at >= FULL32;
    const numbers: Field[] = [
      ...(isWide ? [[8, data.length], [8, data.length]] : []),
      ...(isFar ? [[8, at]] : []),
    ]
      .map(([width, value]) => [width, value]);
    const central = numbers.length > 0
      ? record([[2, 1], [2, 8 * numbers.length], ...numbers])
      : new Uint8Array();
    directory.push(joinBytes([
      record([[4, CENTRAL], [2, VERSION], ...common, [2, text.length], [2, central.length], [2, 0], [2, 0], [
        2,
        0,
      ]]),
      record([[4, 0], [4, isFar ? FULL32 : at]]),
      text,
      central,
    ]));
    yield header;
    yield data;
    at += header.length + data.length;
  }
  const list = joinBytes(directory), count = directory.length;
  yield list;
  if (count >= FULL16 || at >= FULL32 || list.length >= FULL32) {
    yield record([[4, END64], [8, 44], [2, VERSION], [2, VERSION], [4, 0], [4, 0], [8, count], [8, count]]);
    yield record([[8, list.length], [8, at], [4, LOCATOR64], [4, 0], [8, at + list.length], [4, 1]]);
  }
  const shown = Math.min(count, FULL16);
  yield record([
    [4, END],
    [2, 0],
    [2, 0],
    [2, shown],
    [2, shown],
    [4, list.length],
    [4, Math.min(at, FULL32)],
    [2, 0],
  ]);
}

/** Width in bytes and value. */
type Field = readonly [width: number, value: number];

/** Little-endian numbers, one behind the other. */
function record(fields: readonly Field[]): Uint8Array {
  const bytes = new Uint8Array(fields.reduce((sum, [width]) => sum + width, 0)),
    view = new DataView(bytes.buffer);
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 2) view.setUint16(at, value, true);
    else if (width === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += width;
  }
  return bytes;
}
