/** Rows of `lib/ops/elementwise.ts`. */
import {
  add,
  addN,
  addScalar,
  castF32,
  div,
  divGradOp,
  exp,
  full,
  gelu,
  geluGradOp,
  log,
  mul,
  neg,
  quickGelu,
  quickGeluGradOp,
  relu,
  reluGradOp,
  scale,
  sigmoid,
  sigmoidGradOp,
  sqrt,
  sqrtGradOp,
  square,
  squareGradOp,
  sub,
} from "../../lib/ops/elementwise.ts";
import type { OpDef } from "../../lib/tensor/op.ts";
import { apply } from "../../lib/tensor/op.ts";
import type { Tensor } from "../../lib/tensor/tensor.ts";
import { absolute, type Case, type Fill, type Input, type Row, row, type Values } from "../ops_harness.ts";
import { erfc, mapElements } from "./reference.ts";

// One correctly rounded operation is half an epsilon. WGSL allows 2.5 units (of half an epsilon) for a division.
const EXACT = 0, ROUNDED = 0.5, DIVIDED = 2;
/** A sum of the terms that broadcasting repeats, at most some hundred here, in pairs and fours: about ten roundings. */
const SUMMED = 10;

/** One, primes, fours (the vec4 entry), over the grid's 65,535 rows. */
const unaryShapes = [[1], [3, 7], [5, 128], [70_001, 2]];
const cases = (arity: number, fill: Fill = "outliers"): Case<undefined>[] =>
  unaryShapes.map((shape) => ({ inputs: new Array<Input>(arity).fill({ shape, fill }) }));

/** Every way of reading an input, and two that are expanded first ([2, 1, 3, 1] and [1, 5, 1, 4] in [2, 5, 3, 4]). */
const broadcastCases: Case<undefined>[] = [
  ...unaryShapes.map((shape) => [shape, shape]),
  [[4, 32], []],
  [[3, 5, 8], [5, 8]], // by fours, as are the next two
  [[3, 1, 8], [3, 5, 8]],
  [[2, 1, 4], [1, 5, 4]],
  [[], [3, 7]],
  [[3, 7], [7]],
  [[3, 7], [3, 1]],
  [[3, 1], [1, 7]],
  [[2, 5, 3], [2, 1, 3]],
  [[2, 1, 3], [1, 5, 1]],
  [[3, 1, 2], [2, 3, 5, 1]],
  [[2, 1, 3, 1], [1, 5, 1, 4]],
  [[2, 3, 1, 2, 1], [3, 2, 2, 3]],
].map((inputs) => ({ inputs }));

interface UnarySpec {
  readonly forward: number;
  readonly gradient?: number;
  readonly fill?: Fill;
  readonly magnitude?: (x: number) => number;
  readonly slopeFloor?: number;
}
const unary = (
  op: (x: Tensor) => Tensor,
  f: (x: number) => number,
  { magnitude, fill, ...spec }: UnarySpec,
): Row =>
  row({
    op: ([x]) => op(x),
    reference: (xs) => mapElements(xs, f),
    magnitude: magnitude && ((xs) => mapElements(xs, magnitude)),
    cases: cases(1, fill),
    ...spec,
  });

/** A fused gradient: the elements of its inputs to dx. */
const fused = (
  op: OpDef<undefined>,
  f: (...x: number[]) => number,
  forward: number,
  magnitude?: (...x: number[]) => number,
  fill?: Fill,
): Row => {
  const arity = f.length;
  return row({
    op: (xs) => apply(op, xs),
    reference: (xs) => mapElements(xs, f),
    magnitude: magnitude && ((xs) => mapElements(xs, magnitude)),
    forward,
    cases: cases(arity, fill),
  });
};

const binary = (
  op: (a: Tensor, b: Tensor) => Tensor,
  f: (a: number, b: number) => number,
  forward: number,
  gradient: number,
  more: readonly Case<undefined>[] = [],
): Row =>
  row({
    op: ([a, b]) => op(a, b),
    reference: (xs) => mapElements(xs, f),
    forward,
    gradient,
    cases: [...broadcastCases, ...more],
  });

/** More elements than the largest grid has invocations: each walks on. `linear` by fours, then `broadcast`. */
const walks: Case<undefined>[] = [[[1_048_580], [1_048_580]], [[1, 262_147], [1]]].map((inputs) => ({
  inputs,
}));

/** The normal distribution, in f64. */
export const Phi = (x: number) => erfc(-x / Math.SQRT2) / 2;
const phi = (x: number) => Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
const logistic = (x: number) => 1 / (1 + Math.exp(-x));
const quickSlope = (x: number) => logistic(1.702 * x) * (1 + 1.702 * x * logistic(-1.702 * x));
/** exp stays finite, and so do the differences of the reference. */
const within60: Fill = (random) => 60 * (2 * random.nextUniform() - 1);
/** The reference's sigmoid still has a slope. */
const within12: Fill = (random) => 12 * (2 * random.nextUniform() - 1);
const sumOf = (xs: readonly Values[]) => mapElements(xs, (...terms) => terms.reduce((a, b) => a + b));

