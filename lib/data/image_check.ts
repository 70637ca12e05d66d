/** Whether an image file can be read, from its first and last bytes; decoded only where these leave a doubt. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { extname } from "node:path";
import { isUserError } from "../core/errors.ts";
import { type Decoder, imageDecoder, imageFormat, MAX_PIXELS } from "./decode.ts";
import { sha256Hex } from "../io/atomic.ts";

/** What became of a file. */
export interface FileCheck {
  /** Why no model can read it. */
  readonly problem?: {
    readonly kind: "missing image" | "empty file" | "unreadable image";
    readonly message: string;
  };
  /** What it is, where its name says something else. */
  readonly otherFormat?: string;
  /** Equal for files that may have equal bytes: size, and hash of the first and last bytes. */
  readonly likeness?: string;
}

const HEAD_BYTES = 4096, TAIL_BYTES = 512;
const EXTENSIONS: Readonly<Record<string, string>> = {
  ".jpg": "JPEG",
  ".jpeg": "JPEG",
  ".png": "PNG",
  ".webp": "WebP",
  ".gif": "GIF",
  ".tif": "TIFF",
  ".tiff": "TIFF",
};

let decoder: Promise<Decoder> | undefined;

/**
 * Checks one file.
 *
 * @param decode Decode every file, not only those in doubt.
 */
export async function checkFile(path: string, decode: boolean): Promise<FileCheck> {
  let ends: { size: number; head: Uint8Array; tail: Uint8Array };
  try {
    ends = readEnds(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const kind = reason.startsWith("ENOENT") ? "missing image" : "unreadable image";
    return {
      problem: { kind, message: kind === "missing image" ? `${path}: no such file` : `${path}: ${reason}` },
    };
  }
  const { size, head, tail } = ends;
  if (size === 0) return { problem: { kind: "empty file", message: `${path}: the file is empty` } };
  const format = imageFormat(head), said = EXTENSIONS[extname(path).toLowerCase()];
  if (decode || !looksWhole(format, head, tail)) {
    const decodeImage = await (decoder ??= imageDecoder());
    try {
      await decodeImage(await Deno.readFile(path), path);
    } catch (error) {
      if (!isUserError(error)) throw error;
      return { problem: { kind: "unreadable image", message: error.message } };
    }
  }
  const likeness = `${size} ${sha256Hex(head)} ${sha256Hex(tail)}`;
  return format !== undefined && format !== said ? { likeness, otherFormat: format } : { likeness };
}

/** Synchronous: an asynchronous read costs ten times as much, and Workers read in parallel. */
function readEnds(path: string): { size: number; head: Uint8Array; tail: Uint8Array } {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const read = (length: number, at: number) => {
      const bytes = new Uint8Array(length);
      return bytes.subarray(0, readSync(file, bytes, 0, length, at));
    };
    return {
      size,
      head: read(Math.min(size, HEAD_BYTES), 0),
      tail: read(Math.min(size, TAIL_BYTES), Math.max(0, size - TAIL_BYTES)),
    };
  } finally {
    closeSync(file);
  }
}

/** True for a PNG or JPEG with a size in its header and its end mark. What is cut short has none. */
function looksWhole(format: string | undefined, head: Uint8Array, tail: Uint8Array): boolean {
  const size = format === "PNG" ? pngSize(head) : format === "JPEG" ? jpegSize(head) : undefined;
  if (!size || size[0] * size[1] === 0 || size[0] * size[1] > MAX_PIXELS) return false;
  const end = String.fromCharCode(...tail);
  return end.includes(format === "PNG" ? "IEND" : "\xff\xd9");
}

type Size = readonly [width: number, height: number];

function pngSize(head: Uint8Array): Size | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  return head.length >= 24 ? [view.getUint32(16), view.getUint32(20)] : undefined;
}

/** The size in a JPEG's frame header, if that lies within `head`. Source: ITU-T T.81, annex B. */
function jpegSize(head: Uint8Array): Size | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  for (let at = 2; at + 9 <= head.length && head[at] === 0xff;) {
    const marker = head[at + 1];
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return [view.getUint16(at + 7), view.getUint16(at + 5)];
    at += 2 + view.getUint16(at + 2);
  }
}

/** SHA-256 of a whole file. */
export const hashFile = (path: string): string => sha256Hex(Deno.readFileSync(path));
