/** Ops that move elements and compute nothing: all are views or strided copies, and so are their gradients. */
import { ShapeError } from "../core/errors.ts";
import {
  axisOf,
  broadcastShapes,
  sameShape,
  type Shape,
  showShape,
  sizeOf,
  stridesOf,
} from "../core/shape.ts";
import { apply, type Cost, defineOp, type Dispatch, type Kernel, type OpDef } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import wgsl from "../../kernels/movement.wgsl" with { type: "text" };
import { addN, fillDispatch } from "./elementwise.ts";
import { walkGrid } from "./grid.ts";
import { sumTo } from "./reduce.ts";

const kernel: Kernel = { file: "kernels/movement.wgsl", wgsl };
const MAX_RANK = 5;

/** One side of a copy: stride of each axis, and the first element. */
interface Layout {
  readonly strides: readonly number[];
  readonly offset: number;
}

/** Axes of size 1 dropped; neighbours joined where both sides step through them as through one. Outermost first. */
function joinAxes(shape: Shape, from: readonly number[], to: readonly number[]): [number, number, number][] {
  const axes: [number, number, number][] = [];
  shape.forEach((size, i) => {
    const last = axes.at(-1);
    if (size === 1) return;
    if (last && last[1] === from[i] * size && last[2] === to[i] * size) {
      axes[axes.length - 1] = [last[0] * size, from[i], to[i]];
    } else axes.push([size, from[i], to[i]]);
  });
  return axes;
}

/** Copies a block of `shape` from `src` to `dst`. */
function copyDispatch(shape: Shape, src: Tensor, from: Layout, dst: Tensor, to: Layout): Dispatch {
  let axes = joinAxes(shape, from.strides, to.strides);
  if (axes.length > MAX_RANK) {
    throw new ShapeError(`at most ${MAX_RANK} axes can be moved, got ${showShape(shape)}`);
  }
  const last = axes.at(-1);
  const by4 = last !== undefined && last[1] === 1 && last[2] === 1 && last[0] % 4 === 0 &&
    [from.offset, to.offset, ...axes.slice(0, -1).flatMap(([, s, t]) => [s, t])].every((n) => n % 4 === 0);
  const unit = by4 ? 4 : 1;
  if (by4) axes = axes.map(([d, s, t], i) => i === axes.length - 1 ? [d / 4, 1, 1] : [d, s / 4, t / 4]);
  const [a0, a1, a2, a3, a4] = [
    ...new Array<[number, number, number]>(MAX_RANK - axes.length).fill([1, 0, 0]),
    ...axes,
  ];
  const N = sizeOf(shape) / unit;
  return {
    kernel,
    entry: by4 ? "copyBy4" : "copy",
    sizes: {
      ...{ N, d1: a1[0], d2: a2[0], d3: a3[0], d4: a4[0] },
      ...{ s0: a0[1], s1: a1[1], s2: a2[1], s3: a3[1], s4: a4[1], sAt: from.offset / unit },
      ...{ t0: a0[2], t1: a1[2], t2: a2[2], t3: a3[2], t4: a4[2], tAt: to.offset / unit },
    },
    grid: walkGrid(N),
    bind: by4 ? { src4: src, dst4: dst } : { src, dst },
  };
}

const whole = (x: Tensor): Layout => ({ strides: stridesOf(x.shape), offset: 0 });
/** The part of `x` that starts at `start` of an axis. */
const part = (x: Tensor, axis: number, start: number): Layout => {
  const strides = stridesOf(x.shape);
  return { strides, offset: start * strides[axis] };
};
/** `shape` with another size of one axis. */
const resized = (shape: Shape, axis: number, size: number): Shape =>
  shape.map((n, i) => i === axis ? size : n);
/** Reads and writes the elements of the outputs. */
const copyCost = (_: readonly Tensor[], [y]: readonly Tensor[]): Cost => ({
  flops: 0,
  bytes: 8 * sizeOf(y.shape),
});

export const reshapeOp = defineOp<Shape>({
  name: "reshape",
  isView: true,
  outputs: ([x], shape) => {
    if (sizeOf(shape) !== sizeOf(x.shape) || shape.some((n) => n < 0)) {
      throw new ShapeError(`${showShape(x.shape)} does not fill ${showShape(shape)}`);
    }
    return [{ shape, dtype: x.dtype }];
  },
  dispatch: () => [],
  backward: ({ inputs: [x], dy }) => [reshape(dy, x.shape)],
  cost: () => ({ flops: 0, bytes: 0 }),
});
/** The same elements under another shape; one size may be -1. Moves nothing. @throws {ShapeError} */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const rest = sizeOf(x.shape) / -sizeOf(shape); // of a shape with one -1
  const full = rest > 0 && Number.isInteger(rest) ? shape.map((n) => n === -1 ? rest : n) : shape;
  return sameShape(full, x.shape) ? x : apply(reshapeOp, [x], full);
}

