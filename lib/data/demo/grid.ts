/** What a picture looks like, roughly: an 8 × 8 grid of mean colours. */
import { shrink } from "../image.ts";

const GRID = 8, DIM = GRID * GRID * 3;

/**
 * Grids of all pictures, less their mean and of length 1, so that a dot product is a likeness from -1 to 1.
 *
 * @param images Each `[size, size, 3]`; size is a multiple of 8.
 */
export function colourGrids(images: readonly Uint8Array[], size: number): Float32Array[] {
  const grids = images.map((image) => Float32Array.from(shrink(image, size, size / GRID)));
  const mean = new Float64Array(DIM);
  for (const grid of grids) grid.forEach((v, d) => mean[d] += v / grids.length);
  for (const grid of grids) {
    grid.forEach((v, d) => grid[d] = v - mean[d]);
    const norm = Math.hypot(...grid) || 1;
    grid.forEach((v, d) => grid[d] = v / norm);
  }
  return grids;
}

/** Likeness of two grids. */
export function likeness(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let d = 0; d < DIM; d++) sum += a[d] * b[d];
  return sum;
}
