/** Rows of `lib/ops/matmul.ts` and `lib/ops/linear.ts`. */
import { rowsCols, type Shape, sizeOf } from "../../lib/core/shape.ts";
import { linear, linearAndGeluOp, weightGradOp } from "../../lib/ops/linear.ts";
import { headScores, headValues, matmul, type MatmulOptions } from "../../lib/ops/matmul.ts";
import { concat, reshape } from "../../lib/ops/movement.ts";
import { applyNode } from "../../lib/tensor/op.ts";
import { absolute, type Case, type Row, row, type RowSpec, type Values } from "../ops_harness.ts";
import { Phi } from "./elementwise.ts";

/**
 * A sum of K products in order is off by at most K / 2 epsilons of the sum of their absolute values, and by about the
 * square root of that where roundings fall either way; K is at most 516 below. Gradients add a product.
 */
const TOLERANCE = { forward: 8, gradient: 16 };

/** `y[m, n] = scale * sum_k a(m, k) b(k, n)` for each of `count` matrices. */
function products(
  [count, M, N, K]: readonly number[],
  a: (z: number, m: number, k: number) => number,
  b: (z: number, k: number, n: number) => number,
  scale = 1,
): Float64Array {
  const y = new Float64Array(count * M * N);
  for (let z = 0, i = 0; z < count; z++) {
    for (let m = 0; m < M; m++) {
      for (let n = 0; n < N; n++, i++) {
        let total = 0;
        for (let k = 0; k < K; k++) total += a(z, m, k) * b(z, k, n);
        y[i] = scale * total;
      }
    }
  }
  return y;
}

const at = (shape: Shape, axis: number): number => shape.at(axis) ?? 1;

/** Element (row, column) of matrix `z`; the one matrix of a rank of 2 serves every `z`. */
const element =
  ({ shape, data }: Values, isTransposed = false) => (z: number, row: number, column: number): number => {
    const R = at(shape, -2), C = at(shape, -1), start = shape.length > 2 ? z * R * C : 0;
    return data[start + (isTransposed ? column * C + row : row * C + column)];
  };

function matmulReference(
  [a, b]: readonly Values[],
  { transposeA, transposeB, scale }: MatmulOptions,
): Float64Array {
  const count = Math.max(sizeOf(a.shape.slice(0, -2)), sizeOf(b.shape.slice(0, -2)));
  const M = at(a.shape, transposeA ? -1 : -2), K = at(a.shape, transposeA ? -2 : -1);
  const N = at(b.shape, transposeB ? -2 : -1);
  return products([count, M, N, K], element(a, transposeA), element(b, transposeB), scale);
}

/** Each way of storing the operands of an M x N x K product. */
const stored = (
  batch: Shape,
  [M, N, K]: readonly [number, number, number],
  scale = 1,
): Case<MatmulOptions>[] =>
  [[false, false], [false, true], [true, false], [true, true]].map(([transposeA, transposeB]) => ({
    inputs: [[...batch, ...(transposeA ? [K, M] : [M, K])], [...batch, ...(transposeB ? [N, K] : [K, N])]],
    options: { transposeA, transposeB, scale },
  }));

const matmulCases: Case<MatmulOptions>[] = [
  // one; primes; edges of a tile and beyond, where four elements are read at a time and where not
  ...stored([], [1, 1, 1]),
  ...stored([], [3, 7, 5], -0.5),
  ...stored([], [33, 65, 12]),
  ...stored([], [40, 36, 132], 0.125),
  ...stored([2, 3], [5, 7, 4]),
  ...stored([3], [9, 68, 8]),
  // one matrix for the whole batch, on either side
  { inputs: [[2, 3, 5, 7], [7, 11]], options: {} },
  { inputs: [[3, 5, 7], [11, 7]], options: { transposeB: true } },
  { inputs: [[3, 7, 5], [7, 11]], options: { transposeA: true } },
  { inputs: [[3, 7, 5], [11, 7]], options: { transposeA: true, transposeB: true } },
  { inputs: [[5, 7], [3, 7, 11]], options: {} },
  { inputs: [[7, 5], [3, 11, 7]], options: { transposeA: true, transposeB: true } },
  // a gradient cut along its 516 rows
  { inputs: [[516, 4], [4, 3]], options: { scale: 2 } },
  // over the limit of matrices a launch, and over that of rows
  { inputs: [[65_537, 1, 2], [65_537, 2, 1]], options: {} },
  { inputs: [[70_001, 2], [2, 1]], options: {} },
];

