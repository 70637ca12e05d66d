/** Softmax over the last axis, with the scale and the masks of attention in the same kernel. */
import { ShapeError } from "../core/errors.ts";
import { rowsCols, sameShape, showShape, sizeOf } from "../core/shape.ts";
import { apply, defineOp, type Kernel } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import wgsl from "../../kernels/softmax.wgsl" with { type: "text" };
import { isShortRow, overRows } from "./rows.ts";

const kernel: Kernel = { file: "kernels/softmax.wgsl", wgsl };

interface SoftmaxAttrs {
  readonly scale: number;
  readonly causal: boolean;
}

export const softmaxOp = defineOp<SoftmaxAttrs>({
  name: "softmax",
  outputs: ([x, mask], { causal }) => {
    if (causal && x.shape.length < 2) {
      throw new ShapeError(`a causal softmax needs two axes, got ${showShape(x.shape)}`);
    }
    if (mask && !sameShape(mask.shape, [x.shape[0], x.shape.at(-1) ?? 1])) {
      throw new ShapeError(`a mask for ${showShape(x.shape)} is [B, Lk], got ${showShape(mask.shape)}`);
    }
    return [x];
  },
  dispatch: ([x, mask], [y], { scale, causal }, target) => {
    const [R, C] = rowsCols(x.shape);
    const sizes = { R, C, Q: causal ? x.shape.at(-2) ?? 1 : 0, M: mask ? R / mask.shape[0] : 0, scale };
    return [{
      ...overRows(kernel, "forward", R, isShortRow(C, target), target),
      sizes,
      bind: { x, mask: mask ?? x, y },
    }];
  },
  backward: ({ outputs: [y], dy, attrs: { scale } }) => [apply(softmaxGradOp, [y, dy], { scale })],
  cost: ([x]) => ({ flops: 6 * sizeOf(x.shape), bytes: 8 * sizeOf(x.shape) }),
});

/** `dx = scale * y * (dy - sum(y dy))`: what is masked has `y = 0` and takes no gradient. */
export const softmaxGradOp = defineOp<Pick<SoftmaxAttrs, "scale">>({
  name: "softmaxGrad",
  outputs: ([y]) => [y],
  dispatch: ([yIn, dy], [dx], { scale }, target) => {
    const [R, C] = rowsCols(yIn.shape);
    return [{
      ...overRows(kernel, "gradient", R, isShortRow(C, target), target),
      sizes: { R, C, Q: 0, M: 0, scale },
      bind: { yIn, dy, dx },
    }];
  },
  cost: ([y]) => ({ flops: 5 * sizeOf(y.shape), bytes: 12 * sizeOf(y.shape) }),
});

/** Options of `softmax`. */
export interface SoftmaxOptions {
  /** Multiplies `x` first. */
  readonly scale?: number;
  /** `[B, Lk]`, f32: 1 keeps, 0 adds -10000 after scaling, as BERT does. `x` is `[B, ..., Lk]`. */
  readonly mask?: Tensor;
  /** True: row i of the last two axes sees the columns 0 to i. */
  readonly causal?: boolean;
}

/**
 * Softmax over the last axis: `y = exp(z - max z) / sum exp(z - max z)` with `z = scale * x + (1 - mask) * -10000`.
 * `[..., C]` to `[..., C]`.
 *
 * Source: LAVIS lavis/models/blip2_models/Qformer.py, BertSelfAttention and get_extended_attention_mask.
 *
 * @throws {ShapeError} If the mask is not `[B, Lk]`, or a causal `x` has one axis.
 */
export const softmax = (x: Tensor, { scale = 1, mask, causal = false }: SoftmaxOptions = {}): Tensor =>
  apply(softmaxOp, mask ? [x, mask] : [x], { scale, causal });
