/** Dropout and normal numbers, from counters: nothing is stored, and the same step draws the same numbers. */
import { ConfigError } from "../core/errors.ts";
import { type Shape, showShape, sizeOf } from "../core/shape.ts";
import {
  apply,
  defineOp,
  type Dispatch,
  type Kernel,
  LAST_STEPS,
  type LastStep,
  type OpDef,
} from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { isTraining, microBatch, nextSite } from "../tensor/trace.ts";
import wgsl from "../../kernels/dropout.wgsl" with { type: "text" };
import { invocations } from "./rows.ts";

const kernel: Kernel = { file: "kernels/dropout.wgsl", wgsl };

/** u32 and f32 operations of one block of four random numbers: `kernels/prelude/random.wgsl`. */
const BLOCK_FLOPS = 400;

interface DropoutAttrs {
  readonly p: number;
  /** The place in the program: `nextSite`. */
  readonly site: number;
  /** Elements of a row of the batch, in a trace of a micro-batch; else 0. */
  readonly row: number;
  /** Taken with the last input. */
  readonly last?: LastStep;
}

/** What a launch over `N` elements needs; an invocation has four of them. */
const launch = (N: number, { p, site, row }: DropoutAttrs) => ({
  kernel,
  sizes: { N, site, threshold: Math.min(Math.round(p * 2 ** 32), 2 ** 32 - 1), scale: 1 / (1 - p), row },
  grid: invocations(Math.ceil(N / 4)),
});

/** @throws {ConfigError} In a trace of a micro-batch, if the first axis is not the batch. */
function rowSize(op: string, shape: Shape): number {
  const rows = microBatch();
  if (rows === undefined) return 0;
  if (shape[0] !== rows) {
    throw new ConfigError(`${op} of ${showShape(shape)} in a micro-batch of ${rows} rows`, {
      fix: "random numbers in `encode` need the batch as first axis; or train with --memory recompute",
    });
  }
  return sizeOf(shape) / rows;
}

export const dropoutOp: OpDef<DropoutAttrs> = defineOp<DropoutAttrs>({
  name: "dropout",
  outputs: ([x]) => [x],
  withLast: (attrs, last) => ({ ...attrs, last }),
  dispatch: ([x, other = x], [y], attrs) => {
    const N = sizeOf(x.shape), constants = { lastStep: attrs.last ? LAST_STEPS[attrs.last] : 0 };
    const entry: Pick<Dispatch, "entry" | "bind"> = N % 4 === 0 && attrs.row % 4 === 0
      ? { entry: "dropout4", bind: { x4: x, y4: y, other4: other } }
      : { entry: "dropout", bind: { x, y, other } };
    return [{ ...launch(N, attrs), constants, ...entry }];
  },
  backward: ({ dy, attrs }) => [apply(dropoutOp, [dy], attrs)], // the same site: the same mask
  cost: (inputs, [y]) => ({
    flops: BLOCK_FLOPS / 4 * sizeOf(y.shape),
    bytes: 4 * (inputs.length + 1) * sizeOf(y.shape),
  }),
});

type NormalAttrs = Omit<DropoutAttrs, "p"> & { readonly shape: Shape };
export const randomNormalOp = defineOp<NormalAttrs>({
  name: "randomNormal",
  outputs: (_, { shape }) => [{ shape, dtype: "f32" }],
  dispatch: (_, [y], attrs) => [{
    ...launch(sizeOf(attrs.shape), { ...attrs, p: 0 }),
    entry: "normal",
    bind: { y },
  }],
  cost: (_, __, { shape }) => ({ flops: (BLOCK_FLOPS / 4 + 30) * sizeOf(shape), bytes: 4 * sizeOf(shape) }),
});

/**
 * Dropout: each element is 0 with probability `p`, else it is divided by `1 - p`. Outside training it is `x` itself.
 *
 * Source: torch.nn.functional.dropout; the random numbers are ours (`lib/core/random.ts`).
 *
 * @param p Share of the elements that become 0: in [0, 1).
 * @throws {ConfigError} If `p` is outside [0, 1), or in a micro-batch the first axis of `x` is not the batch.
 */
export function dropout(x: Tensor, p: number): Tensor {
  if (!(p >= 0 && p < 1)) throw new ConfigError(`dropout: p is ${p}, expected 0 <= p < 1`);
  if (!isTraining() || p === 0) return x;
  return apply(dropoutOp, [x], { p, site: nextSite(), row: rowSize("dropout", x.shape) });
}

/** Independent normal numbers, mean 0 and standard deviation 1; new ones at each step. */
export const randomNormal = (shape: Shape): Tensor =>
  apply(randomNormalOp, [], { shape, site: nextSite(), row: rowSize("randomNormal", shape) });
