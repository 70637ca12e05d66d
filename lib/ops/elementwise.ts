/**
 * Elementwise ops. Binary ones broadcast by NumPy's rules; gradients are summed back to the inputs' shapes.
 * Ops named `...Grad` are fused gradients and have none of their own.
 */
import { ShapeError } from "../core/errors.ts";
import { sameShape, type Shape, showShape, sizeOf } from "../core/shape.ts";
import { apply, defineOp, type Dispatch, type Kernel, type OpDef } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import addNWgsl from "../../kernels/add_n.wgsl" with { type: "text" };
import fillWgsl from "../../kernels/fill.wgsl" with { type: "text" };
import { checkDType, defineExpression, indexPattern } from "./expression.ts";
import { walkGrid } from "./grid.ts";
import { expand } from "./movement.ts";
import { sumTo } from "./reduce.ts";

/** Applies an op; an input whose broadcasting the kernels do not index is expanded in memory first. */
function broadcast(op: OpDef<undefined>, inputs: readonly Tensor[]): Tensor {
  const y = apply(op, inputs);
  const isIndexed = (x: Tensor) => indexPattern(x.shape, y.shape) !== undefined;
  return inputs.every(isIndexed) ? y : apply(op, inputs.map((x) => isIndexed(x) ? x : expand(x, y.shape)));
}

export const addOp = defineExpression({
  name: "add",
  expression: "a + b",
  arity: 2,
  backward: ({ inputs: [a, b], dy }) => [sumTo(dy, a.shape), sumTo(dy, b.shape)],
});
/** `a + b`, broadcast. */
export const add = (a: Tensor, b: Tensor): Tensor => broadcast(addOp, [a, b]);

export const subOp = defineExpression({
  name: "sub",
  expression: "a - b",
  arity: 2,
  backward: ({ inputs: [a, b], dy }) => [sumTo(dy, a.shape), neg(sumTo(dy, b.shape))],
});
/** `a - b`, broadcast. */
export const sub = (a: Tensor, b: Tensor): Tensor => broadcast(subOp, [a, b]);

export const mulOp = defineExpression({
  name: "mul",
  expression: "a * b",
  arity: 2,
  backward: ({ inputs: [a, b], dy }) => [sumTo(mul(dy, b), a.shape), sumTo(mul(dy, a), b.shape)],
});
/** `a * b`, broadcast. */
export const mul = (a: Tensor, b: Tensor): Tensor => broadcast(mulOp, [a, b]);

export const divOp = defineExpression({
  name: "div",
  expression: "a / b",
  arity: 2,
  backward: ({ inputs: [a, b], outputs: [y], dy }) => [
    sumTo(div(dy, b), a.shape),
    sumTo(broadcast(divGradOp, [dy, y, b]), b.shape),
  ],
});
/** Gradient of a division by its divisor: dy, y, b to `-dy y / b`. */
export const divGradOp = defineExpression({ name: "divGrad", expression: "-a * b / c", arity: 3, flops: 2 });
/** `a / b`, broadcast. */
export const div = (a: Tensor, b: Tensor): Tensor => broadcast(divOp, [a, b]);

export const scaleOp = defineExpression<number>({
  name: "scale",
  expression: "a * k",
  arity: 1,
  constant: (k) => k,
  backward: ({ dy, attrs: k }) => [scale(dy, k)],
});
/** `k x`, `k` fixed at trace time. */
export const scale = (x: Tensor, k: number): Tensor => apply(scaleOp, [x], k);

export const addScalarOp = defineExpression<number>({
  name: "addScalar",
  expression: "a + k",
  arity: 1,
  constant: (k) => k,
  backward: ({ dy }) => [dy],
});
/** `x + k`, `k` fixed at trace time. */
export const addScalar = (x: Tensor, k: number): Tensor => apply(addScalarOp, [x], k);

