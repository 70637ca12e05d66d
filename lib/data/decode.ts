/** Image files as Pillow opens them: same mode, same bytes. sharp decodes; it neither resizes nor manages colours. */
import { DataError } from "../core/errors.ts";
import { indicesAsGrey, type PngHeader, readPngHeader } from "./png.ts";
import { type Mode, type Raster, raster } from "./raster.ts";
import { importSharp } from "./sharp.ts";

/** A larger image is refused before its pixels are unpacked: 150 MB as RGB. */
export const MAX_PIXELS = 50_000_000;

/** Decodes a file's bytes; `name` is for errors. */
export type Decoder = (bytes: Uint8Array, name: string) => Promise<Raster>;

/** How a file of each format that we read begins, as Latin-1. */
const FORMATS: readonly (readonly [name: string, start: string])[] = [
  ["PNG", "\x89PNG\r\n\x1a\n"],
  ["JPEG", "\xff\xd8\xff"],
  ["WebP", "RIFF"],
  ["GIF", "GIF8"],
  ["TIFF", "II*\0"],
  ["TIFF", "MM\0*"],
];

/** Which of the formats that we read a file is of, by its first 12 bytes. */
export function imageFormat(bytes: Uint8Array): string | undefined {
  const start = String.fromCharCode(...bytes.subarray(0, 12));
  return FORMATS.find(([, first]) => start.startsWith(first))?.[0];
}

/**
 * Loads sharp and gives a decoder for PNG, JPEG, WebP, GIF and TIFF.
 *
 * The raster is what Pillow's `Image.open` gives: EXIF orientation is not applied, colour profiles and PNG's gamma are
 * ignored, transparency is kept only where it is a band of its own. A PNG of one bit a pixel comes as palette of black and
 * white, which Pillow treats alike. Two rare cases differ where an image is resized before it is RGB: 16-bit grey is clipped
 * to 255 here, before the resize, not after it; a GIF's colours are blended, not its indices picked.
 *
 * @throws {DataError} If sharp is not installed. The decoder throws it for a file that is empty, of another format, cut
 * short, corrupt, or of more than 50 million pixels, and names the file.
 */
export async function imageDecoder(): Promise<Decoder> {
  const sharp = await importSharp();
  sharp.concurrency(1); // an image is small; callers decode several at once
  const open = (bytes: Uint8Array) =>
    sharp(bytes, { limitInputPixels: MAX_PIXELS, ignoreIcc: true, failOn: "error" });

  /** Pixels of 8 bits a band. CMYK stays as it is; grey comes as RGB of three equal bands. */
  async function unpack(bytes: Uint8Array, mode: Mode): Promise<Raster> {
    const space = mode === "CMYK" ? "cmyk" : "srgb";
    const pixels = open(bytes).pipelineColourspace(space).toColourspace(space).raw();
    const { data, info } = await pixels.toBuffer({ resolveWithObject: true });
    return raster(mode, info.width, info.height, pick(data, info.channels, BANDS_OF[mode]));
  }

  async function png(bytes: Uint8Array, name: string): Promise<Raster> {
    const header = readPngHeader(bytes, name), { colourType, bitDepth } = header;
    if (colourType === "palette") {
      return { ...await unpack(indicesAsGrey(bytes, header), "P"), palette: header.palette };
    }
    if (colourType === "grey" && bitDepth === 1) {
      const { width, height, data } = await unpack(bytes, "L");
      const palette = Uint8Array.of(0, 0, 0, 255, 255, 255);
      return { ...raster("P", width, height, data.map((v) => v >> 7)), palette };
    }
    if (colourType === "grey" && bitDepth === 16) {
      const wide = open(bytes).toColourspace("grey16").raw({ depth: "ushort" });
      const { data, info } = await wide.toBuffer({ resolveWithObject: true });
      const values = new Uint16Array(new Uint8Array(data).buffer); // in the machine's byte order
      const clipped = Uint8Array.from(values, (v) => Math.min(v, 255));
      return raster("L", info.width, info.height, pick(clipped, info.channels, [0]));
    }
    return unpack(bytes, PNG_MODES[colourType]);
  }

  async function other(bytes: Uint8Array): Promise<Raster> {
    const { space, hasAlpha } = await open(bytes).metadata();
    if (space === "cmyk") return unpack(bytes, "CMYK");
    if (space === "b-w") return unpack(bytes, hasAlpha ? "LA" : "L");
    return unpack(bytes, hasAlpha ? "RGBA" : "RGB");
  }

  return async (bytes, name) => {
    if (bytes.length === 0) throw new DataError(`${name}: the file is empty`);
    const format = imageFormat(bytes);
    if (!format) {
      const start = String.fromCharCode(...bytes.subarray(0, 12));
      throw new DataError(`${name}: not an image file: it starts with ${JSON.stringify(start)}`, {
        fix: "PNG, JPEG, WebP, GIF and TIFF can be read",
      });
    }
    try {
      return await (format === "PNG" ? png(bytes, name) : other(bytes));
    } catch (cause) {
      if (cause instanceof DataError) throw cause;
      const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
      throw new DataError(`${name}: the ${format} cannot be decoded: ${reason}`, {
        fix: "get the file anew, or take it out of the folder",
        cause,
      });
    }
  };
}

const PNG_MODES: Readonly<Record<Exclude<PngHeader["colourType"], "palette">, Mode>> = {
  "grey": "L",
  "grey+alpha": "LA",
  "rgb": "RGB",
  "rgba": "RGBA",
};

/** Which of sharp's bands make up a mode. It adds a band for a transparent colour, which Pillow does not. */
const BANDS_OF: Readonly<Record<Mode, readonly number[]>> = {
  L: [0],
  P: [0],
  LA: [0, 3],
  RGB: [0, 1, 2],
  RGBA: [0, 1, 2, 3],
  CMYK: [0, 1, 2, 3],
};

/** Some bands of each pixel: `[n, channels]` to `[n, bands.length]`. */
function pick(data: Uint8Array, channels: number, bands: readonly number[]): Uint8Array {
  if (channels === bands.length) return new Uint8Array(data.buffer, data.byteOffset, data.length); // no longer a Buffer
  const out = new Uint8Array(data.length / channels * bands.length);
  for (let i = 0, o = 0; o < out.length; i += channels) {
    for (const band of bands) out[o++] = data[i + band];
  }
  return out;
}
