/** From a function of tensors to a plan: trace, lower, build. The only way to run anything. */
import { env } from "../core/env.ts";
import { ConfigError } from "../core/errors.ts";
import { type DType, type Shape, showShape } from "../core/shape.ts";
import type { Gpu } from "../gpu/device.ts";
import { input, type Param, type Tensor, type TensorData } from "../tensor/tensor.ts";
import { recompute } from "../tensor/recompute.ts";
import { trace } from "../tensor/trace.ts";
import { describePlan } from "./debug.ts";
import { lower, type Lowered, type LowerOptions } from "./lower.ts";
import { Plan, type PlanOptions, type StepInfo } from "./plan.ts";
import { State } from "./state.ts";
import { dtypeOf } from "./values.ts";

/** Shape and dtype (default f32) of each input. */
export type InputSpecs = Readonly<Record<string, { readonly shape: Shape; readonly dtype?: DType }>>;

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
  extends Partial<Pick<PlanOptions, "label" | "seed" | "profile" | "guardBytes" | "onProgress">> {
  /** Where the parameters live. Without one, the plan holds its own copy of each parameter's initial value. */
  readonly state?: State;
  /** True: dropout drops. */
  readonly isTraining?: boolean;
  /** Computes the inner values of segments again for the gradients instead of keeping them. */
  readonly recompute?: boolean;
  /** Keeps every value until the next run, for `Plan.firstNonFinite`: more memory. Default: `CALA_CHECK_FINITE`. */
  readonly keepValues?: boolean;
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
    isTraining = false,
    state,
    label = fn.name || "plan",
    seed = 0,
    guardBytes = 0,
    recompute: isRecomputed,
    keepValues = env("CALA_CHECK_FINITE") === 1,
  } = options;
  const { outputs, results, lowered } = traceAndLower(fn, specs, {
    isTraining,
    recompute: isRecomputed,
    noReuse: keepValues || guardBytes > 0,
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

/** The parameters that `fn` reads, and what it gives back: traced and lowered, not run. */
export function inspect(
  fn: TraceFunction,
  specs: InputSpecs,
  options: LowerOptions & TraceOptions = {},
): { params: ReadonlySet<Param>; traced: Traced; lowered: Lowered } {
  const { traced, lowered } = traceAndLower(fn, specs, options);
  return { params: lowered.params, traced, lowered };
}

type TraceOptions = Pick<CompileOptions, "isTraining" | "recompute">;

function traceAndLower(
  fn: TraceFunction,
  specs: InputSpecs,
  { isTraining, recompute: isRecomputed = false, ...options }: LowerOptions & TraceOptions,
) {
  const inputs = Object.fromEntries(
    Object.entries(specs).map(([name, { shape, dtype = "f32" }]) => [name, input(name, { shape, dtype })]),
  );
  const traced = trace(() => fn(inputs), { isTraining });
  const roots = [traced.result.outputs, traced.result.results].flatMap((record) =>
    Object.values(record ?? {})
  );
  const { effects, replace } = isRecomputed
    ? recompute(traced, roots)
    : { ...traced, replace: (t: Tensor) => t };
  const replaceAll = (record: Readonly<Record<string, Tensor>> = {}) =>
    Object.fromEntries(Object.entries(record).map(([name, t]) => [name, replace(t)]));
  const outputs = replaceAll(traced.result.outputs), results = replaceAll(traced.result.results);
  const lowered = lower({ effects }, [...Object.values(outputs), ...Object.values(results)], options);
  return { traced: traced.result, outputs, results, lowered };
}

/** Signatures that one program compiles at most: text lengths are padded to few bucket lengths. */
const MAX_SIGNATURES = 4;

/** A function with a plan for each input signature. */
export class Program {
  readonly #gpu: Gpu;
  readonly #fn: TraceFunction;
  readonly #options: CompileOptions;
  readonly #plans = new Map<string, Plan>();

  /** Compiles nothing yet. */
  constructor(gpu: Gpu, fn: TraceFunction, options: CompileOptions = {}) {
    this.#gpu = gpu;
    this.#fn = fn;
    this.#options = options;
  }

  /**
   * The plan of a signature, compiled at its first use.
   *
   * @throws {ConfigError} At the fifth signature: the message names the input whose shape varies.
   */
  async plan(specs: InputSpecs): Promise<Plan> {
    const key = JSON.stringify(
      Object.entries(specs).map(([name, { shape, dtype = "f32" }]) => [name, shape, dtype]),
    );
    const known = this.#plans.get(key);
    if (known) return known;
    if (this.#plans.size === MAX_SIGNATURES) {
      const first = JSON.parse([...this.#plans.keys()][0]) as [string, number[], DType][];
      const other = first.find(([name, shape]) => showShape(specs[name]?.shape ?? []) !== showShape(shape));
      throw new ConfigError(
        `${this.#options.label ?? (this.#fn.name || "program")}: a fifth input signature; "${
          other?.[0]
        }" varies: ${showShape(specs[other?.[0] ?? ""]?.shape ?? [])} after ${showShape(other?.[1] ?? [])}`,
        { fix: "pad to at most four bucket lengths" },
      );
    }
    const plan = await compile(this.#gpu, this.#fn, specs, this.#options);
    this.#plans.set(key, plan);
    return plan;
  }

  /** Disposes all plans. */
  [Symbol.dispose](): void {
    for (const plan of this.#plans.values()) plan[Symbol.dispose]();
    this.#plans.clear();
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
