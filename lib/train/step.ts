/** A training step: what it computes, what it will need, and how it is compiled. */
import type { Gpu } from "../gpu/device.ts";
import type { Embeddings } from "../nn/frame.ts";
import { grad } from "../ops/grad.ts";
import { compile, type InputSpecs, inspect } from "../plan/compile.ts";
import type { Lowered, LowerOptions } from "../plan/lower.ts";
import type { Plan, StepInfo } from "../plan/plan.ts";
import { SlabPool } from "../plan/slab_pool.ts";
import type { State } from "../plan/state.ts";
import { StateLayout } from "../plan/state_layout.ts";
import { type PlannedMemory, plannedMemory } from "../plan/planned.ts";
import type { Param, Tensor } from "../tensor/tensor.ts";
import { addEffect } from "../tensor/trace.ts";
import type { Inputs } from "./batch.ts";
import type { AdamW } from "./optimizer.ts";

/** Named scalars. `loss` is what is minimised; all are logged. */
export interface LossTerms {
  readonly loss: Tensor;
  readonly [term: string]: Tensor | undefined;
}

/** What is computed: the encoders apart from the loss, in a trace. */
export interface StepFunctions {
  encode(inputs: Record<string, Tensor>): Embeddings;
  loss(encoded: Embeddings): LossTerms;
  /** The optimiser's parameters, whether the loss depends on them or not. */
  readonly trainable: readonly Param[];
}

/** A step, compiled for one signature. */
export interface StepPlan extends Disposable, Pick<Plan, "label" | "results" | "profile" | "firstNonFinite"> {
  /** Submits the whole step. Does not wait. */
  run(values: Inputs, info: StepInfo): void;
}

/** What a step will be, before anything is allocated. */
export interface PlannedStep {
  /** The parameters that the loss depends on: those that get gradients and moments. */
  readonly trained: ReadonlySet<Param>;
  /** Its plans. Those of one list never hold values at the same time: they share slabs, filled up in this order. */
  readonly plans: readonly (readonly Lowered[])[];
}

/** What compiling a step needs. */
export interface StepOptions {
  readonly gpu: Gpu;
  readonly state: State;
  readonly adamw: AdamW;
  readonly seed: number;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** What planning may know: the device, and how the state lies. */
export type StepPlanOptions = Pick<LowerOptions, "target" | "state">;

/** A way to make steps. */
export interface StepMaker {
  /** Needs no device. */
  plan(specs: InputSpecs, options?: StepPlanOptions): PlannedStep;
  /** Compiles one signature after another. The slabs of the largest one, which was planned, are allocated at once. */
  compiler(options: StepOptions, largest: PlannedStep): StepCompiler;
}

/** A step with the state that it changes, before either is allocated. */
export interface PlannedTraining {
  readonly layout: StateLayout;
  readonly step: PlannedStep;
  readonly memory: PlannedMemory;
}

/**
 * Plans a step and its state. Which parameters the loss depends on decides which have gradients and moments, so how the
 * state lies; that decides what the step reads in place.
 *
 * @param params All parameters of the model.
 * @param bindingLimit Bytes that the device binds at most; default the 128 MiB that all do.
 */
export function planTraining(
  maker: StepMaker,
  adamw: AdamW,
  params: Iterable<Param>,
  specs: InputSpecs,
  { bindingLimit = 2 ** 27, target }: { bindingLimit?: number; target?: StepPlanOptions["target"] } = {},
): PlannedTraining {
  const { trained } = maker.plan(specs, { target });
  const layout = new StateLayout(adamw.stateGroups(params, (param) => trained.has(param)), bindingLimit);
  const step = maker.plan(specs, { target, state: layout });
  return { layout, step, memory: plannedMemory(layout, step.plans) };
}

/** Compiles steps; owns what they share. */
export interface StepCompiler extends Disposable {
  compile(specs: InputSpecs): Promise<StepPlan>;
}

/** The name under which the optimiser's counts come through the ring. */
export const STATUS = "optimizer status";

/** The pools of a step's plans, filled. */
export const poolsOf = (gpu: Gpu, { plans }: PlannedStep): SlabPool[] =>
  plans.map((list) => {
    const pool = new SlabPool(gpu, "training step");
    for (const { slabs } of list) pool.take(slabs);
    return pool;
  });

/** The terms that there are. */
export const presentTerms = (terms: LossTerms): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(terms).flatMap(([name, t]) => t ? [[name, t]] : []));

/** The step as one plan. `recompute` computes each layer again for its gradients. */
export function wholeStep(
  { encode, loss, trainable }: StepFunctions,
  { recompute }: { recompute: boolean },
): StepMaker {
  const step = (inputs: Record<string, Tensor>) => {
    const terms = loss(encode(inputs));
    return { results: presentTerms(terms), grads: grad(terms.loss, trainable) };
  };
  return {
    plan(specs, options) {
      const trained = new Set<Param>();
      const { lowered } = inspect(
        (inputs) => {
          const { results, grads } = step(inputs);
          for (const param of trainable) {
            const value = grads.get(param);
            if (!value) continue;
            trained.add(param);
            addEffect({ kind: "assign", param, buffer: "grad", value });
          }
          return { results };
        },
        specs,
        { ...options, isTraining: true, recompute },
      );
      return { trained, plans: [[lowered]] };
    },
    compiler({ gpu, state, adamw, ...options }, largest) {
      const [slabs] = poolsOf(gpu, largest);
      return {
        compile: (specs) =>
          compile(
            gpu,
            (inputs) => {
              const { results, grads } = step(inputs);
              adamw.update(state, grads);
              return { results: { ...results, [STATUS]: state.status } };
            },
            specs,
            { ...options, label: "training step", state, isTraining: true, recompute, slabs },
          ),
        [Symbol.dispose]: () => slabs[Symbol.dispose](),
      };
    },
  };
}
