/** Rows of `lib/ops/attention.ts`: the fused kernels. The composition is compared with them in `tests/ops/attention_test.ts`. */
import { attention, attentionGradOp } from "../../lib/ops/attention.ts";
import { concat } from "../../lib/ops/movement.ts";
import { apply } from "../../lib/tensor/op.ts";
import { type Case, type Fill, type Input, type Row, row, type Values } from "../ops_harness.ts";

interface Options {
  readonly heads: number;
  readonly scale: number;
  readonly causal: boolean;
}

/** Scores `[Lq, Lk]` of one head of one sample; `size` is taken of the products. */
function scoresOf(
  [q, k, , mask]: readonly Values[],
  b: number,
  h: number,
  options: Options,
  size = (v: number) => v,
) {
  const { heads, scale, causal } = options, [, Lq, D] = q.shape, Lk = k.shape[1], width = D / heads;
  return Array.from({ length: Lq }, (_, i) =>
    Array.from({ length: Lk }, (_, j) => {
      if (causal && j > i) return -Infinity;
      let z = 0;
      for (let d = 0; d < width; d++) {
        const c = h * width + d;
        z += size(scale * q.data[(b * Lq + i) * D + c] * k.data[(b * Lk + j) * D + c]);
      }
      return z + (mask ? (1 - mask.data[b * Lk + j]) * -10000 : 0);
    }));
}
const softmax = (z: number[]): number[] => {
  const m = Math.max(...z), e = z.map((v) => Math.exp(v - m)), s = e.reduce((a, b) => a + b);
  return e.map((v) => v / s);
};

/** Calls `visit` with each head of each sample, and the flat index of element `d` of a row of q and of k. */
function eachHead(
  [q, k]: readonly Values[],
  { heads }: Options,
  visit: (b: number, h: number, at: Places) => void,
) {
  const [B, Lq, D] = q.shape, Lk = k.shape[1], width = D / heads;
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < heads; h++) {
      visit(b, h, {
        width,
        query: (i, d) => (b * Lq + i) * D + h * width + d,
        key: (j, d) => (b * Lk + j) * D + h * width + d,
      });
    }
  }
}
interface Places {
  readonly width: number;
  query(i: number, d: number): number;
  key(j: number, d: number): number;
}

const keepFirst = (C: number): Fill => (random, i) => i % C === 0 ? 1 : random.nextInt(2);

/** q, k, v and perhaps a mask. Normal numbers: with outliers each softmax would be one-hot. */
const inputsOf = (B: number, Lq: number, Lk: number, D: number, isMasked = false): Input[] => [
  { shape: [B, Lq, D], fill: "normal" },
  { shape: [B, Lk, D], fill: "normal" },
  { shape: [B, Lk, D], fill: "normal" },
  ...isMasked ? [{ shape: [B, Lk], fill: keepFirst(Lk) }] : [],
];
const cases: Case<Options>[] = [
  { inputs: inputsOf(1, 1, 1, 4), options: { heads: 1, scale: 1, causal: false } },
  { inputs: inputsOf(3, 5, 7, 24), options: { heads: 3, scale: 0.35, causal: false } },
  { inputs: inputsOf(2, 4, 17, 16, true), options: { heads: 4, scale: 0.5, causal: false } },
  { inputs: inputsOf(2, 32, 32, 8, true), options: { heads: 2, scale: 0.5, causal: false } }, // the longest
  { inputs: inputsOf(2, 4, 4, 64), options: { heads: 1, scale: 0.125, causal: false } },
  ...[[6, 6], [3, 7], [7, 3]].map(([Lq, Lk]) => ({
    inputs: inputsOf(2, Lq, Lk, 8),
    options: { heads: 2, scale: 0.5, causal: true },
  })),
];

export const attentionRows: { attention: Row; attentionGrad: Row } = {
  attention: row<Options>({
    op: ([q, k, v, mask], options) => attention(q, k, v, { ...options, mask }),
    reference: (inputs, options) => {
      const [q, , v] = inputs, y = new Float64Array(q.data.length);
      eachHead(
        inputs,
        options,
        (b, h, { width, query, key }) =>
          scoresOf(inputs, b, h, options).map(softmax).forEach((p, i) => {
            for (let d = 0; d < width; d++) {
              y[query(i, d)] = p.reduce((s, w, j) => s + w * v.data[key(j, d)], 0);
            }
          }),
      );
      return y;
    },
    // As in softmax: the error of p grows with the scores, and those are sums of products.
    magnitude: (inputs, options) => {
      const [q, , v] = inputs, y = new Float64Array(q.data.length);
      eachHead(inputs, options, (b, h, { width, query, key }) => {
        const sizes = scoresOf(inputs, b, h, options, Math.abs);
        scoresOf(inputs, b, h, options).map(softmax).forEach((p, i) => {
          const most = Math.max(...sizes[i]);
          for (let d = 0; d < width; d++) {
            y[query(i, d)] = (1 + 2 * most) * p.reduce((s, w, j) => s + w * Math.abs(v.data[key(j, d)]), 0);
          }
        });
      });
      return y;
    },
    forward: 4,
    gradient: 32,
    slopeFloor: 0.1, // as in softmax
    noGradient: [3],
    cases,
  }),
  attentionGrad: row<Options>({
    // dq; dk and dv are checked with attention. Here p need not sum to 1.
    op: ([q, k, v, stats, dy, mask], options) =>
      apply(attentionGradOp, [q, concat([k, v], 2), stats, dy, ...mask ? [mask] : []], {
        ...options,
        isSelf: false,
      }),
    reference: (inputs, options) => gradientOfQ(inputs, options, (v) => v),
    magnitude: (inputs, options) => gradientOfQ(inputs, options, Math.abs),
    forward: 64, // exp of scores up to ten
    cases: cases.map(({ inputs: [q, k, v, ...mask], options }) => {
      const [B, Lq] = "shape" in q ? q.shape as number[] : [];
      return {
        inputs: [q, k, v, { shape: [2, B, options.heads, Lq], fill: "positive" }, q, ...mask],
        options,
      };
    }),
  }),
};

/** dq; with absolute values instead of `size` the sum of the magnitudes of all terms. */
function gradientOfQ(
  [q, k, v, stats, dy, mask]: readonly Values[],
  options: Options,
  size: (v: number) => number,
) {
  const dq = new Float64Array(q.data.length),
    { heads, scale } = options,
    Lq = q.shape[1],
    half = stats.data.length / 2;
  const inputs = mask ? [q, k, v, mask] : [q, k, v];
  eachHead(
    inputs,
    options,
    (b, h, { width, query, key }) =>
      scoresOf(inputs, b, h, options).forEach((z, i) => {
        const at = (b * heads + h) * Lq + i;
        const p = z.map((value) => Math.exp(value - stats.data[at]) / stats.data[half + at]);
        const dp = z.map((_, j) => {
          let s = 0;
          for (let d = 0; d < width; d++) s += size(dy.data[query(i, d)] * v.data[key(j, d)]);
          return s;
        });
        const delta = p.reduce((s, w, j) => s + w * dp[j], 0), sign = size(-1);
        for (let d = 0; d < width; d++) {
          dq[query(i, d)] = p.reduce(
            (s, w, j) => s + scale * w * (dp[j] + sign * delta) * size(k.data[key(j, d)]),
            0,
          );
        }
      }),
  );
  return dq;
}