export const elementwiseRows = {
  add: binary(add, (a, b) => a + b, ROUNDED, SUMMED, walks),
  sub: binary(sub, (a, b) => a - b, ROUNDED, SUMMED),
  mul: binary(mul, (a, b) => a * b, ROUNDED, SUMMED),
  div: binary(div, (a, b) => a / b, DIVIDED, SUMMED + 2 * DIVIDED),
  divGrad: fused(divGradOp, (dy, y, b) => -dy * y / b, DIVIDED + ROUNDED),
  scale: row<number>({
    op: ([x], k) => scale(x, k),
    reference: ([x], k) => x.data.map((v) => v * Math.fround(k)),
    forward: ROUNDED,
    gradient: 2 * ROUNDED,
    cases: cases(1).map(({ inputs }) => ({ inputs, options: -0.3 })),
  }),
  addScalar: row<number>({
    op: ([x], k) => addScalar(x, k),
    reference: ([x], k) => x.data.map((v) => v + Math.fround(k)),
    forward: ROUNDED,
    gradient: 2 * ROUNDED,
    cases: cases(1).map(({ inputs }) => ({ inputs, options: -0.3 })),
  }),
  neg: unary(neg, (x) => -x, { forward: EXACT, gradient: 2 * ROUNDED }),
  // 2: kernels/prelude/math.wgsl; the gradient multiplies once more.
  exp: unary(exp, Math.exp, { forward: 2, gradient: 3, fill: within60 }),
  // WGSL allows an absolute error of 2^-21 (4 epsilons) near 1.
  log: unary(log, Math.log, {
    forward: 4,
    gradient: 2 * DIVIDED,
    fill: "positive",
    magnitude: (x) => Math.max(1, Math.abs(Math.log(x))),
  }),
  // WGSL computes a square root as 1 / inverseSqrt: 2 units more than a division.
  sqrt: unary(sqrt, Math.sqrt, { forward: 2 * DIVIDED, gradient: 4 * DIVIDED, fill: "positive" }),
  sqrtGrad: fused(sqrtGradOp, (y, dy) => dy / (2 * y), DIVIDED + ROUNDED, undefined, "positive"),
  square: unary(square, (x) => x * x, { forward: ROUNDED, gradient: 3 * ROUNDED }),
  squareGrad: fused(squareGradOp, (x, dy) => 2 * x * dy, 2 * ROUNDED),
  relu: unary(relu, (x) => Math.max(x, 0), { forward: EXACT, gradient: 2 * ROUNDED }),
  reluGrad: fused(reluGradOp, (x, dy) => x > 0 ? dy : 0, EXACT),
  // Phi is known to 2 epsilons of 1; gelu' = Phi + x phi passes through 0, so its error is counted from 1.
  gelu: unary(gelu, (x) => x * Phi(x), { forward: 2, gradient: 4, magnitude: Math.abs, slopeFloor: 1 }),
  geluGrad: fused(geluGradOp, (x, dy) => dy * (Phi(x) + x * phi(x)), 3, (_, dy) => Math.abs(dy)),
  // WGSL's exp(x) is known to 3 + 2 |x| epsilons: in s and s' that is 1 epsilon of 1 at most, at any x.
  quickGelu: unary(quickGelu, (x) => x * logistic(1.702 * x), {
    forward: 2,
    gradient: 4,
    magnitude: Math.abs,
    slopeFloor: 1,
  }),
  quickGeluGrad: fused(quickGeluGradOp, (x, dy) => dy * quickSlope(x), 4, (_, dy) => Math.abs(dy)),
  sigmoid: unary(sigmoid, logistic, {
    forward: 2,
    gradient: 4,
    magnitude: () => 1,
    slopeFloor: 1,
    fill: within12,
  }),
  sigmoidGrad: fused(sigmoidGradOp, (x, dy) => dy * logistic(x) * logistic(-x), 2, (_, dy) => Math.abs(dy)),
  castF32: row({
    op: ([x]) => castF32(x),
    reference: ([x]) => x.data,
    forward: EXACT,
    cases: unaryShapes.map((shape) => ({ inputs: [{ shape, below: 2 ** 24 }] })),
  }),
  // Each of n - 1 additions rounds a partial sum.
  addN: row({
    op: (terms) => addN(terms),
    reference: sumOf,
    magnitude: (xs) => sumOf(absolute(xs)),
    forward: 9 * ROUNDED,
    gradient: 2 * ROUNDED,
    cases: [3, 4, 5, 6, 7, 10].map((n) => ({ inputs: new Array<Input>(n).fill([3, 7]) }))
      .concat({ inputs: new Array<Input>(3).fill([131_101, 2]) }),
  }),
  full: row<{ shape: number[]; value: number }>({
    op: (_, { shape, value }) => full(shape, value),
    reference: (_, { shape, value }) => new Float64Array(shape.reduce((a, b) => a * b, 1)).fill(value),
    forward: EXACT,
    cases: [[], [3, 7], [131_101, 2]].map((shape) => ({ inputs: [], options: { shape, value: -2.5 } })),
  }),
};
