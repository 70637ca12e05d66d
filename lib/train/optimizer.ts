/** AdamW over shards: which parameters, which rates, and the nodes that update them at the end of a step. */
import { ConfigError } from "../core/errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { adamwNodes, MAX_GROUPS } from "../ops/adamw.ts";
import { State } from "../plan/state.ts";
import type { StateGroup } from "../plan/state_layout.ts";
import type { Param, Tensor } from "../tensor/tensor.ts";
import { addEffect } from "../tensor/trace.ts";

/** Parameters with one learning rate. */
export interface ParamGroup {
  readonly params: readonly Param[];
  /** Learning rate before the schedule. */
  readonly lr: number;
  /** True if the schedule scales it; the released code schedules group 0 alone (quirk Q15). */
  readonly isScheduled: boolean;
}

/** Options of AdamW: PyTorch's names and defaults, but for the weight decay, which is CaLa's. */
export interface AdamWOptions {
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  /** Decoupled; on every parameter, biases and norms too (quirk Q49). */
  readonly weightDecay?: number;
}

/**
 * AdamW (Loshchilov and Hutter, 2019) as PyTorch computes it, one launch a shard.
 * A parameter without a gradient is left alone whole: no decay, no moments, no count. One whose gradient is zero decays.
 * A step in which any gradient is not finite changes nothing and is counted in `State.status`.
 */
export class AdamW {
  readonly groups: readonly ParamGroup[];
  readonly #options: Required<AdamWOptions>;

  /** @throws {ConfigError} If there are more than 16 groups, or a rate or option is out of range. */
  constructor(
    groups: readonly ParamGroup[],
    { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.05 }: AdamWOptions = {},
  ) {
    if (groups.length > MAX_GROUPS) {
      throw new ConfigError(`${groups.length} parameter groups, at most ${MAX_GROUPS}`);
    }
    for (const { lr } of groups) {
      if (!(lr >= 0 && lr < Infinity)) throw new ConfigError(`a learning rate is ${lr}`);
    }
    if (!betas.every((b) => b > 0 && b < 1)) {
      throw new ConfigError(`betas are ${betas.join(", ")}, not in (0, 1)`);
    }
    if (!(eps > 0)) throw new ConfigError(`eps is ${eps}, not above 0`);
    if (!(weightDecay >= 0)) throw new ConfigError(`weight decay is ${weightDecay}, below 0`);
    this.groups = groups;
    this.#options = { betas, eps, weightDecay };
  }

  /**
   * How the state of a model is grouped: a trained group for each of the optimiser's, and one more for all that is not
   * trained.
   *
   * @param params All parameters of the model.
   * @param hasGradient Those that the loss depends on.
   */
  stateGroups(params: Iterable<Param>, hasGradient: (param: Param) => boolean): StateGroup[] {
    const trained = this.groups.map((g) => ({ params: g.params.filter(hasGradient), isTrained: true }));
    const inGroup = new Set(trained.flatMap((g) => g.params));
    return [...trained, { params: [...params].filter((p) => !inGroup.has(p)), isTrained: false }];
  }

  /** The state of a model, by `stateGroups`. */
  createState(gpu: Gpu, params: Iterable<Param>, hasGradient: (param: Param) => boolean): State {
    return new State(gpu, this.stateGroups(params, hasGradient));
  }

  /**
   * Adds the gradients and the update to the trace.
   *
   * @throws {ConfigError} If a parameter of a trained group has no gradient here: the whole shard would be decayed.
   */
  update(state: State, grads: ReadonlyMap<Tensor, Tensor>): void {
    for (const { params, isTrained } of state.groups) {
      if (!isTrained) continue;
      for (const param of params) {
        const value = grads.get(param);
        if (!value) {
          throw new ConfigError(
            `"${param.source.name}" is in a trained group but the loss does not depend on it`,
          );
        }
        addEffect({ kind: "assign", param, buffer: "grad", value });
      }
    }
    this.apply(state);
  }

  /** Adds the update to the trace, by the gradients that are in the state. */
  apply(state: State): void {
    const { betas: [beta1, beta2], eps, weightDecay } = this.#options;
    const groups = state.groups.flatMap(({ params, isTrained }, i) => {
      if (!isTrained || params.length === 0) return [];
      const [param, grad, m, v] = (["param", "grad", "m", "v"] as const).map((buffer) =>
        state.shardsOf(i, buffer)
      );
      const shards = param.map((_, s) => ({ param: param[s], grad: grad[s], m: m[s], v: v[s] }));
      return [{ index: i, beta1, beta2, eps, weightDecay, shards, steps: state.stepsOf(i) }];
    });
    for (const node of adamwNodes(groups, state.status)) addEffect({ kind: "node", node });
  }

  /** Each group's learning rate: the schedule's factor on the scheduled ones. */
  learningRates(factor: number): number[] {
    return this.groups.map(({ lr, isScheduled }) => isScheduled ? lr * factor : lr);
  }
}