export const permuteOp = defineOp<readonly number[]>({
  name: "permute",
  outputs: ([x], axes) => {
    if (axes.length !== x.shape.length || new Set(axes).size !== axes.length) {
      throw new ShapeError(`${showShape(axes)} is no order of the axes of ${showShape(x.shape)}`);
    }
    return [{ shape: axes.map((axis) => x.shape[axis]), dtype: x.dtype }];
  },
  dispatch: ([x], [y], axes) => {
    const strides = stridesOf(x.shape);
    return [copyDispatch(y.shape, x, { strides: axes.map((axis) => strides[axis]), offset: 0 }, y, whole(y))];
  },
  backward: ({ dy, attrs: axes }) => [permute(dy, axes.map((_, i) => axes.indexOf(i)))],
  cost: copyCost,
});
/** Axis i of the result is axis `axes[i]` of `x`. @throws {ShapeError} */
export function permute(x: Tensor, axes: readonly number[]): Tensor {
  const order = axes.map((axis) => axisOf(axis, x.shape.length));
  return order.length === x.shape.length && order.every((axis, i) => axis === i)
    ? x
    : apply(permuteOp, [x], order);
}
/** Swaps two axes. @throws {ShapeError} */
export function transpose(x: Tensor, axis0: number, axis1: number): Tensor {
  const a = axisOf(axis0, x.shape.length), b = axisOf(axis1, x.shape.length);
  return permute(x, x.shape.map((_, i) => i === a ? b : i === b ? a : i));
}

/** Attributes of a slice: elements `start` to `end - 1` of an axis. */
export interface SliceAttrs {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
}
export const sliceOp = defineOp<SliceAttrs>({
  name: "slice",
  outputs: ([x], { axis, start, end }) => {
    if (
      !(Number.isInteger(start) && Number.isInteger(end) && 0 <= start && start < end && end <= x.shape[axis])
    ) {
      throw new ShapeError(`${start} to ${end} is no part of axis ${axis} of ${showShape(x.shape)}`);
    }
    return [{ shape: resized(x.shape, axis, end - start), dtype: x.dtype }];
  },
  dispatch: ([x], [y], { axis, start }) => [copyDispatch(y.shape, x, part(x, axis, start), y, whole(y))],
  backward: (
    { inputs: [x], dy, attrs: { axis, start } },
  ) => [apply(padOp, [dy], { axis, start, size: x.shape[axis] })],
  cost: copyCost,
});
/** Elements `start` (included) to `end` (excluded) of an axis. @throws {ShapeError} */
export function slice(x: Tensor, axis: number, start: number, end: number): Tensor {
  const a = axisOf(axis, x.shape.length);
  return start === 0 && end === x.shape[a] ? x : apply(sliceOp, [x], { axis: a, start, end });
}

interface PadAttrs {
  readonly axis: number;
  readonly start: number;
  /** Size of the axis afterwards. */
  readonly size: number;
}
/** Gradient of a slice: zeros round `x`, which begins at `start` of an axis of `size`. */
export const padOp = defineOp<PadAttrs>({
  name: "pad",
  outputs: ([x], { axis, size }) => [{ shape: resized(x.shape, axis, size), dtype: x.dtype }],
  dispatch: ([x], [y], { axis, start }) => [
    fillDispatch(y, 0),
    copyDispatch(x.shape, x, whole(x), y, part(y, axis, start)),
  ],
  backward: ({ inputs: [x], dy, attrs: { axis, start } }) => [slice(dy, axis, start, start + x.shape[axis])],
  cost: ([x], [y]) => ({ flops: 0, bytes: 4 * (sizeOf(x.shape) + sizeOf(y.shape)) }),
});

/**
 * The sum of gradients of one tensor. Those of slices that part an axis without gap or overlap are joined: no zeros, no
 * additions, the same bits but for the sign of a zero.
 */
