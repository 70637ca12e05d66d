/** Matrix products: plain, and the two of attention over the heads of packed sequences. Linear layers: `linear.ts`. */
import { ShapeError } from "../core/errors.ts";
import { sameShape, type Shape, showShape, sizeOf } from "../core/shape.ts";
import { apply, defineOp, type LastStep } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { checkDType } from "./expression.ts";
import { costOfProduct, launchProduct } from "./matmul_launch.ts";
import type { Product } from "./matmul_variants.ts";
import { productOverRows } from "./linear.ts";
import { sumTo } from "./reduce.ts";

/** Options of `matmul`. */
export interface MatmulOptions {
  /** `a` is stored as `[..., K, M]`. */
  readonly transposeA?: boolean;
  /** `b` is stored as `[..., N, K]`. */
  readonly transposeB?: boolean;
  /** Factor of the product; default 1. */
  readonly scale?: number;
}
interface MatmulAttrs extends Required<MatmulOptions> {
  /** Taken with the last input. */
  readonly last?: LastStep;
}

/** The last two axes, swapped where stored transposed. */
const matrixOf = (shape: Shape, isTransposed: boolean): [number, number] => {
  const rows = shape.at(-2) ?? 1, columns = shape.at(-1) ?? 1;
  return isTransposed ? [columns, rows] : [rows, columns];
};

/** The product behind a `matmul`, and the shape of its result. */
function matmulProduct(
  a: Shape,
  b: Shape,
  { transposeA, transposeB }: MatmulAttrs,
): { product: Product; shape: Shape } {
  if (a.length < 2 || b.length < 2) {
    throw new ShapeError(`two matrices are needed, a is ${showShape(a)}, b is ${showShape(b)}`);
  }
  const [M, K] = matrixOf(a, transposeA), [inner, N] = matrixOf(b, transposeB);
  if (K !== inner) throw new ShapeError(`inner sizes differ: a is ${showShape(a)}, b is ${showShape(b)}`);
  const batchA = a.slice(0, -2), batchB = b.slice(0, -2);
  if (batchA.length > 0 && batchB.length > 0 && !sameShape(batchA, batchB)) {
    throw new ShapeError(`batches differ: a is ${showShape(a)}, b is ${showShape(b)}`);
  }
  const batch = batchA.length > 0 ? batchA : batchB, count = sizeOf(batch);
  const shape = [...batch, M, N];
  const strides = {
    a: transposeA ? { m: 1, k: M } : { m: K, k: 1 },
    b: transposeB ? { n: K, k: 1 } : { n: 1, k: N },
  };
  // One matrix b for all of the batch: the batch is just more rows.
  const isFlat = batchB.length === 0 && !transposeA;
  return {
    shape,
    product: {
      M: isFlat ? M * count : M,
      N,
      K,
      outer: isFlat ? 1 : count,
      inner: 1,
      a: { outer: batchA.length > 0 ? M * K : 0, inner: 0, ...strides.a },
      b: { outer: batchB.length > 0 ? K * N : 0, inner: 0, ...strides.b },
      y: { outer: M * N, inner: 0, m: N },
    },
  };
}

export const matmulOp = defineOp<MatmulAttrs>({
  name: "matmul",
  outputs: ([a, b], attrs) => {
    checkDType([a, b], "f32");
    return [{ shape: matmulProduct(a.shape, b.shape, attrs).shape, dtype: "f32" }];
  },
  withLast: (attrs, last) => ({ ...attrs, last }),
  dispatch: ([a, b, other], [y], attrs, target) =>
    launchProduct(
      matmulProduct(a.shape, b.shape, attrs).product,
      { a, b, y },
      { scale: attrs.scale, last: attrs.last, other },
      target,
    ),
  backward: ({ inputs: [a, b], dy, attrs: { transposeA, transposeB, scale } }) => {
    const da = transposeA
      ? matmul(b, dy, { transposeA: transposeB, transposeB: true, scale })
      : matmul(dy, b, { transposeB: !transposeB, scale });
    const overRows = b.shape.length === 2 && !transposeA;
    const db = transposeB
      ? overRows
        ? productOverRows(dy, a, scale)
        : matmul(dy, a, { transposeA: true, transposeB: transposeA, scale })
      : overRows
      ? productOverRows(a, dy, scale)
      : matmul(a, dy, { transposeA: !transposeA, scale });
    return [sumBatch(da, a.shape), sumBatch(db, b.shape)];
  },
  cost: ([a, b, ...other], [y], attrs) =>
    costOfProduct(matmulProduct(a.shape, b.shape, attrs).product, [a, b, ...other, y]),
});

/** The gradient of a matrix that all of a batch shares is a sum over the batch. */
const sumBatch = (dx: Tensor, shape: Shape): Tensor => sameShape(dx.shape, shape) ? dx : sumTo(dx, shape);

/**
 * Product of matrices: `[..., M, K]` times `[..., K, N]` to `[..., M, N]`. Batches are equal, or one operand is a single
 * matrix `[K, N]` that serves the whole batch. f32; each element is one sum in the order of K.
 *
 * @throws {ShapeError} If inner sizes or batches differ.
 */
export const matmul = (
  a: Tensor,
  b: Tensor,
  { transposeA = false, transposeB = false, scale = 1 }: MatmulOptions = {},
): Tensor => apply(matmulOp, [a, b], { transposeA, transposeB, scale });

