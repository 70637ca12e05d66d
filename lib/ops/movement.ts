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
import padWgsl from "../../kernels/pad.wgsl" with { type: "text" };
import { copyDispatch, part, runOf, whole } from "./copy.ts";
import { addN } from "./elementwise.ts";
import { walkGrid } from "./grid.ts";
import { sumTo } from "./reduce.ts";

const padKernel: Kernel = { file: "kernels/pad.wgsl", wgsl: padWgsl };

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
  dispatch: ([x], [y], axes, target) => {
    const strides = stridesOf(x.shape), from = { strides: axes.map((axis) => strides[axis]), offset: 0 };
    return [copyDispatch(y.shape, [x, from], [y, whole(y)], target)];
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
  dispatch: ([x], [y], { axis, start }, target) => [
    copyDispatch(y.shape, [x, part(x, axis, start)], [y, whole(y)], target),
  ],
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
  dispatch: ([x], [y], { axis, start, size }, target) => {
    const L = x.shape[axis], I = sizeOf(x.shape.slice(axis + 1)), unit = I % 4 === 0 ? 4 : 1;
    const run = runOf(I / unit, target), N = sizeOf(y.shape) / unit / run;
    const bind: Dispatch["bind"] = unit === 4 ? { x4: x, y4: y } : { x, y };
    return [{
      kernel: padKernel,
      entry: unit === 4 ? "padBy4" : "pad",
      sizes: { N, L, S: size, I: I / unit, start, run },
      grid: walkGrid(N),
      bind,
    }];
  },
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
  dispatch: (xs, [y], { axis }, target) =>
    starts(xs, axis).map((start, i) =>
      copyDispatch(xs[i].shape, [xs[i], whole(xs[i])], [y, part(y, axis, start)], target)
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
  dispatch: ([x], [y], _, target) => {
    const strides = stridesOf(x.shape), skip = y.shape.length - x.shape.length;
    const from = y.shape.map((_, i) => i < skip || x.shape[i - skip] === 1 ? 0 : strides[i - skip]);
    return [copyDispatch(y.shape, [x, { strides: from, offset: 0 }], [y, whole(y)], target)];
  },
  backward: ({ inputs: [x], dy }) => [sumTo(dy, x.shape)],
  cost: ([x], [y]) => ({ flops: 0, bytes: 4 * (sizeOf(x.shape) + sizeOf(y.shape)) }),
});
/** Repeats axes of size 1, in memory, by NumPy's rules. Binary ops broadcast without it. @throws {ShapeError} */
export const expand = (x: Tensor, shape: Shape): Tensor =>
  sameShape(x.shape, shape) ? x : apply(expandOp, [x], shape);