export function sumOfParts(terms: readonly Tensor[]): Tensor {
  const pads = terms.flatMap(({ source }) =>
    source.kind === "op" && source.node.op === padOp as OpDef<unknown>
      ? [{ part: source.node.inputs[0], ...source.node.attrs as PadAttrs }]
      : []
  ).sort((a, b) => a.start - b.start);
  const isParting = pads.length === terms.length && pads.every(({ axis, start }, i) => {
    const before = pads[i - 1];
    return axis === pads[0].axis && start === (before ? before.start + before.part.shape[axis] : 0);
  });
  const last = pads.at(-1);
  return isParting && last && last.start + last.part.shape[last.axis] === last.size
    ? concat(pads.map(({ part }) => part), last.axis)
    : addN(terms);
}

export const concatOp = defineOp<{ readonly axis: number }>({
  name: "concat",
  outputs: (xs, { axis }) => {
    for (const x of xs) {
      if (!sameShape(resized(x.shape, axis, 0), resized(xs[0].shape, axis, 0)) || x.dtype !== xs[0].dtype) {
        throw new ShapeError(
          `${xs[0].dtype} ${showShape(xs[0].shape)} and ${x.dtype} ${
            showShape(x.shape)
          } do not join along axis ${axis}`,
        );
      }
    }
    const size = xs.reduce((n, x) => n + x.shape[axis], 0);
    return [{ shape: resized(xs[0].shape, axis, size), dtype: xs[0].dtype }];
  },
  dispatch: (xs, [y], { axis }) =>
    starts(xs, axis).map((start, i) =>
      copyDispatch(xs[i].shape, xs[i], whole(xs[i]), y, part(y, axis, start))
    ),
  backward: ({ inputs: xs, dy, attrs: { axis } }) =>
    starts(xs, axis).map((start, i) => slice(dy, axis, start, start + xs[i].shape[axis])),
  cost: copyCost,
});
/** Where each of the joined tensors begins. */
function starts(xs: readonly Tensor[], axis: number): number[] {
  let next = 0;
  return xs.map((x) => (next += x.shape[axis]) - x.shape[axis]);
}
/** Joins one or more tensors along an axis. Neighbouring slices of one tensor are its part: no copy. @throws {ShapeError} */
export function concat(xs: readonly Tensor[], axis: number): Tensor {
  if (xs.length === 0) throw new ShapeError("concat: expected at least one tensor, got none");
  if (xs.length === 1) return xs[0];
  const a = axisOf(axis, xs[0].shape.length);
  return joined(xs, a) ?? apply(concatOp, xs, { axis: a });
}

/** The part of a tensor that slices of it make together, one behind the other; undefined if they are none. */
export function joined(xs: readonly Tensor[], axis: number): Tensor | undefined {
  const slices = xs.flatMap(({ source }) =>
    source.kind === "op" && source.node.op === sliceOp as OpDef<unknown>
      ? [{ of: source.node.inputs[0], ...source.node.attrs as SliceAttrs }]
      : []
  );
  const [first] = slices, last = slices.at(-1);
  const fits = slices.length === xs.length &&
    slices.every((s, i) =>
      s.of === first.of && s.axis === axis && (i === 0 || s.start === slices[i - 1].end)
    );
  return fits && last ? slice(first.of, axis, first.start, last.end) : undefined;
}

export const expandOp = defineOp<Shape>({
  name: "expand",
  outputs: ([x], shape) => {
    if (!sameShape(broadcastShapes(x.shape, shape), shape)) {
      throw new ShapeError(`${showShape(x.shape)} does not expand to ${showShape(shape)}`);
    }
    return [{ shape, dtype: x.dtype }];
  },
  dispatch: ([x], [y]) => {
    const strides = stridesOf(x.shape), skip = y.shape.length - x.shape.length;
    const from = y.shape.map((_, i) => i < skip || x.shape[i - skip] === 1 ? 0 : strides[i - skip]);
    return [copyDispatch(y.shape, x, { strides: from, offset: 0 }, y, whole(y))];
  },
  backward: ({ inputs: [x], dy }) => [sumTo(dy, x.shape)],
  cost: ([x], [y]) => ({ flops: 0, bytes: 4 * (sizeOf(x.shape) + sizeOf(y.shape)) }),
});
/** Repeats axes of size 1, in memory, by NumPy's rules. Binary ops broadcast without it. @throws {ShapeError} */
export const expand = (x: Tensor, shape: Shape): Tensor =>
  sameShape(x.shape, shape) ? x : apply(expandOp, [x], shape);
