/** Images cut into patches, in groups: one copy an image batch, whatever comes after needs none. */
import { ShapeError } from "../core/errors.ts";
import { sameShape, showShape, sizeOf } from "../core/shape.ts";
import { apply, defineOp } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { copyDispatch, part } from "./copy.ts";
import { checkDType } from "./expression.ts";

/** Sizes of a cut. */
export interface PatchOptions {
  /** Side of a patch in pixels. */
  readonly size: number;
  /** Patches a side of a group. */
  readonly group: number;
}

/** Inputs: image batches `[B, H, W, C]`. */
export const patchesOp = defineOp<PatchOptions>({
  name: "patches",
  outputs: (images, { size, group }) => {
    checkDType(images, "f32");
    const [{ shape: [, H, W, C] }] = images, side = size * group;
    for (const { shape } of images) {
      if (shape.length !== 4 || !sameShape(shape.slice(1), [H, W, C]) || H % side !== 0 || W % side !== 0) {
        throw new ShapeError(
          `images are [B, H, W, C], all of one size, H and W multiples of ${side}, got ${showShape(shape)}`,
        );
      }
    }
    const B = images.reduce((n, { shape }) => n + shape[0], 0);
    return [{ shape: [B, H / side, W / side, group * group, size * size * C], dtype: "f32" }];
  },
  dispatch: (images, [y], { size, group }, target) => {
    let start = 0;
    return images.map((x) => {
      const [B, H, W, C] = x.shape, side = size * group, row = W * C;
      // [B, rows of groups, groups, rows of a group, patches, rows of a patch, its pixels]
      const shape = [B, H / side, W / side, group, group, size, size * C];
      const strides = [H * row, side * row, side * C, size * row, size * C, row, 1];
      const to = part(y, 0, start);
      start += B;
      const contiguous = shape.map((_, i) => sizeOf(shape.slice(i + 1)));
      return copyDispatch(shape, [x, { strides, offset: 0 }], [y, { ...to, strides: contiguous }], target);
    });
  },
  cost: (_, [y]) => ({ flops: 0, bytes: 8 * sizeOf(y.shape) }),
});

/**
 * The patches of images, grouped: batches `[B, H, W, C]` of one size to `[sum of B, H / (g p), W / (g p), g², p² C]`, for
 * patches of `p` by `p` pixels in groups of `g` by `g`. Patches of a group and pixels of a patch go row by row. Takes no
 * gradient to the images.
 *
 * @throws {ShapeError} If the images are no multiples of a group.
 */
export const patches = (images: readonly Tensor[], options: PatchOptions): Tensor =>
  apply(patchesOp, images, options);
