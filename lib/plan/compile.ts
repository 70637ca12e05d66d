/** From a function of tensors to a plan: trace, lower, build. The only way to run anything. */
import { env } from "../core/env.ts";
import type { Shape } from "../core/shape.ts";
import type { Gpu } from "../gpu/device.ts";
import { input, type Tensor, type TensorData } from "../tensor/tensor.ts";
import { recompute } from "../tensor/recompute.ts";
import { type Trace, trace, type TraceOptions } from "../tensor/trace.ts";
import { describePlan } from "./debug.ts";
import { lower, type Lowered, type LowerOptions } from "./lower.ts";
import { Plan, type PlanOptions, type StepInfo } from "./plan.ts";
import { BySignature, type InputSpecs } from "./signatures.ts";
import { State } from "./state.ts";
import { dtypeOf } from "./values.ts";

export type { InputSpecs } from "./signatures.ts";

/** What a traced function gives back. */
export interface Traced {
  /** Values that `Plan.read` gives. */
  readonly outputs?: Readonly<Record<string, Tensor>>;
  /** Small values read through the ring. */
  readonly results?: Readonly<Record<string, Tensor>>;
}

/** The function to compile: inputs by name. */
export type TraceFunction = (inputs: Record<string, Tensor>) => Traced;

/** Options of `compile`. */
export interface CompileOptions
  extends
    Partial<Pick<PlanOptions, "label" | "seed" | "profile" | "guardBytes" | "slabs" | "onProgress">>,
    TraceOptions {
  /** Where the parameters live. Without one, the plan holds its own copy of each parameter's initial value. */
  readonly state?: State;
  /** Computes the inner values of segments again for the gradients instead of keeping them. */
  readonly recompute?: boolean;
  /** Keeps every value until the next run, for `Plan.firstNonFinite`: more memory. Default: `CALA_CHECK_FINITE`. */
  readonly keepValues?: boolean;
  /** False: a launch for each op of the graph, for comparison: the same bits. */
  readonly fused?: boolean;
  /** False: no launch does the work of several of one kernel, for comparison: the same bits. */
  readonly grouped?: boolean;
}

/**
 * Traces `fn` once and builds its plan.
 *
 * @throws {ShapeError} Where shapes do not fit, at the line of the op's call.
 * @throws {GpuError} If a kernel does not compile or memory does not suffice.
 */
export async function compile(
  gpu: Gpu,
  fn: TraceFunction,
  specs: InputSpecs,
  options: CompileOptions = {},
): Promise<Plan> {
  const {
    state,
    label = fn.name || "plan",
    seed = 0,
    guardBytes = 0,
    keepValues = env("CALA_CHECK_FINITE") === 1,
  } = options;
  const noReuse = keepValues || guardBytes > 0;
  const { outputs, results, lowered } = traceAndLower(fn, specs, {
    ...options,
    noReuse,
    target: { deviceClass: gpu.deviceClass, subgroupLanes: gpu.subgroupLanes },
  });
  const own = state ? undefined : new State(gpu, [{ params: [...lowered.params], isTrained: false }]);
  const planState = state ?? own as State;
  try {
    const plan = await Plan.create(gpu, lowered, {
      profile: env("CALA_DEBUG") === 2,
      ...options,
      label,
      seed,
      guardBytes,
      slabs: noReuse ? undefined : options.slabs,
      outputs,
      results,
      state: planState,
      ownsState: !state,
    });
    if (env("CALA_DEBUG") > 0) console.error(describePlan(plan));
    return plan;
  } catch (error) {
    own?.[Symbol.dispose]();
    throw error;
  }
}

/** A function, traced and lowered, not run. */
export interface Inspected extends Pick<Trace<unknown>, "endSite"> {
  readonly traced: Traced;
  readonly lowered: Lowered;
}

/** Traces and lowers `fn`: what it gives back, the parameters it reads, the memory it takes. Needs no device. */
export function inspect(
  fn: TraceFunction,
  specs: InputSpecs,
  options: LowerOptions & Pick<CompileOptions, keyof TraceOptions | "recompute"> = {},
): Inspected {
  const { traced, lowered, endSite } = traceAndLower(fn, specs, options);
  return { traced, lowered, endSite };
}

function traceAndLower(
  fn: TraceFunction,
  specs: InputSpecs,
  options: LowerOptions & Pick<CompileOptions, keyof TraceOptions | "recompute">,
) {
  const inputs = Object.fromEntries(
    Object.entries(specs).map(([name, { shape, dtype = "f32" }]) => [name, input(name, { shape, dtype })]),
  );
  const traced = trace(() => fn(inputs), options), { endSite } = traced;
  const roots = [traced.result.outputs, traced.result.results].flatMap((record) =>
    Object.values(record ?? {})
  );
  const { effects, replace } = options.recompute
    ? recompute(traced, roots)
    : { effects: traced.effects, replace: (t: Tensor) => t };
  const replaceAll = (record: Readonly<Record<string, Tensor>> = {}) =>
    Object.fromEntries(Object.entries(record).map(([name, t]) => [name, replace(t)]));
  const outputs = replaceAll(traced.result.outputs), results = replaceAll(traced.result.results);
  const lowered = lower({ effects }, [...Object.values(outputs), ...Object.values(results)], {
    ...options,
    // Who recomputes wants memory, and launches that wait for each other keep values longer.
    grouped: options.grouped ?? (options.recompute ? false : undefined),
  });
  return { traced: traced.result, outputs, results, lowered, endSite };
}

/** A function with a plan for each input signature. */
export class Program extends BySignature<Plan> {
  /** Compiles nothing yet. */
  constructor(gpu: Gpu, fn: TraceFunction, options: CompileOptions = {}) {
    super(options.label ?? (fn.name || "program"), (specs) => compile(gpu, fn, specs, options));
  }
}

/** An input of `evaluate`: its shape and its values. The dtype follows the array's type. */
export interface InputValue {
  readonly shape: Shape;
  readonly data: TensorData;
}

/**
 * Compiles, runs once, reads everything: for tests and for trying things out. `fn` gives the outputs by name.
 *
 * @example Usage
 * ```ts ignore
 * const { y } = await evaluate(gpu, (t) => ({ y: softmax(t.x) }), { x: { shape: [1, 3], data: new Float32Array([1, 2, 3]) } });
 * ```
 */
export async function evaluate(
  gpu: Gpu,
  fn: (inputs: Record<string, Tensor>) => Readonly<Record<string, Tensor>>,
  inputs: Readonly<Record<string, InputValue>>,
  { guard = false, step, ...options }: CompileOptions & { guard?: boolean; step?: StepInfo } = {},
): Promise<Record<string, { shape: Shape; data: TensorData }>> {
  const specs = Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, data }]) => {
      return [name, { shape, dtype: dtypeOf(data) }];
    }),
  );
  using plan = await compile(gpu, (t) => ({ outputs: fn(t) }), specs, {
    ...options,
    guardBytes: guard ? 256 : 0,
  });
  plan.run(Object.fromEntries(Object.entries(inputs).map(([name, { data }]) => [name, data])), step);
  const values = await plan.read();
  if (guard) {
    const bad = await plan.checkGuards();
    if (bad.length > 0) throw new Error(`written behind the end of ${bad.join(", ")}`);
  }
  return values;
}
