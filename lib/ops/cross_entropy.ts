/** Cross entropy of rows of logits: the contrastive losses. */
import { ShapeError } from "../core/errors.ts";
import { sameShape, showShape, sizeOf } from "../core/shape.ts";
import { apply, defineOp, type Dispatch, type Kernel } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import wgsl from "../../kernels/cross_entropy.wgsl" with { type: "text" };
import { isShortRow, overRows } from "./rows.ts";

const kernel: Kernel = { file: "kernels/cross_entropy.wgsl", wgsl };

/** Outputs: the mean loss `[]`, and of each row maximum, sum and loss `[3, R]`. */
export const crossEntropyOp = defineOp({
  name: "crossEntropy",
  outputs: ([x, labels]) => {
    const [R, C] = x.shape;
    if (x.shape.length !== 2 || R === 0) throw new ShapeError(`logits are [R, C], got ${showShape(x.shape)}`);
    if (!labels && R > C) {
      throw new ShapeError(`logits ${showShape(x.shape)} have no diagonal element in each row`);
    }
    if (labels && (labels.dtype !== "u32" || !sameShape(labels.shape, [R]))) {
      throw new ShapeError(
        `labels of ${R} rows are u32 [${R}], got ${labels.dtype} ${showShape(labels.shape)}`,
      );
    }
    return [{ shape: [], dtype: "f32" }, { shape: [3, R], dtype: "f32" }];
  },
  dispatch: ([x, labels], [loss, stats], _, target) => {
    const [R, C] = x.shape, sizes = { R, C, hasLabels: labels ? 1 : 0 };
    const rows: Dispatch = {
      kernel,
      sizes,
      ...overRows("forward", R, isShortRow(C, target)),
      bind: { x, labels: labels ?? x, stats },
    };
    return [rows, { kernel, sizes, entry: "meanLoss", grid: [1, 1, 1], bind: { statsIn: stats, loss } }];
  },
  backward: ({ inputs: [x, labels], outputs: [, stats], dy }) => [
    apply(crossEntropyGradOp, labels ? [x, stats, dy, labels] : [x, stats, dy]),
    undefined,
  ],
  cost: ([x]) => ({ flops: 4 * sizeOf(x.shape), bytes: 4 * sizeOf(x.shape) }),
});

/** `dx = (softmax(x) - onehot(label)) * dy / R`. */
export const crossEntropyGradOp = defineOp({
  name: "crossEntropyGrad",
  outputs: ([x]) => [x],
  dispatch: ([x, statsIn, dy, labels], [dx], _, target) => {
    const [R, C] = x.shape, sizes = { R, C, hasLabels: labels ? 1 : 0 };
    return [{
      kernel,
      sizes,
      ...overRows("gradient", R, isShortRow(C, target)),
      bind: { x, labels: labels ?? x, statsIn, dy, dx },
    }];
  },
  cost: ([x]) => ({ flops: 5 * sizeOf(x.shape), bytes: 8 * sizeOf(x.shape) }),
});

/**
 * Mean over the rows of `ln sum_c exp(x[r,c]) - x[r,label[r]]`. Logits `[R, C]` to `[]`.
 *
 * Source: torch.nn.functional.cross_entropy; the diagonal is the in-batch contrastive loss.
 *
 * @param labels u32 `[R]`, each below C. Without them row r's label is r.
 * @throws {ShapeError} If the logits are no matrix, or the labels do not fit it.
 */
export const crossEntropy = (logits: Tensor, labels?: Tensor): Tensor =>
  apply(crossEntropyOp, labels ? [logits, labels] : [logits]);
