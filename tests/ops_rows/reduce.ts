/** Row of `lib/ops/reduce.ts`: sum, mean and sumTo are one op. */
import { type Shape, sizeOf, stridesOf } from "../../lib/core/shape.ts";
import { mean, type ReduceOptions, sum, sumTo } from "../../lib/ops/reduce.ts";
import type { Tensor } from "../../lib/tensor/tensor.ts";
import { absolute, row, type Values } from "../ops_harness.ts";
import { eachIndex } from "./reference.ts";

type Options = ReduceOptions & { readonly isMean?: true } | { readonly to: Shape };

const apply = (x: Tensor, options: Options) =>
  "to" in options ? sumTo(x, options.to) : options.isMean ? mean(x, options) : sum(x, options);

function reference([x]: readonly Values[], options: Options): Float64Array {
  const rank = x.shape.length;
  const summed = "to" in options
    ? x.shape.flatMap((_, i) => (options.to[i - rank + options.to.length] ?? 1) === 1 ? [i] : [])
    : options.axis === undefined
    ? x.shape.map((_, i) => i)
    : [options.axis].flat().map((axis) => axis < 0 ? axis + rank : axis);
  const kept = x.shape.map((n, i) => summed.includes(i) ? 1 : n);
  const y = new Float64Array(sizeOf(kept)), strides = stridesOf(kept);
  eachIndex(x.shape, (index, flat) => {
    let at = 0;
    for (let i = 0; i < rank; i++) if (kept[i] > 1) at += index[i] * strides[i];
    y[at] += x.data[flat];
  });
  const factor = "isMean" in options ? y.length / x.data.length : 1;
  return y.map((s) => s * factor);
}

const cases: [Shape, Options][] = [
  // rows: whole, in chunks, more than the grid has invocations
  [[3, 7], { axis: -1 }],
  [[5, 257], { axis: 1, keepDims: true }],
  [[2, 40_001], { axis: 1, isMean: true }],
  [[262_147, 1, 2], { axis: 2 }],
  // columns: whole, in chunks
  [[7, 3], { axis: 0 }],
  [[1031, 5], { axis: 0, isMean: true }],
  [[70_001, 2], { axis: 0 }],
  // the middle, neighbours, neighbours round a 1, apart, all
  [[3, 5, 7], { axis: 1 }],
  [[3, 301, 2], { axis: -2 }],
  [[3, 5, 7], { axis: [1, 2] }],
  [[2, 3, 1, 5], { axis: [1, 3], isMean: true }],
  [[2, 3, 5, 7], { axis: [2, 0], keepDims: true }],
  [[2, 3, 2, 3, 2], { axis: [0, 2, 4], isMean: true }],
  [[4, 67], {}],
  [[4, 67], { isMean: true }],
  [[3, 5, 7], { to: [5, 1] }],
  [[3, 5, 7], { to: [7] }],
  [[3, 5, 7], { to: [] }],
];

export const reduceRows = {
  sum: row<Options>({
    op: ([x], options) => apply(x, options),
    reference,
    // At most 1024 / 4 additions in a row, then those of the chunks; roundings of either sign: about the root.
    magnitude: (xs, options) => reference(absolute(xs), options),
    forward: 8,
    gradient: 2, // a copy, and for a mean one product
    cases: cases.map(([shape, options]) => ({ inputs: [shape], options })),
  }),
};