export const negOp = defineExpression({
  name: "neg",
  expression: "-a",
  arity: 1,
  backward: ({ dy }) => [neg(dy)],
});
/** `-x`. */
export const neg = (x: Tensor): Tensor => apply(negOp, [x]);

export const expOp = defineExpression({
  name: "exp",
  expression: "accurateExp(a)",
  arity: 1,
  backward: ({ outputs: [y], dy }) => [mul(dy, y)],
});
/** `e^x`, to 2 epsilons. */
export const exp = (x: Tensor): Tensor => apply(expOp, [x]);

export const logOp = defineExpression({
  name: "log",
  expression: "log(a)",
  arity: 1,
  backward: ({ inputs: [x], dy }) => [div(dy, x)],
});
/** Natural logarithm. Near 1 the absolute error is that of a value of 1: WGSL's own function. */
export const log = (x: Tensor): Tensor => apply(logOp, [x]);

export const sqrtOp = defineExpression({
  name: "sqrt",
  expression: "sqrt(a)",
  arity: 1,
  backward: ({ outputs: [y], dy }) => [apply(sqrtGradOp, [y, dy])],
});
/** Gradient of the square root: y, dy to `dy / 2y`. */
export const sqrtGradOp = defineExpression({
  name: "sqrtGrad",
  expression: "0.5 * b / a",
  arity: 2,
  flops: 2,
});
/** Square root. Its gradient at 0 is infinite, as in PyTorch. */
export const sqrt = (x: Tensor): Tensor => apply(sqrtOp, [x]);

export const squareOp = defineExpression({
  name: "square",
  expression: "a * a",
  arity: 1,
  backward: ({ inputs: [x], dy }) => [apply(squareGradOp, [x, dy])],
});
/** Gradient of the square: x, dy to `2 x dy`. */
export const squareGradOp = defineExpression({
  name: "squareGrad",
  expression: "2.0 * a * b",
  arity: 2,
  flops: 2,
});
/** `x^2`. */
export const square = (x: Tensor): Tensor => apply(squareOp, [x]);

export const reluOp = defineExpression({
  name: "relu",
  expression: "select(a, 0.0, a < 0.0)", // lets NaN through, unlike max(a, 0)
  arity: 1,
  backward: ({ inputs: [x], dy }) => [apply(reluGradOp, [x, dy])],
});
/** Gradient of relu: x, dy to dy where x > 0. */
export const reluGradOp = defineExpression({
  name: "reluGrad",
  expression: "select(0.0, b, a > 0.0)",
  arity: 2,
});
/** `max(x, 0)`; gradient 0 at 0. */
export const relu = (x: Tensor): Tensor => apply(reluOp, [x]);

export const geluOp = defineExpression({
  name: "gelu",
  expression: "gelu(a)",
  arity: 1,
  flops: 30,
  backward: ({ inputs: [x], dy }) => [apply(geluGradOp, [x, dy])],
});
/** Gradient of gelu: x, dy to `dy gelu'(x)`. */
export const geluGradOp = defineExpression({
  name: "geluGrad",
  expression: "b * geluSlope(a)",
  arity: 2,
  flops: 32,
});
/** `x Phi(x)`: the exact form, `torch.nn.functional.gelu(x)`. */
export const gelu = (x: Tensor): Tensor => apply(geluOp, [x]);

export const quickGeluOp = defineExpression({
  name: "quickGelu",
  expression: "quickGelu(a)",
  arity: 1,
  flops: 5,
  backward: ({ inputs: [x], dy }) => [apply(quickGeluGradOp, [x, dy])],
});
/** Gradient of quickGelu: x, dy to `dy quickGelu'(x)`. */
export const quickGeluGradOp = defineExpression({
  name: "quickGeluGrad",
  expression: "b * quickGeluSlope(a)",
  arity: 2,
  flops: 9,
});
/** `x sigmoid(1.702 x)`, as in CLIP. */
export const quickGelu = (x: Tensor): Tensor => apply(quickGeluOp, [x]);

