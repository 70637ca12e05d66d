/** Rows of `lib/ops/l2_normalize.ts`. */
import { l2Normalize, l2NormalizeGradOp } from "../../lib/ops/l2_normalize.ts";
import { apply } from "../../lib/tensor/op.ts";
import { type Input, mapRows, type Row, row } from "../ops_harness.ts";

/** One; primes; over a workgroup; the longest short row and the first long one; many rows. */
const shapes = [[1, 1], [3, 7], [2, 5, 65], [2, 256], [3, 257], [2, 1025], [70_001, 2]];

export const l2NormalizeRows: { l2Normalize: Row; l2NormalizeGrad: Row } = {
  l2Normalize: row<{ eps: number }>({
    op: ([x], options) => l2Normalize(x, options),
    reference: ([x], { eps }) =>
      mapRows(x, (values) => {
        const norm = Math.max(Math.sqrt(values.reduce((s, v) => s + v * v, 0)), eps);
        return values.map((v) => v / norm);
      }),
    forward: 8, // a sum of up to 257 squares, in order; of more in parts
    gradient: 16,
    slopeFloor: 0.01, // 1 - y^2 is a cancellation where one element is the row
    cases: shapes.flatMap((shape) => [1e-12, 0, 30].map((eps) => ({ inputs: [shape], options: { eps } })) // 30: about half of the rows are shorter
    ),
  }),
  l2NormalizeGrad: row<{ eps: number }>({
    op: (inputs, options) => apply(l2NormalizeGradOp, inputs, options),
    reference: ([y, norm, dy], { eps }) =>
      mapRows(y, (values, r) => {
        const d = dy.data.subarray(r * values.length, (r + 1) * values.length);
        const dot = norm.data[r] > eps ? values.reduce((s, v, c) => s + v * d[c], 0) : 0;
        return values.map((v, c) => (d[c] - v * dot) / norm.data[r]);
      }),
    magnitude: ([y, norm, dy]) =>
      mapRows(y, (values, r) => {
        const d = dy.data.subarray(r * values.length, (r + 1) * values.length);
        const dot = values.reduce((s, v, c) => s + Math.abs(v * d[c]), 0);
        return values.map((v, c) => (Math.abs(d[c]) + Math.abs(v) * dot) / norm.data[r]);
      }),
    forward: 16, // a sum of up to 257 products, in order; of more in parts
    cases: shapes.map((shape) => {
      const R = shape.reduce((a, b) => a * b) / (shape.at(-1) ?? 1);
      const inputs: Input[] = [shape, { shape: [R], fill: "positive" }, shape];
      return { inputs, options: { eps: 1 } }; // about a third of the norms are below
    }),
  }),
};
