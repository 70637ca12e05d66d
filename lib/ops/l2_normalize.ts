/** Rows of length 1. */
import { rowsCols, sizeOf } from "../core/shape.ts";
import { apply, defineOp, type Kernel } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import wgsl from "../../kernels/l2_normalize.wgsl" with { type: "text" };
import { isShortRow, overRows } from "./rows.ts";

const kernel: Kernel = { file: "kernels/l2_normalize.wgsl", wgsl };

interface L2NormalizeAttrs {
  readonly eps: number;
}

/** Outputs: y, and the divisor of each row `[R]`. */
export const l2NormalizeOp = defineOp<L2NormalizeAttrs>({
  name: "l2Normalize",
  outputs: ([x]) => [x, { shape: [rowsCols(x.shape)[0]], dtype: "f32" }],
  dispatch: ([x], [y, norm], { eps }, target) => {
    const [R, C] = rowsCols(x.shape);
    return [{
      ...overRows(kernel, "forward", R, isShortRow(C, target), target),
      sizes: { R, C, eps },
      bind: { x, y, norm },
    }];
  },
  backward: ({ outputs: [y, norm], dy, attrs }) => [apply(l2NormalizeGradOp, [y, norm, dy], attrs)],
  cost: ([x]) => ({ flops: 3 * sizeOf(x.shape), bytes: 8 * sizeOf(x.shape) }),
});

/** The gradient, from the output. */
export const l2NormalizeGradOp = defineOp<L2NormalizeAttrs>({
  name: "l2NormalizeGrad",
  outputs: ([y]) => [y],
  dispatch: ([yIn, normIn, dy], [dx], { eps }, target) => {
    const [R, C] = rowsCols(yIn.shape);
    return [{
      ...overRows(kernel, "gradient", R, isShortRow(C, target), target),
      sizes: { R, C, eps },
      bind: { yIn, normIn, dy, dx },
    }];
  },
  cost: ([y]) => ({ flops: 5 * sizeOf(y.shape), bytes: 12 * sizeOf(y.shape) }),
});

/** Options of `l2Normalize`. */
export interface L2NormalizeOptions {
  /** Smallest divisor; 0 divides by the bare norm, so a row of zeros becomes NaN. */
  readonly eps?: number;
}

/**
 * Division of each row (last axis) by its Euclidean norm: `y = x / max(|x|, eps)`. `[..., C]` to `[..., C]`.
 *
 * Source: torch.nn.functional.normalize (eps 1e-12); CaLa src/utils.py l2norm divides by the bare norm (eps 0).
 */
export const l2Normalize = (x: Tensor, { eps = 1e-12 }: L2NormalizeOptions = {}): Tensor =>
  apply(l2NormalizeOp, [x], { eps });