export const sigmoidOp = defineExpression({
  name: "sigmoid",
  expression: "sigmoid(a)",
  arity: 1,
  flops: 4,
  backward: ({ inputs: [x], dy }) => [apply(sigmoidGradOp, [x, dy])],
});
/** Gradient of the sigmoid: x, dy to `dy s(x) s(-x)`. */
export const sigmoidGradOp = defineExpression({
  name: "sigmoidGrad",
  expression: "b * sigmoidSlope(a)", // from x and not from y: 1 - y loses all digits for large x
  arity: 2,
  flops: 6,
});
/** `1 / (1 + e^-x)`. */
export const sigmoid = (x: Tensor): Tensor => apply(sigmoidOp, [x]);

export const castF32Op = defineExpression({ name: "castF32", expression: "f32(a)", arity: 1, dtype: "u32" });
/** u32 to f32; exact up to 2^24. No gradient. */
export const castF32 = (x: Tensor): Tensor => apply(castF32Op, [x]);

const addNKernel: Kernel = { file: "kernels/add_n.wgsl", wgsl: addNWgsl };
/** Terms of one launch: 8 storage buffers a stage. */
const MAX_TERMS = 7;

export const addNOp = defineOp({
  name: "addN",
  outputs: (terms) => {
    checkDType(terms, "f32");
    for (const x of terms) {
      if (!sameShape(x.shape, terms[0].shape)) {
        throw new ShapeError(`shapes ${showShape(terms[0].shape)} and ${showShape(x.shape)} differ`);
      }
    }
    return [terms[0]];
  },
  dispatch: (terms, [y]) => {
    const N = sizeOf(y.shape);
    const names = ["a", "b", "c", "d", "e", "f", "g"];
    return [{
      kernel: addNKernel,
      entry: "addN",
      sizes: { N, terms: terms.length },
      grid: walkGrid(N),
      bind: { y, ...Object.fromEntries(names.map((name, i) => [name, terms[i] ?? terms[0]])) },
    }];
  },
  backward: ({ inputs, dy }) => inputs.map(() => dy),
  cost: (terms, [y]) => ({
    flops: (terms.length - 1) * sizeOf(y.shape),
    bytes: 4 * (terms.length + 1) * sizeOf(y.shape),
  }),
});
/** Sum of one or more tensors of one shape, from left to right. */
export function addN(terms: readonly Tensor[]): Tensor {
  if (terms.length === 0) throw new ShapeError("addN: expected at least one term, got none");
  if (terms.length === 1) return terms[0];
  if (terms.length === 2) return add(terms[0], terms[1]);
  const sum = apply(addNOp, terms.slice(0, MAX_TERMS));
  return addN([sum, ...terms.slice(MAX_TERMS)]);
}

const fillKernel: Kernel = { file: "kernels/fill.wgsl", wgsl: fillWgsl };

/** Attributes of `full`. */
export interface FullAttrs {
  readonly shape: Shape;
  readonly value: number;
}
export const fullOp = defineOp<FullAttrs>({
  name: "full",
  outputs: (_, { shape }) => [{ shape, dtype: "f32" }],
  dispatch: (_, [y], { value }) => [fillDispatch(y, value)],
  cost: (_, [y]) => ({ flops: 0, bytes: 4 * sizeOf(y.shape) }),
});
/** The launch that sets all of `y` to a value. */
export const fillDispatch = (y: Tensor, value: number): Dispatch => {
  const N = sizeOf(y.shape);
  return { kernel: fillKernel, entry: "fill", sizes: { N, value }, grid: walkGrid(N), bind: { y } };
};
/** A tensor of one value. */
export const full = (shape: Shape, value: number): Tensor => apply(fullOp, [], { shape, value });
/** A tensor of ones. */
export const ones = (shape: Shape): Tensor => full(shape, 1);
/** A tensor of zeros. */
export const zeros = (shape: Shape): Tensor => full(shape, 0);
