/** Cross entropy of rows of logits: the contrastive losses. */
import { ShapeError } from "../core/errors.ts";
import { sameShape, showShape, sizeOf } from "../core/shape.ts";
import { apply, defineOp, type Dispatch, type Kernel, type Target } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import wgsl from "../../kernels/cross_entropy.wgsl" with { type: "text" };
import { isShortRow, overRows, together } from "./rows.ts";

const kernel: Kernel = { file: "kernels/cross_entropy.wgsl", wgsl };

const sizesOf = (x: Tensor, labels: Tensor | undefined) => {
  const [R, C] = x.shape;
  return { R, C, hasLabels: labels ? 1 : 0 };
};
/** A launch over the rows of the logits, by the entries of that name. */
const overLogits = (
  name: string,
  x: Tensor,
  labels: Tensor | undefined,
  others: Dispatch["bind"],
  target: Target,
): Dispatch => {
  const sizes = sizesOf(x, labels), { R, C } = sizes;
  const bind = { x, labels: labels ?? x, ...others };
  return { ...overRows(kernel, name, R, isShortRow(C, target), target), sizes, bind };
};
const meanLoss = (
  x: Tensor,
  labels: Tensor | undefined,
  statsIn: Tensor,
  loss: Tensor,
  target: Target,
): Dispatch => ({
  ...together(kernel, target),
  sizes: sizesOf(x, labels),
  entry: "meanLoss",
  grid: [1, 1, 1],
  bind: { statsIn, loss },
});

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
    return [overLogits("forward", x, labels, { stats }, target), meanLoss(x, labels, stats, loss, target)];
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
    return [overLogits("gradient", x, labels, { statsIn, dy, dx }, target)];
  },
  cost: ([x]) => ({ flops: 5 * sizeOf(x.shape), bytes: 8 * sizeOf(x.shape) }),
});

/**
 * Loss and gradient of one reading of the logits: what the plan makes of the two ops above. Inputs x, dy, labels?.
 * Outputs: dx, and those of the loss.
 */
export const crossEntropyAndGradOp = defineOp({
  name: "crossEntropyAndGrad",
  outputs: ([x, , ...labels]) => [x, ...crossEntropyOp.outputs([x, ...labels], undefined)],
  dispatch: ([x, dy, labels], [dx, loss, stats], _, target) => [
    overLogits("both", x, labels, { stats, dy, dx }, target),
    meanLoss(x, labels, stats, loss, target),
  ],
  cost: ([x]) => ({ flops: 8 * sizeOf(x.shape), bytes: 8 * sizeOf(x.shape) }),
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
