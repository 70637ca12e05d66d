/** Pillow's resizing, byte for byte. Other libraries' "bicubic" gives other bytes. */
import { BANDS, mulDiv255, type Raster } from "./raster.ts";

/** Fraction bits of a weight: 32 less 8 of a pixel and 2 of headroom. */
const PRECISION = 22;

/** The cubic convolution kernel with a = -0.5. */
function cubic(v: number): number {
  const x = Math.abs(v);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}

/** For each of `to` outputs: the first input it reads, and its fixed-point weights. */
interface Weights {
  readonly first: Int32Array; // [to]
  readonly count: Int32Array; // [to]
  readonly weight: Int32Array; // [to, stride]
  readonly stride: number;
}

/** Weights from `from` pixels to `to`. Shrinking widens the kernel, so that no pixel is left out. */
function cubicWeights(from: number, to: number): Weights {
  const scale = from / to, filterScale = Math.max(scale, 1), support = 2 * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(to), count = new Int32Array(to), weight = new Int32Array(to * stride);
  for (let x = 0; x < to; x++) {
    const center = (x + 0.5) * scale;
    const low = Math.max(Math.trunc(center - support + 0.5), 0);
    const high = Math.min(Math.trunc(center + support + 0.5), from);
    const exact = Array.from({ length: high - low }, (_, k) => cubic((low + k - center + 0.5) / filterScale));
    const total = exact.reduce((a, b) => a + b, 0);
    first[x] = low;
    count[x] = high - low;
    for (const [k, w] of exact.entries()) {
      weight[x * stride + k] = Math.trunc(w / total * 2 ** PRECISION + (w < 0 ? -0.5 : 0.5));
    }
  }
  return { first, count, weight, stride };
}

const ROUND = 1 << (PRECISION - 1);
const clamp8 = (v: number): number => v < 0 ? 0 : v > 255 ? 255 : v;

/** One pass along the rows: `[height, from, bands]` to `[height, to, bands]`. */
function horizontal(data: Uint8Array, from: number, to: number, height: number, bands: number): Uint8Array {
  const { first, count, weight, stride } = cubicWeights(from, to);
  const out = new Uint8Array(height * to * bands);
  for (let y = 0, o = 0; y < height; y++) {
    for (let x = 0; x < to; x++) {
      const start = (y * from + first[x]) * bands, n = count[x], w = x * stride;
      for (let c = 0; c < bands; c++, o++) {
        let sum = ROUND; // stays under 2^31: the weights add up to 2^22, their absolute values to less than twice that
        for (let k = 0, i = start + c; k < n; k++, i += bands) sum = (sum + weight[w + k] * data[i]) | 0;
        out[o] = clamp8(sum >> PRECISION);
      }
    }
  }
  return out;
}

/** One pass along the columns: `[from, rowSize]` to `[to, rowSize]`. */
function vertical(data: Uint8Array, from: number, to: number, rowSize: number): Uint8Array {
  const { first, count, weight, stride } = cubicWeights(from, to);
  const out = new Uint8Array(to * rowSize), sums = new Int32Array(rowSize);
  for (let y = 0; y < to; y++) {
    sums.fill(ROUND);
    for (let k = 0; k < count[y]; k++) {
      const w = weight[y * stride + k], start = (first[y] + k) * rowSize;
      for (let i = 0; i < rowSize; i++) sums[i] += w * data[start + i];
    }
    for (let i = 0; i < rowSize; i++) out[y * rowSize + i] = clamp8(sums[i] >> PRECISION);
  }
  return out;
}

/** Both passes. A pass that would change nothing is left out, as Pillow does. */
function bicubic({ data, width, height, mode }: Raster, toWidth: number, toHeight: number): Uint8Array {
  const bands = BANDS[mode];
  const wide = toWidth === width ? data : horizontal(data, width, toWidth, height, bands);
  return toHeight === height ? wide : vertical(wide, height, toHeight, toWidth * bands);
}

/** The input of each output, by steps that are added up: the rounding errors are Pillow's too. */
function nearestPlaces(from: number, to: number): Int32Array {
  const step = from / to, places = new Int32Array(to);
  for (let x = 0, place = step * 0.5; x < to; x++, place += step) {
    places[x] = Math.min(Math.trunc(place), from - 1);
  }
  return places;
}

/** For indices, which have no means. */
function nearest({ data, width, height }: Raster, toWidth: number, toHeight: number): Uint8Array {
  const columns = nearestPlaces(width, toWidth), rows = nearestPlaces(height, toHeight);
  const out = new Uint8Array(toWidth * toHeight);
  for (let y = 0, o = 0; y < toHeight; y++) {
    for (let x = 0; x < toWidth; x++, o++) out[o] = data[rows[y] * width + columns[x]];
  }
  return out;
}

/** Multiplies colours by alpha, which is the last band. */
function premultiply(data: Uint8Array, bands: number): Uint8Array {
  return data.map((v, i) => i % bands === bands - 1 ? v : mulDiv255(v, data[i - i % bands + bands - 1]));
}

/** Divides colours by alpha again. Where alpha is 0 they stay as they are. */
function unpremultiply(data: Uint8Array, bands: number): Uint8Array {
  return data.map((v, i) => {
    const alpha = data[i - i % bands + bands - 1];
    return i % bands === bands - 1 || alpha === 0 ? v : clamp8(Math.trunc(255 * v / alpha));
  });
}

/**
 * Pillow's `resize(size, BICUBIC)`: antialiased, in 8-bit fixed point, rounded between the passes. Images with alpha are
 * resized premultiplied; indices, which have no means, are resized to the nearest.
 *
 * Source: Pillow, `Image.resize` and `libImaging/Resample.c`, `Geometry.c`, `Convert.c`.
 *
 * @example Usage
 * ```ts
 * const row = { mode: "L" as const, width: 8, height: 1, data: Uint8Array.of(10, 0, 50, 200, 255, 30, 60, 90) };
 * if (resize(row, 8, 1) !== row) throw new Error("a copy of the same size costs nothing");
 * if (resize(row, 3, 1).width !== 3) throw new Error("resize");
 * ```
 */
export function resize(image: Raster, width: number, height: number): Raster {
  const { mode, data } = image, bands = BANDS[mode];
  if (width === image.width && height === image.height) return image;
  if (mode === "P") return { ...image, width, height, data: nearest(image, width, height) };
  if (mode === "LA" || mode === "RGBA") {
    const scaled = bicubic({ ...image, data: premultiply(data, bands) }, width, height);
    return { ...image, width, height, data: unpremultiply(scaled, bands) };
  }
  return { ...image, width, height, data: bicubic(image, width, height) };
}
