/** The launch that copies between two strided layouts: what all ops that move elements come down to. */
import { ShapeError } from "../core/errors.ts";
import { type Shape, showShape, sizeOf, stridesOf } from "../core/shape.ts";
import type { Dispatch, Kernel, Target } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import wgsl from "../../kernels/movement.wgsl" with { type: "text" };
import { walkGrid } from "./grid.ts";

const kernel: Kernel = { file: "kernels/movement.wgsl", wgsl };
const MAX_RANK = 6;
const MAX_RUN = 16;

/** How many of `length` neighbours an invocation copies. On a GPU one: neighbouring invocations read neighbours. */
export function runOf(length: number, { deviceClass }: Target): number {
  let run = deviceClass === "software" ? Math.min(MAX_RUN, length) : 1;
  while (length % run !== 0) run--;
  return run;
}

/** One side of a copy: stride of each axis, and the first element. */
export interface Layout {
  readonly strides: readonly number[];
  readonly offset: number;
}

/** All of `x`. */
export const whole = (x: Tensor): Layout => ({ strides: stridesOf(x.shape), offset: 0 });
/** The part of `x` that starts at `start` of an axis. */
export const part = (x: Tensor, axis: number, start: number): Layout => {
  const strides = stridesOf(x.shape);
  return { strides, offset: start * strides[axis] };
};

/** An axis of a copy: its size, and the strides of source and destination. */
type Axis = readonly [size: number, from: number, to: number];

/** Axes of size 1 dropped; neighbours joined where both sides step through them as through one. Outermost first. */
function joinAxes(shape: Shape, from: readonly number[], to: readonly number[]): Axis[] {
  const axes: Axis[] = [];
  shape.forEach((size, i) => {
    const last = axes.at(-1);
    if (size === 1) return;
    if (last && last[1] === from[i] * size && last[2] === to[i] * size) {
      axes[axes.length - 1] = [last[0] * size, from[i], to[i]];
    } else axes.push([size, from[i], to[i]]);
  });
  return axes;
}

/** Copies a block of `shape` from one side to the other. @throws {ShapeError} If too many of its axes are strided. */
export function copyDispatch(
  shape: Shape,
  [src, from]: readonly [Tensor, Layout],
  [dst, to]: readonly [Tensor, Layout],
  target: Target,
): Dispatch {
  const joined = joinAxes(shape, from.strides, to.strides);
  if (joined.length > MAX_RANK) {
    throw new ShapeError(`at most ${MAX_RANK} axes can be moved, got ${showShape(shape)}`);
  }
  const last = joined.at(-1) ?? [1, 1, 1], outer = joined.slice(0, -1);
  const by4 = last[1] === 1 && last[2] === 1 && last[0] % 4 === 0 &&
    [from.offset, to.offset, ...outer.flatMap(([, s, t]) => [s, t])].every((n) => n % 4 === 0);
  const unit = by4 ? 4 : 1, length = last[0] / unit;
  const run = runOf(length, target);
  const axes: Axis[] = [
    ...new Array<Axis>(MAX_RANK - outer.length - 1).fill([1, 0, 0]),
    ...outer.map(([d, s, t]): Axis => [d, s / unit, t / unit]),
    [length / run, run * last[1], run * last[2]],
  ];
  const N = sizeOf(shape) / unit / run;
  return {
    kernel,
    entry: by4 ? "copyBy4" : "copy",
    sizes: {
      ...{ N, run, sRun: last[1], tRun: last[2], sAt: from.offset / unit, tAt: to.offset / unit },
      ...Object.fromEntries(axes.flatMap(([d, s, t], i) => [[`d${i}`, d], [`s${i}`, s], [`t${i}`, t]])),
    },
    grid: walkGrid(N),
    bind: by4 ? { src4: src, dst4: dst } : { src, dst },
  };
}
