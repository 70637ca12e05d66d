/** Rows of `lib/ops/movement.ts`: copies, so every bit must be right. */
import { type Shape, sizeOf, stridesOf } from "../../lib/core/shape.ts";
import { concat, expand, padOp, permute, reshape, slice, transpose } from "../../lib/ops/movement.ts";
import { patches } from "../../lib/ops/patches.ts";
import { apply } from "../../lib/tensor/op.ts";
import { type Input, row, type Values } from "../ops_harness.ts";
import { eachIndex, mapElements } from "./reference.ts";

/** A copy is exact; a gradient goes through the loss's one product. */
const EXACT = 0, ONE_PRODUCT = 1;
/** ... or sums what an expansion repeats. */
const SUMMED = 8;

/** Elements of `x` at the places that `place` gives for each index of a shape; 0 where it gives none. */
function gathered(
  x: Values,
  shape: Shape,
  place: (index: readonly number[]) => readonly number[] | undefined,
): Float64Array {
  const y = new Float64Array(sizeOf(shape)), strides = stridesOf(x.shape);
  eachIndex(shape, (index, flat) => {
    const at = place(index);
    if (at) y[flat] = x.data[at.reduce((sum, i, axis) => sum + i * strides[axis], 0)];
  });
  return y;
}
const resized = (shape: Shape, axis: number, size: number) => shape.map((n, i) => i === axis ? size : n);
const moved = (index: readonly number[], axis: number, by: number) =>
  index.map((i, k) => k === axis ? i + by : i);

/** A list of cases as `[shape, options]`. */
const casesOf = <O>(list: readonly [Shape, O][]) =>
  list.map(([shape, options]) => ({ inputs: [shape], options }));

interface PartOptions {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
}

