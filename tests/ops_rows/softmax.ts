/** Rows of `lib/ops/softmax.ts`. */
import { softmax, softmaxGradOp } from "../../lib/ops/softmax.ts";
import { apply } from "../../lib/tensor/op.ts";
import { type Case, type Fill, mapRows, type Row, row, type Values } from "../ops_harness.ts";

interface Options {
  readonly scale: number;
  readonly causal: boolean;
}
const PLAIN: Options = { scale: 1, causal: false };
const CAUSAL: Options = { scale: 0.5, causal: true };

/** Scores in f64; minus infinity where a causal row does not see. */
function scores([x, mask]: readonly Values[], { scale, causal }: Options): Float64Array {
  const C = x.shape.at(-1) ?? 1, Q = x.shape.at(-2) ?? 1;
  const rowsPerMask = mask ? x.data.length / mask.data.length : 1;
  return mapRows(x, (values, r) =>
    values.map((v, c) => {
      if (causal && c > r % Q) return -Infinity;
      return scale * v + (mask ? (1 - mask.data[Math.floor(r / rowsPerMask) * C + c]) * -10000 : 0);
    }));
}

const probabilities = (z: Float64Array): Float64Array => {
  const m = z.reduce((a, b) => Math.max(a, b)),
    e = z.map((v) => Math.exp(v - m)),
    s = e.reduce((a, b) => a + b);
  return e.map((v) => v / s);
};

/** 0 or 1, and 1 in the first of every `C`: a row with all positions masked has lost its digits (the oracle has one). */
const keepFirst = (C: number): Fill => (random, i) => i % C === 0 ? 1 : random.nextInt(2);

const cases: Case<Options>[] = [
  // one; primes; over a workgroup; the longest short row and the shortest long one; many rows
  ...[[1, 1], [3, 7], [5, 65], [2, 256], [2, 257], [2, 1025], [70_001, 2]].map((shape) => ({
    inputs: [shape],
    options: PLAIN,
  })),
  { inputs: [[2, 3, 5, 4]], options: { scale: 0.25, causal: false } },
  {
    inputs: [[2, 3, 5, 7], { shape: [2, 7], fill: keepFirst(7) }],
    options: { scale: 0.25, causal: false },
  },
  { inputs: [[2, 3, 300], { shape: [2, 300], fill: keepFirst(300) }], options: PLAIN },
  ...[[2, 3, 5, 5], [3, 4, 6], [3, 6, 4], [4, 259]].map((shape) => ({ inputs: [shape], options: CAUSAL })),
  { inputs: [[3, 2, 5, 5], { shape: [3, 5], fill: keepFirst(5) }], options: CAUSAL },
];

export const softmaxRows: { softmax: Row; softmaxGrad: Row } = {
  softmax: row<Options>({
    op: ([x, mask], options) => softmax(x, { ...options, mask }),
    reference: (inputs, options) => {
      const { shape } = inputs[0];
      return mapRows({ shape, data: scores(inputs, options) }, probabilities);
    },
    // Each score is rounded to half an epsilon of itself (where masked: of 10,000), and WGSL's exp is good to
    // 3 + 2 |z - m| units of half an epsilon: the error of y grows with the scores.
    magnitude: (inputs, options) => {
      const { shape } = inputs[0];
      return mapRows({ shape, data: scores(inputs, options) }, (z) => {
        const seen = z.filter((v) => v > -Infinity).map(Math.abs),
          most = seen.reduce((a, b) => Math.max(a, b));
        return probabilities(z).map((y) => y * (1 + 2 * most));
      });
    },
    forward: 4,
    // An error of 2 |z - m| y is at most an epsilon or so of 1; dy - sum y dy is a cancellation where y is nearly 1.
    gradient: 16,
    slopeFloor: 0.1,
    noGradient: [1],
    cases,
  }),
  softmaxGrad: row<{ scale: number }>({
    op: ([y, dy], options) => apply(softmaxGradOp, [y, dy], options),
    reference: ([y, dy], { scale }) =>
      mapRows(y, (p, r) => {
        const d = dy.data.subarray(r * p.length, (r + 1) * p.length);
        const dot = p.reduce((s, v, c) => s + v * d[c], 0);
        return p.map((v, c) => scale * v * (d[c] - dot));
      }),
    magnitude: ([y, dy], { scale }) =>
      mapRows(y, (p, r) => {
        const d = dy.data.subarray(r * p.length, (r + 1) * p.length);
        const dot = p.reduce((s, v, c) => s + Math.abs(v * d[c]), 0);
        return p.map((v, c) => Math.abs(scale * v) * (Math.abs(d[c]) + dot));
      }),
    forward: 16, // a sum of up to 257 products, in order; of more in parts
    cases: [[1, 1], [3, 7], [5, 65], [2, 256], [2, 257], [2, 1025], [70_001, 2]].map((shape) => ({
      inputs: [shape, shape],
      options: { scale: 0.25 },
    })),
  }),
};
