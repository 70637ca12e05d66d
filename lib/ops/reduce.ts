/** Sums and means over axes, in a fixed order: same bits every run. */
import { ShapeError } from "../core/errors.ts";
import { axisOf, broadcastShapes, sameShape, type Shape, showShape, sizeOf } from "../core/shape.ts";
import { apply, defineOp, type Dispatch, type Kernel } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import wgsl from "../../kernels/reduce.wgsl" with { type: "text" };
import { scale } from "./elementwise.ts";
import { checkDType } from "./expression.ts";
import { walkGrid } from "./grid.ts";
import { expand, reshape } from "./movement.ts";

const kernel: Kernel = { file: "kernels/reduce.wgsl", wgsl };

/** Elements that one invocation sums at most: bounds rounding, and the time of a lone invocation. */
const MAX_CHUNK = 1024;
/** Sums side by side that a GPU needs to be busy: shorter chunks, down to the least, where there are fewer. */
const ENOUGH_SUMS = 8192;
const MIN_CHUNK = 512;

interface SumAttrs {
  /** Sums over the axes `begin` to `end - 1`. */
  readonly begin: number;
  readonly end: number;
  readonly scale: number;
}

/** `[O, R, I]` of a sum over neighbouring axes, and the number of chunks that R is cut into. */
function sizesOf(x: Tensor, { begin, end }: SumAttrs) {
  const O = sizeOf(x.shape.slice(0, begin)),
    R = sizeOf(x.shape.slice(begin, end)),
    I = sizeOf(x.shape.slice(end));
  const wanted = Math.min(Math.ceil(R / MIN_CHUNK), Math.floor(ENOUGH_SUMS / (O * I)), MIN_CHUNK);
  const S = Math.max(1, wanted, Math.ceil(R / MAX_CHUNK));
  return { O, R, I, S };
}

export const sumOp = defineOp<SumAttrs>({
  name: "sum",
  outputs: ([x], attrs) => {
    checkDType([x], "f32");
    const { O, I, S } = sizesOf(x, attrs);
    const shape = x.shape.map((n, i) => attrs.begin <= i && i < attrs.end ? 1 : n);
    return [{ shape, dtype: "f32" }, ...S > 1 ? [{ shape: [O, S, I], dtype: "f32" as const }] : []];
  },
  dispatch: ([x], [y, chunks], attrs) => {
    const { O, R, I, S } = sizesOf(x, attrs);
    const launch = (R: number, S: number, scale: number, from: Tensor, to: Tensor): Dispatch => ({
      kernel,
      entry: "sumChunks",
      sizes: { O, R, I, S, chunk: Math.ceil(R / S), scale },
      grid: walkGrid(O * S * I),
      bind: { x: from, y: to },
    });
    if (!chunks) return [launch(R, 1, attrs.scale, x, y)];
    return [launch(R, S, 1, x, chunks), launch(S, 1, attrs.scale, chunks, y)];
  },
  backward: (
    { inputs: [x], dy, attrs },
  ) => [expand(attrs.scale === 1 ? dy : scale(dy, attrs.scale), x.shape)],
  cost: ([x], [y]) => ({ flops: sizeOf(x.shape), bytes: 4 * (sizeOf(x.shape) + sizeOf(y.shape)) }),
});

/** Options of `sum` and `mean`. */
export interface ReduceOptions {
  /** Default: all axes. */
  readonly axis?: number | readonly number[];
  /** True: the summed axes stay, with size 1. */
  readonly keepDims?: boolean;
}

/** Sums the axes and multiplies by `factor`: one launch a run of neighbouring axes, the innermost first. */
function reduce(x: Tensor, axes: readonly number[], factor: number): Tensor {
  const isSummed = x.shape.map((n, i) => n > 1 && axes.includes(i));
  // A size of 1 between two summed axes does not part them.
  const joins = (i: number) => i >= 0 && (isSummed[i] || x.shape[i] === 1);
  let y = x;
  for (let end = x.shape.length; end > 0; end--) {
    if (!isSummed[end - 1]) continue;
    let begin = end - 1;
    while (joins(begin - 1)) begin--;
    const isLast = !isSummed.slice(0, begin).includes(true);
    y = apply(sumOp, [y], { begin, end, scale: isLast ? factor : 1 });
    end = begin + 1;
  }
  return y;
}

function reduceAxes(x: Tensor, { axis, keepDims = false }: ReduceOptions, isMean: boolean): Tensor {
  const all = axis === undefined ? x.shape.map((_, i) => i) : [axis].flat();
  const axes = all.map((a) => axisOf(a, x.shape.length));
  const count = axes.reduce((n, a) => n * x.shape[a], 1);
  const y = reduce(x, axes, isMean ? 1 / count : 1);
  return keepDims ? y : reshape(y, y.shape.filter((_, i) => !axes.includes(i)));
}

/** Sum over axes. @throws {ShapeError} If there is no such axis. */
export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => reduceAxes(x, options, false);
/** Mean over axes. @throws {ShapeError} If there is no such axis. */
export const mean = (x: Tensor, options: ReduceOptions = {}): Tensor => reduceAxes(x, options, true);

/** Sums the axes that broadcasting from `shape` repeats: the gradient of broadcasting. @throws {ShapeError} */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  if (!sameShape(broadcastShapes(x.shape, shape), x.shape)) {
    throw new ShapeError(`sumTo: ${showShape(shape)} does not expand to ${showShape(x.shape)}`);
  }
  const skip = x.shape.length - shape.length;
  const axes = x.shape.flatMap((_, i) => i < skip || shape[i - skip] === 1 ? [i] : []);
  return reshape(reduce(x, axes, 1), shape);
}