export const movementRows = {
  reshape: row<Shape>({
    op: ([x], shape) => reshape(x, shape),
    reference: ([x]) => x.data,
    forward: EXACT,
    gradient: ONE_PRODUCT,
    cases: casesOf([[[3, 7], [7, 3]], [[4, 6], [2, -1, 3]], [[1], []], [[70_001, 2], [-1]]]),
  }),
  permute: row<readonly number[] | { swap: readonly [number, number] }>({
    op: ([x], order) => "swap" in order ? transpose(x, ...order.swap) : permute(x, order),
    reference: ([x], order) => {
      const rank = x.shape.length;
      const axes = "swap" in order ? x.shape.map((_, i) => i) : order.map((axis) => (axis + rank) % rank);
      if ("swap" in order) {
        const [a, b] = order.swap.map((axis) => (axis + rank) % rank);
        [axes[a], axes[b]] = [b, a];
      }
      return gathered(
        x,
        axes.map((axis) => x.shape[axis]),
        (index) => x.shape.map((_, axis) => index[axes.indexOf(axis)]),
      );
    },
    forward: EXACT,
    gradient: ONE_PRODUCT,
    cases: casesOf<readonly number[] | { swap: readonly [number, number] }>([
      [[3, 7], [1, 0]],
      [[2, 3, 5, 8], [0, 2, 1, 3]], // attention heads, by fours
      [[2, 3, 5, 7], [0, 2, 1, 3]],
      [[2, 3, 4, 5, 6], [4, 2, 0, 3, 1]],
      [[3, 1, 5], [-1, 0, 1]],
      [[2, 3, 5], { swap: [-1, -2] }],
      [[131_101, 2], [1, 0]],
    ]),
  }),
  slice: row<PartOptions>({
    op: ([x], { axis, start, end }) => slice(x, axis, start, end),
    reference: ([x], { axis, start, end }) =>
      gathered(x, resized(x.shape, axis, end - start), (index) => moved(index, axis, start)),
    forward: EXACT,
    gradient: ONE_PRODUCT,
    cases: casesOf([
      [[7], { axis: 0, start: 6, end: 7 }],
      [[3, 7], { axis: 1, start: 2, end: 5 }],
      [[3, 5, 8], { axis: 1, start: 1, end: 4 }],
      [[3, 5, 8], { axis: 2, start: 4, end: 8 }], // by fours: offset, strides and size
      [[3, 5, 8], { axis: 2, start: 2, end: 6 }], // not: the offset
      [[70_001, 2], { axis: 0, start: 1, end: 69_999 }],
    ]),
  }),
  pad: row<PartOptions>({
    op: ([x], { axis, start, end }) => apply(padOp, [x], { axis, start, size: end }),
    reference: ([x], { axis, start, end }) =>
      gathered(x, resized(x.shape, axis, end), (index) => {
        const at = moved(index, axis, -start);
        return at[axis] >= 0 && at[axis] < x.shape[axis] ? at : undefined;
      }),
    forward: EXACT,
    gradient: ONE_PRODUCT,
    cases: casesOf([
      [[1], { axis: 0, start: 6, end: 7 }],
      [[3, 5], { axis: 1, start: 2, end: 11 }],
      [[3, 2, 8], { axis: 1, start: 1, end: 4 }],
      [[70_001, 2], { axis: 0, start: 3, end: 70_007 }],
    ]),
  }),
  concat: row<{ axis: number; sizes: readonly number[]; shape: Shape }>({
    op: (xs, { axis }) => concat(xs, axis),
    reference: (xs, { axis: given, sizes, shape }) => {
      const axis = (given + shape.length) % shape.length;
      const owner = sizes.flatMap((size, k) => Array.from({ length: size }, (_, i) => [k, i]));
      const strides = xs.map((x) => stridesOf(x.shape));
      const y = new Float64Array(xs.reduce((n, x) => n + x.data.length, 0));
      eachIndex(resized(shape, axis, owner.length), (index, flat) => {
        const [k, i] = owner[index[axis]];
        y[flat] = xs[k].data[index.reduce((at, n, a) => at + (a === axis ? i : n) * strides[k][a], 0)];
      });
      return y;
    },
    forward: EXACT,
    gradient: ONE_PRODUCT,
    cases: [
      { axis: 0, sizes: [1, 1], shape: [0] },
      { axis: 1, sizes: [1, 4, 2], shape: [3, 0] },
      { axis: 1, sizes: [4, 12], shape: [2, 0, 8] },
      { axis: -1, sizes: [1, 2], shape: [2, 3, 0] },
      { axis: 0, sizes: [1, 70_001], shape: [0, 2] },
    ].map((options) => ({
      inputs: options.sizes.map((n): Input =>
        resized(options.shape, (options.axis + options.shape.length) % options.shape.length, n)
      ),
      options,
    })),
  }),
  expand: row<Shape>({
    op: ([x], shape) => expand(x, shape),
    reference: ([x], shape) => mapElements([x, { shape, data: new Float64Array(sizeOf(shape)) }], (v) => v),
    forward: EXACT,
    gradient: SUMMED,
    cases: casesOf([
      [[], [3, 7]],
      [[7], [3, 7]],
      [[3, 1], [3, 7]],
      [[1, 2, 4], [5, 2, 4]],
      [[2, 1, 3, 1, 2], [2, 3, 3, 2, 2]],
      [[1, 2], [70_001, 2]],
    ]),
  }),
  patches: row<{ size: number; group: number }>({
    op: (images, options) => patches(images, options),
    reference: (images, { size: p, group: g }) => {
      const y: number[] = [];
      for (const { shape: [B, H, W, C], data } of images) {
        const of = (n: number) => Array.from({ length: n }, (_, i) => i);
        for (const b of of(B)) {
          for (const [r, c] of of(H / (g * p)).flatMap((r) => of(W / (g * p)).map((c) => [r, c]))) {
            for (const [py, px] of of(g).flatMap((py) => of(g).map((px) => [py, px]))) {
              for (const [i, j] of of(p).flatMap((i) => of(p).map((j) => [i, j]))) {
                const row = (r * g + py) * p + i, column = (c * g + px) * p + j;
                for (const k of of(C)) y.push(data[((b * H + row) * W + column) * C + k]);
              }
            }
          }
        }
      }
      return y;
    },
    forward: EXACT,
    noGradient: [0, 1],
    cases: [
      { inputs: [[1, 1, 1, 1]], options: { size: 1, group: 1 } },
      { inputs: [[2, 12, 6, 3], [3, 12, 6, 3]], options: { size: 3, group: 2 } },
      { inputs: [[2, 16, 16, 2], [1, 16, 16, 2]], options: { size: 2, group: 2 } }, // by fours
      { inputs: [[1, 300, 300, 1]], options: { size: 5, group: 3 } },
    ],
  }),
};
