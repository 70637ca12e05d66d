/** Rows of `lib/ops/cross_entropy.ts`. */
import { crossEntropy, crossEntropyAndGradOp, crossEntropyGradOp } from "../../lib/ops/cross_entropy.ts";
import { apply } from "../../lib/tensor/op.ts";
import { type Fill, type Input, mapRows, type Row, row, type Values } from "../ops_harness.ts";

/** Loss of each row; `size` is taken of its terms. */
const rowLosses = ([x, labels]: readonly Values[], size: (v: number) => number = (v) => v): Float64Array =>
  mapRows(x, (values, r) => {
    const m = values.reduce((a, b) => Math.max(a, b));
    const s = values.reduce((sum, v) => sum + Math.exp(v - m), 0);
    return [size(m) + size(-values[labels ? labels.data[r] : r]) + size(Math.log(s))];
  });
const mean = (values: Float64Array): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Sharper makes slopes that the differences of an f64 mean do not resolve; the oracle has such a case. */
const sharp: Fill = (random) => 3 * random.normal(1)[0];

const labelled = (
  R: number,
  C: number,
  fill: Fill,
): Input[] => [{ shape: [R, C], fill }, { shape: [R], below: C }];

export const crossEntropyRows: { crossEntropy: Row; crossEntropyGrad: Row; crossEntropyAndGrad: Row } = {
  crossEntropy: row({
    op: ([logits, labels]) => crossEntropy(logits, labels),
    reference: (inputs) => [mean(rowLosses(inputs))],
    magnitude: (inputs) => [mean(rowLosses(inputs, Math.abs)) + 1],
    forward: 4,
    gradient: 16, // as in softmax
    slopeFloor: 0.1,
    cases: [
      // the diagonal: one, primes, over a workgroup, the longest short row, long ones
      ...[[1, 1], [3, 7], [7, 7]].map((shape) => [{ shape, fill: sharp }]),
      ...[[5, 65], [2, 256], [2, 257], [2, 1025], [70, 300]].map((
        shape,
      ) => [{ shape, fill: "normal" as const }]),
      ...[[3, 7], [6, 11], [5, 300], [70_001, 2]].map(([R, C]) => labelled(R, C, "normal")),
    ].map((inputs) => ({ inputs, options: undefined })),
  }),
  crossEntropyGrad: row({
    op: (inputs) => apply(crossEntropyGradOp, inputs),
    reference: ([x, stats, dy, labels]) => gradient([x, stats, dy, labels], -1),
    magnitude: ([x, stats, dy, labels]) => gradient([x, stats, dy, labels], 1).map(Math.abs),
    forward: 16, // exp of numbers up to 7
    cases: [[1, 1], [3, 7], [5, 65], [3, 257], [2, 1025]].flatMap(([R, C]) => {
      const inputs: Input[] = [{ shape: [R, C], fill: "normal" }, { shape: [3, R], fill: "positive" }, []];
      return [inputs, [...inputs, { shape: [R], below: C }]];
    }).map((inputs) => ({ inputs, options: undefined })),
  }),
  crossEntropyAndGrad: row({
    op: (inputs) => apply(crossEntropyAndGradOp, inputs), // only dx; tests/plan compares the loss
    reference: ([x, dy, labels]) => gradient([x, statsOf(x), dy, labels], -1),
    magnitude: ([x, dy, labels]) => gradient([x, statsOf(x), dy, labels], 1).map(Math.abs),
    forward: 16, // as above
    cases: [[1, 1], [3, 7], [70, 256], [2, 257], [2, 1025], [65_537, 3]].flatMap(([R, C]) => {
      const inputs: Input[] = [{ shape: [R, C], fill: "normal" }, []];
      return [...(R <= C ? [inputs] : []), [...inputs, { shape: [R], below: C }]];
    }).map((inputs) => ({ inputs, options: undefined })),
  }),
};

/** What the gradient reads of each row, maximum and sum: `[2, R]`. */
function statsOf(x: Values): Values {
  const max = mapRows(x, (row) => [row.reduce((a, b) => Math.max(a, b))]);
  const sum = mapRows(x, (row, r) => [row.reduce((s, v) => s + Math.exp(v - max[r]), 0)]);
  return { shape: [2, x.shape[0]], data: Float64Array.from([...max, ...sum]) };
}

/** `(exp(x - m) / s + sign onehot) dy / R`. */
function gradient([x, stats, dy, labels]: readonly Values[], sign: number): Float64Array {
  const R = x.shape[0];
  return mapRows(x, (values, r) =>
    values.map((v, c) => {
      const p = Math.exp(v - stats.data[r]) / stats.data[R + r];
      return (p + (c === (labels ? labels.data[r] : r) ? sign : 0)) * dy.data[0] / R;
    }));
}
