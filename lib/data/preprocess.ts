/**
 * From a decoded image to what the vision backbones read: pad, resize, crop, normalise. The same in training and
 * evaluation, so features can be stored.
 *
 * Source: CLIP4Cir's `targetpad_transform` and `squarepad_transform`, CLIP's `_transform`, by way of torchvision and Pillow.
 */
import { ConfigError } from "../core/errors.ts";
import { BANDS, type Raster, toRgb } from "./raster.ts";
import { resize } from "./resample.ts";

/** CLIP's channel means and deviations. BLIP-2 in CaLa uses them too. */
export const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073] as const;
export const CLIP_STD = [0.26862954, 0.26130258, 0.27577711] as const;

export interface PreprocessOptions {
  /** What comes before the resize: `targetpad` limits the aspect ratio, `squarepad` makes a square, `clip` pads nothing. */
  readonly transform: "targetpad" | "squarepad" | "clip";
  /** Side of the result in pixels: 224 for BLIP-2, 288 for RN50x4. */
  readonly dim: number;
  /** Largest ratio of the sides after `targetpad`. Default 1.25. */
  readonly targetRatio?: number;
  /**
   * Converts to RGB before everything else, as FashionIQ's loader does. CIRR's (quirk Q29) pads and resizes in the file's
   * own mode and converts last, which makes a difference for palette images and those with alpha.
   */
  readonly convertRgbFirst: boolean;
}

/** Black border, or what 0 means in the image's mode: transparent, or the palette's first colour. */
function pad(image: Raster, horizontal: number, vertical: number): Raster {
  if (horizontal === 0 && vertical === 0) return image;
  const width = image.width + 2 * horizontal, height = image.height + 2 * vertical;
  const bands = BANDS[image.mode], rowSize = image.width * bands;
  const data = new Uint8Array(width * height * bands);
  for (let y = 0; y < image.height; y++) {
    const row = image.data.subarray(y * rowSize, (y + 1) * rowSize);
    data.set(row, ((y + vertical) * width + horizontal) * bands);
  }
  return { ...image, width, height, data };
}

/** Half of what is missing, on each side: an odd difference leaves the image a pixel short. */
const half = (missing: number): number => Math.max(Math.trunc(missing / 2), 0);

function targetPad(image: Raster, ratio: number): Raster {
  const { width, height } = image, long = Math.max(width, height);
  if (long / Math.min(width, height) < ratio) return image;
  return pad(image, half(long / ratio - width), half(long / ratio - height));
}

function squarePad(image: Raster): Raster {
  const side = Math.max(image.width, image.height);
  return pad(image, half(side - image.width), half(side - image.height));
}

/**
 * Pads an image, resizes its short side to `dim`, and converts it to RGB: the image before the centre crop.
 *
 * @throws {ConfigError} If `dim` is not a positive integer or `targetRatio` is below 1.
 */
export function padAndResize(image: Raster, options: PreprocessOptions): Raster {
  const { transform, dim, targetRatio = 1.25, convertRgbFirst } = options;
  if (!Number.isInteger(dim) || dim < 1) {
    throw new ConfigError(`dim: expected a positive integer, got ${dim}`);
  }
  if (!(targetRatio >= 1)) throw new ConfigError(`targetRatio: expected at least 1, got ${targetRatio}`);
  const opened = convertRgbFirst ? toRgb(image) : image;
  const padded = transform === "clip"
    ? opened
    : transform === "squarepad"
    ? squarePad(opened)
    : targetPad(opened, targetRatio);
  const { width, height } = padded;
  const resized = width <= height
    ? resize(padded, dim, Math.trunc(dim * height / width))
    : resize(padded, Math.trunc(dim * width / height), dim);
  return toRgb(resized);
}

/** Python's `round`: halves to the even neighbour. */
function roundHalfEven(v: number): number {
  const low = Math.floor(v);
  return v - low === 0.5 ? low + low % 2 : Math.round(v);
}

/** What each 8-bit value becomes in each channel: `((v / 255) - mean) / std`, every step in f32 as in torchvision. */
const NORMALISED = CLIP_MEAN.map((mean, c) =>
  Float32Array.from(
    { length: 256 },
    (_, v) => Math.fround(Math.fround(v / 255) - Math.fround(mean)) / Math.fround(CLIP_STD[c]),
  )
);

/**
 * The middle of an RGB image, normalised.
 *
 * @param image Sides of at least `dim`.
 * @returns `[3, dim, dim]`
 * @throws {ConfigError} If the image is smaller, or not RGB.
 */
export function cropAndNormalise(
  { mode, width, height, data }: Raster,
  dim: number,
): Float32Array<ArrayBuffer> {
  if (mode !== "RGB" || width < dim || height < dim) {
    throw new ConfigError(`cannot cut ${dim} × ${dim} from an image of ${width} × ${height}, ${mode}`);
  }
  const top = roundHalfEven((height - dim) / 2), left = roundHalfEven((width - dim) / 2);
  const pixels = new Float32Array(3 * dim * dim);
  for (const [c, table] of NORMALISED.entries()) {
    for (let y = 0, o = c * dim * dim; y < dim; y++) {
      let i = ((top + y) * width + left) * 3 + c;
      for (let x = 0; x < dim; x++, o++, i += 3) pixels[o] = table[data[i]];
    }
  }
  return pixels;
}

/**
 * What the vision backbone reads of an image. The bytes before normalisation are Pillow's.
 *
 * @returns `[3, dim, dim]`
 * @throws {ConfigError} If `dim` is not a positive integer or `targetRatio` is below 1.
 *
 * @example Usage
 * ```ts
 * const black = { mode: "RGB" as const, width: 40, height: 30, data: new Uint8Array(40 * 30 * 3) };
 * const pixels = preprocess(black, { transform: "squarepad", dim: 8, convertRgbFirst: true });
 * if (pixels.length !== 3 * 8 * 8) throw new Error("preprocess");
 * if (Math.abs(pixels[0] + CLIP_MEAN[0] / CLIP_STD[0]) > 1e-6) throw new Error("black");
 * ```
 */
export const preprocess = (image: Raster, options: PreprocessOptions): Float32Array<ArrayBuffer> =>
  cropAndNormalise(padAndResize(image, options), options.dim);
