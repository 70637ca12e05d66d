/** Parameters that a computation would reach but cannot change. */
import { zeros } from "../ops/elementwise.ts";
import { apply, defineOp } from "../tensor/op.ts";
import type { Param, Tensor } from "../tensor/tensor.ts";

const zeroGradientOp = defineOp({
  name: "zeroGradient",
  isView: true,
  outputs: ([x]) => [x],
  dispatch: () => [],
  backward: ({ inputs, dy }) => inputs.map((input, i) => i === 0 ? dy : zeros(input.shape)),
  cost: () => ({ flops: 0, bytes: 0 }),
});

/**
 * `x`, with gradients of exact zeros for `params`.
 *
 * For parameters whose output is computed and then sliced away in the original: their gradient is zero there, not
 * absent, and AdamW's weight decay applies to them. This says so without computing anything.
 */
export const withZeroGradient = (x: Tensor, params: readonly Param[]): Tensor =>
  apply(zeroGradientOp, [x, ...params]);
