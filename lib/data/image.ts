/** SVG to small RGB pictures, by sharp. */
import { DataError } from "../core/errors.ts";
import { importSharp } from "./sharp.ts";

/** Draws a square SVG on white: `[size, size, 3]` u8. */
export type SvgRenderer = (svg: string, size: number) => Promise<Uint8Array>;

/**
 * Loads sharp.
 *
 * @throws {DataError} If sharp is not installed; the renderer throws it for a picture that cannot be drawn.
 */
export async function svgRenderer(): Promise<SvgRenderer> {
  const sharp = await importSharp();
  sharp.concurrency(1); // a picture is far too small to be shared out; callers draw several at once
  const encoder = new TextEncoder();
  return async (svg, size) => {
    // Bytes, since sharp takes a string as a file name. The density draws at the wanted size: 72 dpi is 72 px here.
    const image = sharp(encoder.encode(svg), { density: size }).flatten({ background: "#ffffff" }).raw();
    const { data, info } = await image.toBuffer({ resolveWithObject: true });
    if (info.width !== size || info.height !== size || info.channels !== 3) {
      throw new DataError(
        `SVG of ${info.width} × ${info.height} × ${info.channels}: expected ${size} × ${size} × 3`,
      );
    }
    return data;
  };
}

/** Means of `factor` × `factor` squares: `[size, size, 3]` to `[size / factor, size / factor, 3]`, rounded. */
export function shrink(rgb: Uint8Array, size: number, factor: number): Uint8Array {
  const small = size / factor, count = factor * factor;
  const out = new Uint8Array(small * small * 3);
  for (let y = 0; y < small; y++) {
    for (let x = 0; x < small; x++) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let dy = 0; dy < factor; dy++) {
          for (let dx = 0; dx < factor; dx++) {
            sum += rgb[((y * factor + dy) * size + x * factor + dx) * 3 + c];
          }
        }
        out[(y * small + x) * 3 + c] = Math.round(sum / count);
      }
    }
  }
  return out;
}