interface LinearOptions {
  readonly activation?: "none" | "relu";
}

const linearReference = (
  [x, weight, bias]: readonly Values[],
  { activation }: LinearOptions,
): Float64Array => {
  const [R, K] = rowsCols(x.shape), N = weight.shape[0];
  const y = products([1, R, N, K], (_, m, k) => x.data[m * K + k], element(weight, true));
  return y.map((v, i) => {
    const z = v + (bias ? bias.data[i % N] : 0);
    return activation === "relu" ? Math.max(z, 0) : z;
  });
};

const linearCases: Case<LinearOptions>[] = [
  { inputs: [[1, 1], [1, 1]], options: {} },
  { inputs: [[1, 1], [1, 1], [1]], options: {} },
  { inputs: [[3, 7], [5, 7], [5]], options: { activation: "relu" } },
  { inputs: [[7], [5, 7], [5]], options: {} },
  { inputs: [[2, 17, 13], [66, 13], [66]], options: {} },
  { inputs: [[2, 17, 12], [36, 12], [36]], options: { activation: "relu" } },
  { inputs: [[35, 136], [34, 136], [34]], options: {} },
  { inputs: [[514, 3], [2, 3], [2]], options: { activation: "relu" } },
  { inputs: [[70_001, 2], [1, 2], [1]], options: {} },
];

const weightGradReference = ([dy, x]: readonly Values[]): Float64Array => {
  const [R, N] = rowsCols(dy.shape), K = rowsCols(x.shape)[1];
  const flat = ({ data }: Values, C: number): Values => ({ shape: [R, C], data });
  const dWeight = products([1, N, K, R], element(flat(dy, N), true), element(flat(x, K)));
  return Float64Array.from([...dWeight, ...products([1, N, 1, R], element(flat(dy, N), true), () => 1)]);
};

interface HeadOptions {
  readonly heads: number;
  readonly scale: number;
}

const scoresReference = ([q, k]: readonly Values[], { heads, scale }: HeadOptions): Float64Array => {
  const [B, Lq, D] = q.shape, Lk = k.shape[1], d = D / heads;
  const strip = ({ data }: Values, L: number) => (z: number, row: number, column: number): number =>
    data[(Math.floor(z / heads) * L + row) * D + (z % heads) * d + column];
  const of = strip(k, Lk);
  return products([B * heads, Lq, Lk, d], strip(q, Lq), (z, c, n) => of(z, n, c), scale);
};

const heads = (shapes: readonly [number, number, number, number, number][]): Case<HeadOptions>[] =>
  shapes.map(([B, Lq, Lk, D, heads]) => ({
    inputs: [[B, Lq, D], [B, Lk, D]],
    options: { heads, scale: 0.25 },
  }));

interface ValuesOptions {
  readonly transpose: boolean;
  readonly scale: number;
}

const valuesReference = ([p, v]: readonly Values[], { transpose, scale }: ValuesOptions): Float64Array => {
  const [B, heads, rows, columns] = p.shape, D = v.shape[2], d = D / heads;
  const [M, K] = transpose ? [columns, rows] : [rows, columns];
  const y = new Float64Array(B * M * D);
  products([B * heads, M, d, K], element(p, transpose), (z, k, n) => {
    return v.data[(Math.floor(z / heads) * K + k) * D + (z % heads) * d + n];
  }, scale).forEach((value, i) => {
    const n = i % d, m = Math.floor(i / d) % M, z = Math.floor(i / d / M);
    y[(Math.floor(z / heads) * M + m) * D + (z % heads) * d + n] = value;
  });
  return y;
};

