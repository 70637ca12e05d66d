/** Rows of `lib/ops/layer_norm.ts`. */
import {
  layerNorm,
  layerNormGradOp,
  layerNormGradsOp,
  layerNormParamGradOp,
} from "../../lib/ops/layer_norm.ts";
import { apply } from "../../lib/tensor/op.ts";
import { type Case, type Input, mapRows, type Row, row, type RowSpec, type Values } from "../ops_harness.ts";

const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);

/** Mean and 1 / standard deviation of a row. */
function statistics(x: Float64Array, eps: number): { mean: number; rstd: number } {
  const mean = sum(x) / x.length;
  return { mean, rstd: 1 / Math.sqrt(sum(x.map((v) => (v - mean) ** 2)) / x.length + eps) };
}

/** One; primes; four columns at a time; the longest short row and the first long ones. */
const shapes = [[1, 1], [3, 7], [2, 5, 8], [3, 256], [3, 257], [2, 260], [2, 1028]];
/** More workgroups, one a row, than the grid has in x; only where no gradient is checked, which takes long. */
const folded = [65_537, 3];
/** Enough rows for several parts of the sums over rows, whole parts and a rest. */
const manyRows = [[96, 5], [101, 8]];

const dotsOf = ([, weight]: readonly Values[], dy: Float64Array, h: Float64Array, absolute: boolean) => {
  const p = dy.map((d, c) => d * weight.data[c]), size = (v: number) => absolute ? Math.abs(v) : v;
  return { p, a: sum(p.map(size)) / p.length, b: sum(p.map((v, c) => size(v * h[c]))) / p.length };
};
const rowOf = (x: Values, r: number) => {
  const C = x.shape.at(-1) ?? 1;
  return x.data.subarray(r * C, (r + 1) * C);
};

/** The gradient of x. Inputs: x, weight, mean, rstd, dy. */
const ofX: Omit<RowSpec, "op"> = {
  reference: (inputs) => {
    const [x, , mean, rstd, dy] = inputs;
    return mapRows(x, (values, r) => {
      const h = values.map((v) => (v - mean.data[r]) * rstd.data[r]);
      const { p, a, b } = dotsOf(inputs, rowOf(dy, r), h, false);
      return p.map((v, c) => rstd.data[r] * (v - a - h[c] * b));
    });
  },
  magnitude: (inputs) => {
    const [x, , mean, rstd, dy] = inputs;
    return mapRows(x, (values, r) => {
      const h = values.map((v) => (Math.abs(v) + Math.abs(mean.data[r])) * rstd.data[r]);
      const { p, a, b } = dotsOf(inputs, rowOf(dy, r), h, true);
      return p.map((v, c) => rstd.data[r] * (Math.abs(v) + a + h[c] * b));
    });
  },
  forward: 16, // sums of up to 260 terms, in parts
  cases: [...shapes, folded].map((shape) => {
    const C = shape.at(-1) ?? 1, R = shape.reduce((a, b) => a * b) / C;
    const inputs: Input[] = [shape, [C], [R], { shape: [R], fill: "positive" }, shape];
    return { inputs, options: undefined };
  }),
};

export const layerNormRows: {
  layerNorm: Row;
  layerNormGrad: Row;
  layerNormGrads: Row;
  layerNormParamGrad: Row;
} = {
  layerNorm: row<{ eps: number }>({
    op: ([x, weight, bias], { eps }) => layerNorm(x, weight, bias, eps),
    reference: ([x, weight, bias], { eps }) =>
      mapRows(x, (values) => {
        const { mean, rstd } = statistics(values, eps);
        return values.map((v, c) => (v - mean) * rstd * weight.data[c] + bias.data[c]);
      }),
    // x - mean is a cancellation: the mean's rounding is an epsilon of the largest terms.
    magnitude: ([x, weight, bias], { eps }) =>
      mapRows(x, (values) => {
        const { rstd } = statistics(values, eps), mean = sum(values.map(Math.abs)) / values.length;
        return values.map((v, c) =>
          (Math.abs(v) + mean) * rstd * Math.abs(weight.data[c]) + Math.abs(bias.data[c])
        );
      }),
    forward: 8, // sums of up to 260 terms, in parts
    // Rows of few columns have next to no freedom left: their slopes are what remains of terms near 1.
    gradient: 16,
    slopeFloor: 0.5,
    cases: [...shapes, ...manyRows].flatMap((shape): Case<{ eps: number }>[] => {
      const C = shape.at(-1) ?? 1;
      return [1e-5, 1e-12].map((eps) => ({
        inputs: [shape, { shape: [C], fill: "normal" }, [C]],
        options: { eps },
      }));
    }).filter(({ inputs: [x], options: { eps } }) => !(String(x) === "1,1" && eps < 1e-5)), // 0 * 1e6 checks nothing
  }),
  layerNormGrad: row({ op: (inputs) => apply(layerNormGradOp, inputs), ...ofX }),
  // Only dx; dWeight and dBias are checked with layerNorm, whose plan takes this op.
  layerNormGrads: row({ op: (inputs) => apply(layerNormGradsOp, inputs), ...ofX }),
  layerNormParamGrad: row({
    op: (inputs) => apply(layerNormParamGradOp, inputs), // dWeight; dBias is checked with layerNorm
    reference: ([x, mean, rstd, dy]) =>
      columnSums(x, (v, i, r) => dy.data[i] * (v - mean.data[r]) * rstd.data[r]),
    magnitude: ([x, mean, rstd, dy]) =>
      columnSums(
        x,
        (v, i, r) => Math.abs(dy.data[i] * rstd.data[r]) * (Math.abs(v) + Math.abs(mean.data[r])),
      ),
    forward: 16, // sums of parts of at most 1,100 rows
    cases: [...shapes, ...manyRows, [70_001, 4]].map((shape) => {
      const C = shape.at(-1) ?? 1, R = shape.reduce((a, b) => a * b) / C;
      const inputs: Input[] = [shape, [R], { shape: [R], fill: "positive" }, shape];
      return { inputs, options: undefined };
    }),
  }),
};

function columnSums(x: Values, term: (v: number, flat: number, row: number) => number): Float64Array {
  const C = x.shape.at(-1) ?? 1, y = new Float64Array(C);
  x.data.forEach((v, i) => y[i % C] += term(v, i, Math.floor(i / C)));
  return y;
}
