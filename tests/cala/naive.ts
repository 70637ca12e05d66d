/** CaLa's formulas in f64, as the released code has them: whole, without shortcuts. */
import type { MultiheadAttention } from "../../lib/nn/attention.ts";
import type { Linear } from "../../lib/nn/linear.ts";

/** Rows of numbers. */
export type Matrix = number[][];

/** Sample `b` of `[B, R, C]`. */
export const sample = (data: ArrayLike<number>, b: number, R: number, C: number): Matrix =>
  Array.from({ length: R }, (_, r) => Array.from({ length: C }, (_, c) => data[(b * R + r) * C + c]));

export const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + x * b[i], 0);
export const transposed = (m: Matrix): Matrix => m[0].map((_, c) => m.map((row) => row[c]));
export const product = (a: Matrix, b: Matrix): Matrix => {
  const columns = transposed(b);
  return a.map((row) => columns.map((column) => dot(row, column)));
};
export const scaled = (m: Matrix, c: number): Matrix => m.map((row) => row.map((x) => c * x));
export const softmax = (m: Matrix): Matrix =>
  m.map((row) => {
    const max = Math.max(...row), e = row.map((x) => Math.exp(x - max)), total = e.reduce((a, b) => a + b);
    return e.map((x) => x / total);
  });
export const linear = ({ weight, bias }: Linear, x: Matrix): Matrix =>
  x.map((row) =>
    Array.from(bias.source.data, (b, o) => b + dot(row, rowOf(weight.source.data, o, row.length)))
  );
export const unit = (x: readonly number[]): number[] => {
  const norm = Math.sqrt(dot(x, x));
  return x.map((v) => v / norm);
};

const rowOf = (data: ArrayLike<number>, r: number, width: number): number[] =>
  Array.from({ length: width }, (_, i) => data[r * width + i]);

/** `torch.nn.MultiheadAttention` with one head. */
export function attention(mha: MultiheadAttention, query: Matrix, keyValue: Matrix): Matrix {
  const D = mha.embedDim;
  const part = (index: number, x: Matrix) =>
    x.map((row) =>
      Array.from({ length: D }, (_, o) =>
        mha.in_proj_bias.source.data[index * D + o] +
        dot(row, rowOf(mha.in_proj_weight.source.data, index * D + o, D)))
    );
  const scores = scaled(product(part(0, query), transposed(part(1, keyValue))), 1 / Math.sqrt(D));
  return linear(mha.out_proj, product(softmax(scores), part(2, keyValue)));
}

/** `[C, H, W]`, flat, read as `[H*W, C]`. */
export const mapTokens = (map: ArrayLike<number>, C: number, HW: number): Matrix => sample(map, 0, HW, C);

export const relu = (m: Matrix): Matrix => m.map((row) => row.map((x) => Math.max(0, x)));
