/** What an image decoder hides of a PNG: its colour type, and the indices of a palette image. */
import { crc32 } from "node:zlib";
import { joinBytes } from "../core/bytes.ts";
import { DataError } from "../core/errors.ts";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** The parts of a PNG that say how its pixels are to be read. */
export interface PngHeader {
  readonly colourType: "grey" | "rgb" | "palette" | "grey+alpha" | "rgba";
  readonly bitDepth: number;
  /** `[entries, 3]`; empty where the file has none. */
  readonly palette: Uint8Array;
}

const COLOUR_TYPES: Readonly<Record<number, PngHeader["colourType"]>> = {
  0: "grey",
  2: "rgb",
  3: "palette",
  4: "grey+alpha",
  6: "rgba",
};

interface Chunk {
  readonly type: string;
  readonly data: Uint8Array;
}

/** The chunks of a PNG up to its end. A chunk that goes beyond the file is cut: the pixels' decoder judges what is left. */
function* chunks(bytes: Uint8Array): Generator<Chunk> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = SIGNATURE.length; at + 8 <= bytes.length;) {
    const size = view.getUint32(at), start = at + 8;
    const type = String.fromCharCode(...bytes.subarray(at + 4, start));
    yield { type, data: bytes.subarray(start, start + size) };
    at = start + size + 4;
  }
}

/**
 * Reads a PNG's header and palette.
 *
 * Source: W3C, "Portable Network Graphics (PNG) Specification", sections 5 and 11.
 *
 * @throws {DataError} If the header is missing or not of a PNG.
 */
export function readPngHeader(bytes: Uint8Array, name: string): PngHeader {
  const [header, ...rest] = chunks(bytes);
  const colourType = header?.type === "IHDR" ? COLOUR_TYPES[header.data[9]] : undefined;
  if (!colourType) throw new DataError(`${name}: the PNG has no valid header`);
  const palette = rest.find(({ type }) => type === "PLTE")?.data ?? new Uint8Array();
  if (colourType === "palette" && palette.length === 0) {
    throw new DataError(`${name}: the PNG has no palette`);
  }
  return { colourType, bitDepth: header.data[8], palette };
}

/**
 * A palette PNG with its palette replaced by shades of grey, `0, 1, 2, ...`: decoded, each pixel is its own index. Chunks
 * that do not hold pixels, transparency among them, are left out.
 */
export function indicesAsGrey(bytes: Uint8Array, { bitDepth }: PngHeader): Uint8Array {
  const ramp = Uint8Array.from({ length: 3 * 2 ** bitDepth }, (_, i) => Math.floor(i / 3));
  const parts: Uint8Array[] = [Uint8Array.from(SIGNATURE)];
  for (const { type, data } of chunks(bytes)) {
    if (type === "PLTE") parts.push(encodeChunk({ type, data: ramp }));
    else if (["IHDR", "IDAT", "IEND"].includes(type)) parts.push(encodeChunk({ type, data }));
  }
  return joinBytes(parts);
}

function encodeChunk({ type, data }: Chunk): Uint8Array {
  const typed = joinBytes([new TextEncoder().encode(type), data]);
  const size = new Uint8Array(4), check = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, data.length);
  new DataView(check.buffer).setUint32(0, crc32(typed));
  return joinBytes([size, typed, check]);
}
