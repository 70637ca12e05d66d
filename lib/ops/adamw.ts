/** AdamW on the GPU, a whole shard a launch. Its nodes have no outputs: they change the shards that they bind. */
import { ConfigError } from "../core/errors.ts";
import { sizeOf } from "../core/shape.ts";
import { applyNode, defineOp, type Kernel, type Node } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import wgsl from "../../kernels/adamw.wgsl" with { type: "text" };
import { walkGrid } from "./grid.ts";
import { invocations } from "./rows.ts";

const kernel: Kernel = { file: "kernels/adamw.wgsl", wgsl };

/** Learning rates that the step uniform holds. */
export const MAX_GROUPS = 16;

/** Elements that an invocation looks at: 16 steps of 4 are twice as fast as one, on llvmpipe at 500,032. (Updates are not.) */
const WALK = 64;

/** The numbers of an update, as in torch.optim.AdamW. The learning rate comes with each step. */
export interface AdamwOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
}

interface UpdateAttrs extends AdamwOptions {
  /** Index of the learning rate. */
  readonly group: number;
}

const NONE = {
  N: 0,
  group: 0,
  isLast: 0,
  beta1: 0,
  rest1: 0,
  logBeta1: 0,
  beta2: 0,
  rest2: 0,
  logBeta2: 0,
  eps: 0,
  decay: 0,
};

/** Counts the values of a shard of gradients that are not finite. Inputs: g, status. */
export const countNonFiniteOp = defineOp({
  name: "countNonFinite",
  outputs: () => [],
  dispatch: ([bits, counter]) => {
    const N = sizeOf(bits.shape);
    return [{
      kernel,
      entry: "count",
      sizes: { ...NONE, N },
      grid: walkGrid(N / WALK),
      bind: { bits, counter },
    }];
  },
  cost: ([g]) => ({ flops: 0, bytes: 4 * sizeOf(g.shape) }),
});

/** Updates a shard, unless a gradient of the step is not finite. Inputs: p, g, m, v, steps, status. */
export const adamwOp = defineOp<UpdateAttrs>({
  name: "adamw",
  outputs: () => [],
  dispatch: ([p, g, m, v, steps, status], _, { group, beta1, beta2, eps, weightDecay }) => {
    const N = sizeOf(p.shape);
    const sizes = {
      ...NONE,
      N,
      group,
      beta1,
      rest1: 1 - beta1,
      logBeta1: Math.log(beta1),
      beta2,
      rest2: 1 - beta2,
      logBeta2: Math.log(beta2),
      eps,
      decay: weightDecay,
    };
    return [{
      kernel,
      entry: "update",
      sizes,
      grid: invocations(N / 4),
      bind: { p, g, m, v, steps, status },
    }];
  },
  cost: ([p]) => ({ flops: 16 * sizeOf(p.shape), bytes: 28 * sizeOf(p.shape) }),
});

/** Counts the step for a group, unless it was skipped; after the last group also clears the status. Inputs: steps, status. */
export const advanceOp = defineOp<{ readonly isLast: boolean }>({
  name: "advance",
  outputs: () => [],
  dispatch: ([stepsOut, statusOut], _, { isLast }) => [{
    kernel,
    entry: "advance",
    sizes: { ...NONE, isLast: isLast ? 1 : 0 },
    grid: [1, 1, 1],
    bind: { stepsOut, statusOut },
  }],
  cost: () => ({ flops: 0, bytes: 32 }),
});

/** What one group updates: tensors of source kind "shard", equal offsets in the four of a shard. */
export interface AdamwGroup extends AdamwOptions {
  /** Index of its learning rate, below 16. */
  readonly index: number;
  readonly shards: readonly {
    readonly param: Tensor;
    readonly grad: Tensor;
    readonly m: Tensor;
    readonly v: Tensor;
  }[];
  /** u32 `[1]`: updates so far. */
  readonly steps: Tensor;
}

/**
 * The nodes of one optimiser step, in the order in which they must run: all gradients are looked at before any
 * parameter changes, and the counts advance last.
 *
 * Source: torch.optim.AdamW (decoupled decay, amsgrad off). A step with a gradient that is not finite is skipped
 * whole, as PyTorch's GradScaler does in the released code.
 *
 * @param status u32 `[4]`: values that are not finite (0 between steps), skipped steps, skipped steps in a row, unused.
 * @throws {ConfigError} If a beta is outside (0, 1), or there are more than 16 learning rates.
 */
export function adamwNodes(groups: readonly AdamwGroup[], status: Tensor): Node[] {
  for (const { index, beta1, beta2 } of groups) {
    for (const beta of [beta1, beta2]) {
      if (!(beta > 0 && beta < 1)) throw new ConfigError(`adamw: beta is ${beta}, expected 0 < beta < 1`);
    }
    if (!(index < MAX_GROUPS)) {
      throw new ConfigError(`adamw: learning rate ${index}, there are ${MAX_GROUPS}`);
    }
  }
  const all = groups.flatMap((group) => group.shards.map((shard) => ({ group, shard })));
  return [
    ...all.map(({ shard: { grad } }) => applyNode(countNonFiniteOp, [grad, status], undefined)),
    ...all.map(({ group, shard: { param, grad, m, v } }) => {
      const { index, beta1, beta2, eps, weightDecay, steps } = group;
      const attrs = { group: index, beta1, beta2, eps, weightDecay };
      return applyNode(adamwOp, [param, grad, m, v, steps, status], attrs);
    }),
    ...groups.map(({ steps }, i) =>
      applyNode(advanceOp, [steps, status], { isLast: i === groups.length - 1 })
    ),
  ];
}