const values = (shapes: readonly [number, number, number, number, number][]): Case<ValuesOptions>[] =>
  [false, true].flatMap((transpose) =>
    shapes.map(([B, heads, Lq, Lk, D]) => ({
      inputs: [[B, heads, Lq, Lk], [B, transpose ? Lq : Lk, D]],
      options: { transpose, scale: 0.5 },
    }))
  );

/** A row whose magnitude is the sum of the absolute values of the terms. */
const sumRow = <O>(
  spec: Omit<RowSpec<O>, "forward" | "gradient" | "magnitude">,
  size: (options: O) => O,
): Row =>
  row<O>({
    ...spec,
    ...TOLERANCE,
    magnitude: (inputs, options) => spec.reference(absolute(inputs), size(options)),
  });

export const matmulRows: {
  matmul: Row;
  linear: Row;
  linearAndGelu: Row;
  weightGrad: Row;
  headScores: Row;
  headValues: Row;
} = {
  matmul: sumRow<MatmulOptions>({
    op: ([a, b], options) => matmul(a, b, options),
    reference: matmulReference,
    cases: matmulCases,
  }, (options) => ({ ...options, scale: Math.abs(options.scale ?? 1) })),
  linear: sumRow<LinearOptions>({
    op: ([x, weight, bias], options) => linear(x, weight, bias, options),
    reference: linearReference,
    cases: linearCases,
  }, (options) => options),
  linearAndGelu: row({
    // Both outputs: the product, then its gelu, whose slope is at most 1.13 and which adds 2 epsilons of its own.
    op: (inputs) => {
      const both = applyNode(linearAndGeluOp, inputs, { hasBias: inputs.length === 3 }).outputs;
      return concat(both.map((y) => reshape(y, [-1])), 0);
    },
    reference: (inputs) => {
      const y = linearReference(inputs, {});
      return Float64Array.from([...y, ...y.map((v) => v * Phi(v))]);
    },
    magnitude: (inputs) => {
      const size = linearReference(absolute(inputs), {});
      return Float64Array.from([...size, ...size]);
    },
    forward: 1.13 * TOLERANCE.forward + 2,
    cases: [
      ...[[[1, 1], [1, 1]], [[3, 7], [5, 7], [5]], [[7], [5, 7], [5]], [[2, 17, 13], [66, 13], [66]]],
      ...[[[2, 17, 12], [36, 12], [36]], [[35, 136], [34, 136], [34]]],
    ].map((inputs) => ({ inputs, options: undefined })),
  }),
  weightGrad: row({
    // Both outputs: dWeight, then dBias.
    op: ([dy, x]) => {
      const [dWeight, dBias] = applyNode(weightGradOp, [dy, x], {}).outputs;
      return concat([reshape(dWeight, [-1]), dBias], 0);
    },
    reference: weightGradReference,
    magnitude: (inputs) => weightGradReference(absolute(inputs)),
    forward: TOLERANCE.forward,
    cases: [
      // one; primes; by fours; over a tile on each axis; two axes of rows
      ...[[[1, 1], [1, 1]], [[7, 3], [7, 5]], [[13, 12], [13, 16]], [[35, 66], [35, 37]]],
      ...[[[35, 68], [35, 36]], [[5, 7, 33], [5, 7, 40]]],
    ].map((inputs) => ({ inputs, options: undefined })),
  }),
  headScores: sumRow<HeadOptions>({
    op: ([q, k], options) => headScores(q, k, options),
    reference: scoresReference,
    cases: heads([[1, 1, 1, 1, 1], [2, 5, 7, 6, 3], [3, 4, 17, 16, 4], [2, 5, 13, 64, 4], [2, 9, 5, 64, 1], [
      2,
      33,
      35,
      8,
      2,
    ]]),
  }, (options) => options),
  headValues: sumRow<ValuesOptions>({
    op: ([p, v], options) => headValues(p, v, options),
    reference: valuesReference,
    cases: values([[1, 1, 1, 1, 1], [2, 3, 5, 7, 6], [3, 4, 4, 17, 16], [2, 1, 9, 5, 64], [2, 2, 33, 35, 8]]),
  }, (options) => options),
};
