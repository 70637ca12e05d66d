/** Layer normalisation over the last axis. */
import { ShapeError } from "../core/errors.ts";
import { rowsCols, sameShape, showShape, sizeOf, type TensorSpec } from "../core/shape.ts";
import {
  apply,
  applyNode,
  defineOp,
  type Dispatch,
  foldGrid,
  type Kernel,
  type Target,
} from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import wgsl from "../../kernels/layer_norm.wgsl" with { type: "text" };
import { groupsOf, invocations, isShortRow, overRows } from "./rows.ts";

const kernel: Kernel = { file: "kernels/layer_norm.wgsl", wgsl };

/** Parts of the sums over rows at most, and rows a part at least. */
const MAX_PARTS = 64, MIN_PART = 32;

interface LayerNormAttrs {
  readonly eps: number;
}

const f32 = (...shape: number[]): TensorSpec => ({ shape, dtype: "f32" });
/** One invocation a row: its kernels read four columns at a time. */
const isShort = (C: number, target: Target): boolean => C % 4 === 0 && isShortRow(C, target);
/** Rows a part and parts, for the sums over `R` rows. */
const partsOf = (R: number): { K: number; P: number } => {
  const K = Math.max(MIN_PART, Math.ceil(R / MAX_PARTS));
  return { K, P: Math.max(1, Math.ceil(R / K)) };
};
const sizesOf = (x: Tensor, eps: number) => {
  const [R, C] = rowsCols(x.shape);
  return { R, C, ...partsOf(R), eps };
};

/** Outputs: y, and for the gradients mean `[R]` and 1 / standard deviation `[R]` of each row. */
export const layerNormOp = defineOp<LayerNormAttrs>({
  name: "layerNorm",
  outputs: ([x, weight, bias]) => {
    const [R, C] = rowsCols(x.shape);
    for (const [name, p] of [["weight", weight], ["bias", bias]] as const) {
      if (!sameShape(p.shape, [C])) {
        throw new ShapeError(`x is ${showShape(x.shape)}, so ${name} is [${C}], got ${showShape(p.shape)}`);
      }
    }
    return [x, f32(R), f32(R)];
  },
  dispatch: ([x, weight, bias], [y, mean, rstd], { eps }, target) => {
    const sizes = sizesOf(x, eps);
    const short = isShort(sizes.C, target);
    const bind: Dispatch["bind"] = short
      ? { x4: x, weight4: weight, bias4: bias, y4: y, mean, rstd }
      : { x, weight, bias, y, mean, rstd };
    return [{ ...overRows(kernel, "forward", sizes.R, short, target), sizes, bind }];
  },
  backward: ({ inputs: [x, weight], outputs: [, mean, rstd], dy }) => {
    const [dWeight, dBias] = applyNode(layerNormParamGradOp, [x, mean, rstd, dy], undefined).outputs;
    return [apply(layerNormGradOp, [x, weight, mean, rstd, dy]), dWeight, dBias];
  },
  cost: ([x]) => ({ flops: 8 * sizeOf(x.shape), bytes: 8 * sizeOf(x.shape) }),
});

/** The gradient of x. */
export const layerNormGradOp = defineOp({
  name: "layerNormGrad",
  outputs: ([x]) => [x],
  dispatch: ([x, weight, meanIn, rstdIn, dy], [dx], _, target) => {
    const sizes = sizesOf(x, 0);
    const short = isShort(sizes.C, target);
    const bind: Dispatch["bind"] = short
      ? { x4: x, weight4: weight, meanIn, rstdIn, dy4: dy, dx4: dx }
      : { x, weight, meanIn, rstdIn, dy, dx };
    return [{ ...overRows(kernel, "gradient", sizes.R, short, target), sizes, bind }];
  },
  cost: ([x]) => ({ flops: 11 * sizeOf(x.shape), bytes: 12 * sizeOf(x.shape) }),
});

/** The gradients of weight and bias: outputs dWeight `[C]`, dBias `[C]`, and the parts of both. */
export const layerNormParamGradOp = defineOp({
  name: "layerNormParamGrad",
  outputs: ([x]) => {
    const [R, C] = rowsCols(x.shape);
    return [f32(C), f32(C), f32(2, partsOf(R).P, C)];
  },
  dispatch: ([x, meanIn, rstdIn, dy], [dWeight, dBias, parts]) => {
    const sizes = sizesOf(x, 0);
    const { C, P } = sizes;
    const toParts: Dispatch = C % 4 === 0
      ? {
        kernel,
        sizes,
        entry: "columnParts4",
        grid: invocations(P * C / 4),
        bind: { x4: x, meanIn, rstdIn, dy4: dy, parts4: parts },
      }
      : {
        kernel,
        sizes,
        entry: "columnParts",
        grid: invocations(P * C),
        bind: { x, meanIn, rstdIn, dy, parts },
      };
    return [
      toParts,
      { kernel, sizes, entry: "columnSums", grid: invocations(C), bind: { partsIn: parts, dWeight, dBias } },
    ];
  },
  cost: ([x]) => ({ flops: 5 * sizeOf(x.shape), bytes: 8 * sizeOf(x.shape) }),
});

/** All three gradients: what the plan makes of the two ops above. Outputs: dx, dWeight, dBias, and the parts of the sums. */
export const layerNormGradsOp = defineOp({
  name: "layerNormGrads",
  outputs: ([x, , mean, rstd, dy]) => [x, ...layerNormParamGradOp.outputs([x, mean, rstd, dy], undefined)],
  dispatch: (inputs, [dx, ...sums], _, target) => {
    const [x, weight, meanIn, rstdIn, dy] = inputs, sizes = sizesOf(x, 0), { R, C, P } = sizes;
    const ofParams = layerNormParamGradOp.dispatch([x, meanIn, rstdIn, dy], sums, undefined, target);
    if (!isShort(C, target)) {
      return [...layerNormGradOp.dispatch(inputs, [dx], undefined, target), ...ofParams];
    }
    const both: Dispatch = {
      kernel,
      sizes,
      entry: "gradientRowsAndParts",
      grid: foldGrid(groupsOf(R) + groupsOf(P * C / 4)),
      bind: { x4: x, weight4: weight, meanIn, rstdIn, dy4: dy, dx4: dx, parts4: sums[2] },
    };
    return [both, ...ofParams.slice(1)];
  },
  cost: ([x]) => ({ flops: 16 * sizeOf(x.shape), bytes: 12 * sizeOf(x.shape) }),
});

/**
 * Layer normalisation over the last axis: `y = (x - mean) / sqrt(variance + eps) * weight + bias`, biased variance.
 * `[..., C]` to `[..., C]`; weight and bias are `[C]`.
 *
 * Source: torch.nn.functional.layer_norm. BERT's eps is 1e-12, elsewhere it is 1e-5.
 *
 * @throws {ShapeError} If weight or bias is not `[C]`.
 */
export const layerNorm = (x: Tensor, weight: Tensor, bias: Tensor, eps: number): Tensor =>
  apply(layerNormOp, [x, weight, bias], { eps });
