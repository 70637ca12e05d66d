/**
 * Where the entries of a zip file lie, for reading them in places.
 *
 * Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3 to 4.5; zip64 included. PyTorch stores its entries uncompressed, so an
 * entry is a range of the file; a compressed one is listed and cannot be read. Nothing of the file is trusted: entries
 * must lie within it, one behind the other, and no name may occur twice.
 */
import { DataError } from "../core/errors.ts";
import { type ByteSource, checkRange } from "./byte_source.ts";

/** One entry: a range of the file. */
export interface ZipEntry {
  readonly name: string;
  /** First byte of its data. */
  readonly at: number;
  readonly sizeBytes: number;
  readonly crc32: number;
  readonly isStored: boolean;
}

const END = 0x06054b50, END_BYTES = 22, MAX_COMMENT = 0xffff;
const END64 = 0x06064b50, END64_BYTES = 56, LOCATOR64 = 0x07064b50, LOCATOR64_BYTES = 20;
const CENTRAL = 0x02014b50, CENTRAL_BYTES = 46;
const LOCAL = 0x04034b50, LOCAL_BYTES = 30;
const ZIP64_EXTRA = 1, FULL16 = 0xffff, FULL32 = 0xffffffff; // "full": the value stands in the zip64 record
const MAX_DIRECTORY_BYTES = 64 * 2 ** 20; // a model has thousands of entries, of about 100 bytes each

const fix = "the file is damaged or no PyTorch checkpoint; download or write it again";

/**
 * Lists the entries by name.
 *
 * @throws {DataError} If the file is no zip, is cut short, or breaks the format; says which entry and which byte.
 */
export function readZipDirectory(source: ByteSource): Map<string, ZipEntry> {
  const { at, sizeBytes, count } = findDirectory(source);
  const bytes = source.read(at, sizeBytes);
  const records: CentralRecord[] = [];
  let next = 0;
  for (let i = 0; i < count; i++) {
    const record = centralRecord(bytes, next, source.name, at + next);
    records.push(record);
    next = record.next;
  }
  if (next !== sizeBytes) {
    throw broken(source.name, at + next, `${sizeBytes - next} bytes after the last entry`);
  }
  return locate(source, records, at);
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const broken = (name: string, at: number, what: string) =>
  new DataError(`${name}: the zip directory is broken: ${what}`, { where: `${name}, byte ${at}`, fix });

/** A 64-bit number that a double holds exactly; every offset of a real file is one. */
function big(view: DataView, at: number, name: string, place: number): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw broken(name, place + at, `a size or offset of ${value}`);
  return Number(value);
}

function findDirectory(source: ByteSource): { at: number; sizeBytes: number; count: number } {
  const { name, sizeBytes: fileBytes } = source;
  const tailBytes = Math.min(fileBytes, END_BYTES + MAX_COMMENT), tailAt = fileBytes - tailBytes;
  const tail = viewOf(source.read(tailAt, tailBytes));
  let end = tailBytes - END_BYTES;
  // The record's comment must reach exactly to the end: a signature inside other data does not count.
  while (
    end >= 0 &&
    !(tail.getUint32(end, true) === END && tail.getUint16(end + 20, true) === tailBytes - end - END_BYTES)
  ) end--;
  if (end < 0) {
    throw new DataError(`${name}: has no end-of-directory record, so it is no whole zip file`, {
      where: `${name}, byte ${fileBytes}`,
      fix: "the file is cut short or no PyTorch checkpoint; download or write it again",
    });
  }
  const endAt = tailAt + end;
  const disks = [tail.getUint16(end + 4, true), tail.getUint16(end + 6, true)];
  const found = {
    count: tail.getUint16(end + 10, true),
    sizeBytes: tail.getUint32(end + 12, true),
    at: tail.getUint32(end + 16, true),
    endAt,
  };
  const locator = end - LOCATOR64_BYTES;
  const isZip64 = locator >= 0 && tail.getUint32(locator, true) === LOCATOR64;
  const { count, sizeBytes, at, endAt: directoryEnd } = isZip64
    ? zip64End(source, big(tail, locator + 8, name, tailAt), tailAt + locator)
    : found;
  if (!isZip64 && disks.some((disk) => disk !== 0)) throw broken(name, endAt, "it spans several disks");
  if (sizeBytes > MAX_DIRECTORY_BYTES) {
    throw broken(name, endAt, `it is ${sizeBytes} bytes long, more than ${MAX_DIRECTORY_BYTES}`);
  }
  if (at + sizeBytes !== directoryEnd) {
    throw broken(name, endAt, `it is bytes ${at} to ${at + sizeBytes}, and should end at ${directoryEnd}`);
  }
  if (count * CENTRAL_BYTES > sizeBytes) throw broken(name, endAt, `${count} entries in ${sizeBytes} bytes`);
  return { at, sizeBytes, count };
}

