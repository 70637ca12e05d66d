/** Gradients that several runs add up in the state. Its nodes have no outputs: they change the gradient that they bind. */
import { sizeOf } from "../core/shape.ts";
import { applyNode, defineOp, type Kernel, type Node } from "../tensor/op.ts";
import { gradientOf, type Param, type Tensor } from "../tensor/tensor.ts";
import wgsl from "../../kernels/accumulate.wgsl" with { type: "text" };
import { walkGrid } from "./grid.ts";

const kernel: Kernel = { file: "kernels/accumulate.wgsl", wgsl };

interface AccumulateAttrs {
  readonly fromFirst: boolean;
}

/** Inputs: x, and the gradient's place. */
export const accumulateOp = defineOp<AccumulateAttrs>({
  name: "accumulate",
  outputs: () => [],
  dispatch: ([x, g], _, { fromFirst }) => {
    const N = sizeOf(x.shape), sizes = { N, fromFirst: fromFirst ? 1 : 0 };
    return [{ kernel, entry: "accumulate", sizes, grid: walkGrid(N), bind: { x, g } }];
  },
  cost: ([x]) => ({ flops: sizeOf(x.shape), bytes: 12 * sizeOf(x.shape) }),
});

/**
 * The node that adds `value` to the gradient of `param`: in the order in which the parts of a step run.
 *
 * @param options.fromFirst False: part 0 overwrites what an earlier step left. True: it adds too, as where another plan of
 * the same step has written the gradient.
 */
export const accumulate = (param: Param, value: Tensor, options: AccumulateAttrs): Node =>
  applyNode(accumulateOp, [value, gradientOf(param)], options);
