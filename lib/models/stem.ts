/** A small vision stem, trained with the rest: patches to tokens by matrix products alone. */
import { ConfigError, ShapeError } from "../core/errors.ts";
import type { Random } from "../core/random.ts";
import { showShape } from "../core/shape.ts";
import { type LinearInit, xavierNormalLinear } from "../nn/init.ts";
import { LayerNorm } from "../nn/layer_norm.ts";
import { Linear } from "../nn/linear.ts";
import { add, gelu } from "../ops/elementwise.ts";
import { concat, reshape } from "../ops/movement.ts";
import { patches } from "../ops/patches.ts";
import { type Param, param, type Tensor } from "../tensor/tensor.ts";

/** Sizes of the stem. */
export interface StemOptions {
  /** Side of the square images in pixels, a multiple of 8: 32 or 64. */
  readonly size?: number;
  /** Width of a patch's vector. */
  readonly patchWidth?: number;
  /** Width of the tokens. */
  readonly width?: number;
  /** Draws the initial values. Without one they are zeros, to be loaded. */
  readonly random?: Random;
  readonly init?: LinearInit;
}

const GRID = 8; // patches a side: their size follows the image's
const MERGED = GRID / 2;

/**
 * `[B, S, S, 3]` in [-1, 1] to 17 tokens `[B, 17, W]`: one of the whole image first, then 4x4 of its parts. Normalised:
 * what BLIP-2 calls `ln_vision` is the last step here.
 */
export class Stem {
  readonly patch: Linear;
  readonly patch_norm: LayerNorm;
  readonly merge: Linear;
  readonly merge_norm: LayerNorm;
  readonly whole: Linear;
  readonly positions: Param; // [16, W]
  readonly ln_vision: LayerNorm;
  readonly size: number;

  /** @throws {ConfigError} If the size is not a multiple of 8. */
  constructor(
    { size = 32, patchWidth = 32, width = 64, random, init = xavierNormalLinear }: StemOptions = {},
  ) {
    if (!Number.isInteger(size / GRID) || size <= 0) {
      throw new ConfigError(`the stem's image size is ${size}; expected a multiple of ${GRID}`);
    }
    const side = size / GRID, tokens = MERGED * MERGED;
    this.patch = new Linear(side * side * 3, patchWidth, { random, init });
    this.patch_norm = new LayerNorm(patchWidth);
    this.merge = new Linear(4 * patchWidth, width, { random, init });
    this.merge_norm = new LayerNorm(width);
    this.whole = new Linear(tokens * width, width, { random, init });
    this.positions = param(
      [tokens, width],
      random ? random.normal(tokens * width, 0, 0.1) : new Float32Array(tokens * width),
    );
    this.ln_vision = new LayerNorm(width);
    this.size = size;
  }

  /**
   * One or more batches of images, whose tokens follow one another.
   *
   * @throws {ShapeError} If the pixels are not `[B, S, S, 3]` of the stem's size.
   */
  forward(...images: readonly Tensor[]): Tensor {
    for (const { shape } of images) {
      const [, H, W, C] = shape;
      if (H !== this.size || W !== this.size || C !== 3) {
        throw new ShapeError(
          `the stem takes [B, ${this.size}, ${this.size}, 3], got ${showShape(shape)}`,
        );
      }
    }
    // The four patches that are merged lie together from the start: merging needs no copy.
    const pixels = patches(images, { size: this.size / GRID, group: GRID / MERGED });
    const patchVectors = gelu(this.patch_norm.forward(this.patch.forward(pixels))); // [B, 4, 4, 4, patchWidth]
    const [B, , , count, patchWidth] = patchVectors.shape, T = MERGED * MERGED;
    const groups = reshape(patchVectors, [B, T, count * patchWidth]);
    const tokens = gelu(this.merge_norm.forward(this.merge.forward(groups))); // [B, 16, W]
    const width = tokens.shape[2];
    const whole = this.whole.forward(reshape(tokens, [B, T * width]));
    return this.ln_vision.forward(concat([reshape(whole, [B, 1, width]), add(tokens, this.positions)], 1));
  }
}
