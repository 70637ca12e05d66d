/** A decoded image, in the mode in which Pillow would open the file. */
import { ShapeError } from "../core/errors.ts";

/** Pillow's name of the pixel format. `P` is indices into a palette. */
export type Mode = "L" | "LA" | "RGB" | "RGBA" | "CMYK" | "P";

/** Bands of each mode. */
export const BANDS: Readonly<Record<Mode, number>> = { L: 1, LA: 2, RGB: 3, RGBA: 4, CMYK: 4, P: 1 };

/** 8-bit pixels, row by row, bands together. */
export interface Raster {
  readonly mode: Mode;
  readonly width: number;
  readonly height: number;
  /** `[height, width, bands]` */
  readonly data: Uint8Array;
  /** `[entries, 3]`, in mode `P`. */
  readonly palette?: Uint8Array;
}

/** @throws {ShapeError} If the data is not as long as the size and the mode ask for. */
export function raster(mode: Mode, width: number, height: number, data: Uint8Array): Raster {
  if (data.length !== width * height * BANDS[mode]) {
    throw new ShapeError(`${data.length} bytes are no image of ${width} × ${height}, ${mode}`);
  }
  return { mode, width, height, data };
}

/** `a b / 255`, rounded, as Pillow computes it without a division. */
export function mulDiv255(a: number, b: number): number {
  const t = a * b + 128;
  return ((t >> 8) + t) >> 8;
}

/**
 * Pillow's `convert("RGB")`: grey is repeated, alpha is dropped and colours under it are kept, CMYK is converted without a
 * colour profile, indices are looked up.
 *
 * Source: Pillow, `libImaging/Convert.c`.
 *
 * @example Usage
 * ```ts
 * const hidden = raster("RGBA", 1, 1, Uint8Array.of(200, 100, 50, 0)); // fully transparent
 * if (toRgb(hidden).data.join() !== "200,100,50") throw new Error("toRgb");
 * ```
 */
export function toRgb(image: Raster): Raster {
  const { mode, width, height, data, palette = new Uint8Array() } = image;
  if (mode === "RGB") return image;
  const bands = BANDS[mode], out = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < out.length; from += bands, to += 3) {
    for (let c = 0; c < 3; c++) {
      if (mode === "RGBA") out[to + c] = data[from + c];
      else if (mode === "P") out[to + c] = palette[data[from] * 3 + c];
      else if (mode === "CMYK") {
        const light = 255 - data[from + 3];
        out[to + c] = light - mulDiv255(data[from + c], light);
      } else out[to + c] = data[from];
    }
  }
  return { mode: "RGB", width, height, data: out };
}