interface HeadAttrs {
  readonly heads: number;
  readonly scale: number;
}

/** Sequences `[B, L, D]`; a head is a strip of `D / heads` columns. */
function checkHeads(q: Shape, k: Shape, heads: number): void {
  const isPair = q.length === 3 && k.length === 3 && q[0] === k[0] && q[2] === k[2];
  if (!isPair) {
    throw new ShapeError(`two sequences [B, L, D] are needed, got ${showShape(q)} and ${showShape(k)}`);
  }
  if (!Number.isInteger(heads) || heads < 1 || q[2] % heads !== 0) {
    throw new ShapeError(`${heads} heads do not divide ${showShape(q)}`);
  }
}

const scoresProduct = ([B, M, D]: Shape, [, N]: Shape, heads: number): Product => ({
  ...{ M, N, K: D / heads, outer: B, inner: heads },
  a: { outer: M * D, inner: D / heads, m: D, k: 1 },
  b: { outer: N * D, inner: D / heads, n: D, k: 1 },
  y: { outer: heads * M * N, inner: M * N, m: N },
});

export const headScoresOp = defineOp<HeadAttrs>({
  name: "headScores",
  outputs: ([q, k], { heads }) => {
    checkDType([q, k], "f32");
    checkHeads(q.shape, k.shape, heads);
    return [{ shape: [q.shape[0], heads, q.shape[1], k.shape[1]], dtype: "f32" }];
  },
  dispatch: ([q, k], [y], { heads, scale }, target) =>
    launchProduct(scoresProduct(q.shape, k.shape, heads), { a: q, b: k, y }, { scale }, target),
  backward: ({ inputs: [q, k], dy, attrs: { scale } }) => [
    headValues(dy, k, { scale }),
    headValues(dy, q, { transpose: true, scale }),
  ],
  cost: ([q, k], [y], { heads }) => costOfProduct(scoresProduct(q.shape, k.shape, heads), [q, k, y]),
});

/**
 * Scores of attention: `scale * q_h k_hᵀ` for each head. q `[B, Lq, D]`, k `[B, Lk, D]` to `[B, heads, Lq, Lk]`; head `h`
 * is columns `h D / heads` to `(h + 1) D / heads`.
 *
 * @throws {ShapeError} If the sequences do not pair, or the heads do not divide D.
 */
export const headScores = (
  q: Tensor,
  k: Tensor,
  { heads, scale = 1 }: { heads: number; scale?: number },
): Tensor => apply(headScoresOp, [q, k], { heads, scale });

interface HeadValuesAttrs {
  readonly transpose: boolean;
  readonly scale: number;
}

const valuesProduct = ([B, heads, rows, columns]: Shape, [, , D]: Shape, transpose: boolean): Product => {
  const [M, K] = transpose ? [columns, rows] : [rows, columns];
  return {
    ...{ M, N: D / heads, K, outer: B, inner: heads },
    a: { outer: heads * M * K, inner: M * K, ...(transpose ? { m: 1, k: M } : { m: K, k: 1 }) },
    b: { outer: K * D, inner: D / heads, n: 1, k: D },
    y: { outer: M * D, inner: D / heads, m: D },
  };
};

export const headValuesOp = defineOp<HeadValuesAttrs>({
  name: "headValues",
  outputs: ([p, v], { transpose }) => {
    checkDType([p, v], "f32");
    const [B, heads, rows, columns] = p.shape, [M, K] = transpose ? [columns, rows] : [rows, columns];
    if (
      p.shape.length !== 4 || v.shape.length !== 3 || v.shape[0] !== B || v.shape[1] !== K ||
      v.shape[2] % heads !== 0
    ) {
      throw new ShapeError(
        `weights ${showShape(p.shape)}${transpose ? ", transposed," : ""} do not fit values ${
          showShape(v.shape)
        }`,
      );
    }
    return [{ shape: [B, M, v.shape[2]], dtype: "f32" }];
  },
  dispatch: ([p, v], [y], { transpose, scale }, target) =>
    launchProduct(valuesProduct(p.shape, v.shape, transpose), { a: p, b: v, y }, { scale }, target),
  backward: ({ inputs: [p, v], dy, attrs: { transpose, scale } }) => {
    const heads = p.shape[1];
    return [
      transpose ? headScores(v, dy, { heads, scale }) : headScores(dy, v, { heads, scale }),
      headValues(p, dy, { transpose: !transpose, scale }),
    ];
  },
  cost: ([p, v], [y], { transpose }) => costOfProduct(valuesProduct(p.shape, v.shape, transpose), [p, v, y]),
});

/**
 * Weighted values of attention: `scale * p_h v_h` for each head. p `[B, heads, Lq, Lk]`, v `[B, Lk, D]` to `[B, Lq, D]`;
 * with `transpose`, `scale * p_hᵀ v_h`: v `[B, Lq, D]` to `[B, Lk, D]`.
 *
 * @throws {ShapeError} If the weights do not fit the values.
 */
export const headValues = (
  p: Tensor,
  v: Tensor,
  { transpose = false, scale = 1 }: { transpose?: boolean; scale?: number } = {},
): Tensor => apply(headValuesOp, [p, v], { transpose, scale });