function zip64End(source: ByteSource, at: number, locatorAt: number) {
  const { name } = source;
  if (at + END64_BYTES > locatorAt) throw broken(name, locatorAt, `its zip64 record is said to be at ${at}`);
  const record = viewOf(source.read(at, END64_BYTES));
  if (record.getUint32(0, true) !== END64) throw broken(name, at, "no zip64 record where one should be");
  if (record.getUint32(16, true) !== 0 || record.getUint32(20, true) !== 0) {
    throw broken(name, at, "it spans several disks");
  }
  const field = (offset: number) => big(record, offset, name, at);
  return { count: field(32), sizeBytes: field(40), at: field(48), endAt: at };
}

/** An entry as the directory describes it. */
interface CentralRecord {
  name: string;
  nameBytes: Uint8Array;
  localAt: number;
  sizeBytes: number;
  crc32: number;
  isStored: boolean;
  /** Where it stands in the file, for errors. */
  place: number;
  /** Where the next record begins in the directory. */
  next: number;
}

function centralRecord(bytes: Uint8Array, at: number, file: string, place: number): CentralRecord {
  const view = viewOf(bytes);
  if (at + CENTRAL_BYTES > bytes.length || view.getUint32(at, true) !== CENTRAL) {
    throw broken(file, place, "no entry where one should be");
  }
  const u16 = (offset: number) => view.getUint16(at + offset, true);
  const u32 = (offset: number) => view.getUint32(at + offset, true);
  const nameAt = at + CENTRAL_BYTES, extraAt = nameAt + u16(28), commentAt = extraAt + u16(30);
  const next = commentAt + u16(32);
  if (next > bytes.length) throw broken(file, place, "an entry reaches beyond it");
  const nameBytes = bytes.subarray(nameAt, extraAt);
  let name: string;
  try {
    name = new TextDecoder("utf-8", { fatal: true }).decode(nameBytes);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw broken(file, place, "an entry's name is not UTF-8");
  }
  const flags = u16(8), method = u16(10);
  if (flags & 1) throw broken(file, place, `entry "${name}" is encrypted`);
  const wide = zip64Fields(bytes, extraAt, commentAt, file, place - at);
  const take = (value: number) => {
    if (value !== FULL32) return value;
    const taken = wide.shift();
    if (taken === undefined) throw broken(file, place, `entry "${name}" lacks its zip64 sizes`);
    return taken;
  };
  const sizeBytes = take(u32(24)), packedBytes = take(u32(20)), localAt = take(u32(42));
  if (u16(34) !== 0 && u16(34) !== FULL16) throw broken(file, place, `entry "${name}" is on another disk`);
  if (method === 0 && sizeBytes !== packedBytes) {
    throw broken(file, place, `entry "${name}" is stored in ${packedBytes} bytes and holds ${sizeBytes}`);
  }
  return {
    name,
    nameBytes,
    localAt,
    sizeBytes: packedBytes,
    crc32: u32(16),
    isStored: method === 0,
    place,
    next,
  };
}

/** The numbers of the zip64 extra field: size, packed size and offset, each where the plain field is full. */
function zip64Fields(bytes: Uint8Array, from: number, to: number, file: string, base: number): number[] {
  const view = viewOf(bytes);
  for (let at = from; at + 4 <= to;) {
    const id = view.getUint16(at, true), length = view.getUint16(at + 2, true);
    const end = at + 4 + length;
    if (end > to) throw broken(file, base + at, "an extra field reaches beyond its entry");
    if (id === ZIP64_EXTRA) {
      return Array.from(
        { length: Math.min(3, length >> 3) },
        (_, i) => big(view, at + 4 + 8 * i, file, base),
      );
    }
    at = end;
  }
  return [];
}

/** The entries with the place of their data, which the local headers tell; no two may share a byte. */
function locate(source: ByteSource, records: CentralRecord[], directoryAt: number): Map<string, ZipEntry> {
  const entries = new Map<string, ZipEntry>();
  let free = 0, before = "the file's start";
  for (const record of records.toSorted((a, b) => a.localAt - b.localAt)) {
    const { name, nameBytes, localAt, sizeBytes, crc32, isStored, place } = record;
    if (entries.has(name)) throw broken(source.name, place, `entry "${name}" occurs twice`);
    if (localAt < free) {
      throw broken(source.name, place, `entry "${name}" begins at byte ${localAt}, inside ${before}`);
    }
    checkRange(source, localAt, LOCAL_BYTES, `the header of entry "${name}"`);
    const view = viewOf(source.read(localAt, LOCAL_BYTES + nameBytes.length));
    const isSame = view.getUint32(0, true) === LOCAL && view.getUint16(26, true) === nameBytes.length &&
      nameBytes.every((byte, i) => byte === view.getUint8(LOCAL_BYTES + i));
    if (!isSame) throw broken(source.name, localAt, `no header of entry "${name}" where one should be`);
    const at = localAt + LOCAL_BYTES + nameBytes.length + view.getUint16(28, true);
    free = at + sizeBytes;
    if (free > directoryAt) {
      throw broken(
        source.name,
        place,
        `entry "${name}" ends at byte ${free}, inside the directory at ${directoryAt}`,
      );
    }
    before = `entry "${name}"`;
    entries.set(name, { name, at, sizeBytes, crc32, isStored });
  }
  return entries;
}
