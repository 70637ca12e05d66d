/** Rows of a table by index, with gradients that are the same bits every run. */
import { ShapeError } from "../core/errors.ts";
import { type Shape, showShape, sizeOf } from "../core/shape.ts";
import { apply, defineOp, type Dispatch, type Kernel } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import wgsl from "../../kernels/gather.wgsl" with { type: "text" };
import { fillDispatch } from "./elementwise.ts";
import { checkDType } from "./expression.ts";
import { walkGrid } from "./grid.ts";

const kernel: Kernel = { file: "kernels/gather.wgsl", wgsl };

/** Length of the rows, in vec4s where they are so many. */
function columnsOf({ shape }: Tensor): { readonly by4: boolean; readonly D: number } {
  const D = shape.at(-1) ?? 1, by4 = D % 4 === 0;
  return { by4, D: by4 ? D / 4 : D };
}

/** Row `ids[n]` of `w`, or of the n-th `L` rows of it. */
function gatherDispatch(ids: Tensor, w: Tensor, y: Tensor, rows: { L: number; stride: number }): Dispatch {
  const N = sizeOf(ids.shape), { by4, D } = columnsOf(w);
  return {
    kernel,
    entry: by4 ? "gatherBy4" : "gather",
    sizes: { N, D, ...rows },
    grid: walkGrid(N * D),
    bind: { ids, ...by4 ? { w4: w, y4: y } : { w, y } },
  };
}

export const embeddingOp = defineOp({
  name: "embedding",
  outputs: ([ids, weight]) => {
    checkDType([ids], "u32");
    checkDType([weight], "f32");
    if (weight.shape.length !== 2) {
      throw new ShapeError(`expected a weight [V, D], got ${showShape(weight.shape)}`);
    }
    return [{ shape: [...ids.shape, weight.shape[1]], dtype: "f32" }];
  },
  dispatch: ([ids, w], [y]) => [gatherDispatch(ids, w, y, { L: 1, stride: 0 })],
  backward: (
    { inputs: [ids, weight], dy },
  ) => [undefined, apply(embeddingGradOp, [ids, dy], { shape: weight.shape })],
  cost: ([ids], [y]) => ({ flops: 0, bytes: 4 * sizeOf(ids.shape) + 8 * sizeOf(y.shape) }),
});
/** Gradient of an embedding's weight: ids, dy to `[V, D]`. Its second output chains the positions of each id. */
export const embeddingGradOp = defineOp<{ readonly shape: Shape }>({
  name: "embeddingGrad",
  outputs: ([ids], { shape }) => [{ shape, dtype: "f32" }, { shape: [sizeOf(ids.shape)], dtype: "u32" }],
  dispatch: ([ids, dy], [dw, next]) => {
    const N = sizeOf(ids.shape), { by4, D } = columnsOf(dw), sizes = { N, D, L: 1, stride: 0 };
    const chain: Dispatch = { kernel, entry: "chain", sizes, grid: walkGrid(N), bind: { ids4: ids, next } };
    const sums: Dispatch = {
      kernel,
      entry: by4 ? "sumChainsBy4" : "sumChains",
      sizes,
      grid: walkGrid(N * D),
      bind: { ids, nextIn: next, ...by4 ? { dy4: dy, dw4: dw } : { dy, dw } },
    };
    return [fillDispatch(dw, 0), chain, sums];
  },
  cost: ([, dy], [dw]) => ({ flops: sizeOf(dy.shape), bytes: 4 * (sizeOf(dy.shape) + sizeOf(dw.shape)) }),
});
/**
 * Rows of `weight` by id: u32 `[...]` and `[V, D]` to `[..., D]`. Ids must be below V; nothing checks them on the GPU.
 *
 * @throws {ShapeError} If `ids` are not u32 or the weight is not `[V, D]`.
 */
export const embedding = (ids: Tensor, weight: Tensor): Tensor => apply(embeddingOp, [ids, weight]);

export const takeRowOp = defineOp({
  name: "takeRow",
  outputs: ([x, index]) => {
    checkDType([x], "f32");
    checkDType([index], "u32");
    if (x.shape.length !== 3 || index.shape.length !== 1 || index.shape[0] !== x.shape[0]) {
      throw new ShapeError(
        `expected [B, L, D] and [B], got ${showShape(x.shape)} and ${showShape(index.shape)}`,
      );
    }
    return [{ shape: [x.shape[0], x.shape[2]], dtype: "f32" }];
  },
  dispatch: ([w, ids], [y]) => [gatherDispatch(ids, w, y, { L: w.shape[1], stride: w.shape[1] })],
  backward: ({ inputs: [x, index], dy }) => [apply(takeRowGradOp, [index, dy], { L: x.shape[1] }), undefined],
  cost: (_, [y]) => ({ flops: 0, bytes: 8 * sizeOf(y.shape) }),
});
/** Gradient of `takeRow`: index, dy to `[B, L, D]`. */
export const takeRowGradOp = defineOp<{ readonly L: number }>({
  name: "takeRowGrad",
  outputs: ([, dy], { L }) => [{ shape: [dy.shape[0], L, dy.shape[1]], dtype: "f32" }],
  dispatch: ([ids, dy], [dx]) => {
    const [N, L, D] = dx.shape;
    return [{
      kernel,
      entry: "scatterRow",
      sizes: { N, D, L, stride: L },
      grid: walkGrid(N * L * D),
      bind: { ids, dy, dx },
    }];
  },
  cost: ([, dy], [dx]) => ({ flops: 0, bytes: 4 * (sizeOf(dy.shape) + sizeOf(dx.shape)) }),
});
/**
 * Row `index[b]` of each `x[b]`: `[B, L, D]` and u32 `[B]` to `[B, D]`. CLIP's end-of-text row.
 *
 * @throws {ShapeError} If the shapes are not these.
 */
export const takeRow = (x: Tensor, index: Tensor): Tensor => apply(takeRowOp, [x, index]);
