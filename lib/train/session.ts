/** An experiment, opened: its data, its model and their parameters on the GPU. */
import { env } from "../core/env.ts";
import { ConfigError } from "../core/errors.ts";
import { TrainLoader } from "../data/loader.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Embeddings, Frame, TripletBatch } from "../nn/frame.ts";
import { type Ceilings, measureCeilings } from "../plan/ceilings.ts";
import { checkMemory, describeMemory, type PlannedMemory } from "../plan/planned.ts";
import { BySignature } from "../plan/signatures.ts";
import { State } from "../plan/state.ts";
import type { Param } from "../tensor/tensor.ts";
import { BatchReader, type ExperimentData, tripletBatch } from "./batch.ts";
import type { TrainingConfig } from "./config.ts";
import { gradCacheStep } from "./gradcache.ts";
import type { AdamW } from "./optimizer.ts";
import type { LiveImages } from "./live_images.ts";
import type { Progress } from "./progress.ts";
import type { Schedule } from "./rate.ts";
import {
  type LossTerms,
  planTraining,
  type StepCompiler,
  type StepFunctions,
  type StepPlan,
  wholeStep,
} from "./step.ts";

/** What is trained: a frame, and heads that only training needs. */
export interface Model {
  readonly frame: Frame;
  readonly heads?: { readonly params: ReadonlyMap<string, Param> };
}

/** What a run offers to an experiment's functions. */
export interface RunContext {
  /** Folder of what can be made again: `CALA_CACHE`. */
  readonly cacheDir: string;
  /** Where a run is measured, not trained: its checkpoint, whose values replace those that `model` gives. */
  readonly checkpoint?: string;
  /** Says what takes long; the next line replaces it. */
  progress(text: string): void;
  /** Says what is worth keeping. */
  note(text: string): void;
}

/** What varies between methods, and nothing else. `C` is the configuration, `D` the data, `M` the model. */
export interface ExperimentFunctions<C, D extends ExperimentData, M extends Model, E extends Embeddings> {
  data(run: RunContext, config: C): D | Promise<D>;
  model(run: RunContext, config: C, data: D): M | Promise<M>;
  /** Embeddings of a batch, apart from the loss: it alone may run in micro-batches. */
  encode(model: M, batch: TripletBatch, config: C): E;
  loss(model: M, encoded: E, config: C): LossTerms;
  optimizer(model: M, config: C): { readonly adamw: AdamW; readonly schedule: Schedule };
}

/** What a run offers, its progress on stderr. Where progress is told, Ctrl-C ends what takes long. */
export const contextOf = (progress: Progress, signal?: AbortSignal): RunContext => ({
  cacheDir: env("CALA_CACHE"),
  progress(text) {
    signal?.throwIfAborted();
    progress.live(text);
  },
  note: (text) => progress.note(text),
});

/** An experiment's functions, whatever its model. */
export type AnyFunctions = ExperimentFunctions<TrainingConfig, ExperimentData, Model, Embeddings>;

/** Data and model without the GPU. */
export interface OpenedModel {
  readonly data: ExperimentData;
  readonly model: Model;
  /** Every parameter by its checkpoint key. */
  readonly params: ReadonlyMap<string, Param>;
}

/** Opens data and model. @throws {ConfigError} If two parameters have one checkpoint key. */
export async function openModel(
  functions: AnyFunctions,
  config: TrainingConfig,
  context: RunContext,
): Promise<OpenedModel> {
  const data = await functions.data(context, config);
  const model = await functions.model(context, config, data);
  const params = new Map(model.frame.params);
  for (const [key, param] of [...model.heads?.params ?? [], ...data.live?.params ?? []]) {
    if (params.has(key)) throw new ConfigError(`two parameters have the key "${key}"`);
    params.set(key, param);
  }
  return { data, model, params };
}

/** The step that a configuration asks for, and its optimiser. */
export function stepOf(functions: AnyFunctions, config: TrainingConfig, model: Model) {
  const { adamw, schedule } = functions.optimizer(model, config);
  const parts: StepFunctions = {
    encode: (inputs) => functions.encode(model, tripletBatch(inputs), config),
    loss: (encoded) => functions.loss(model, encoded, config),
    trainable: adamw.groups.flatMap(({ params }) => params),
  };
  const maker = config.memory === "gradcache"
    ? gradCacheStep(parts, config)
    : wholeStep(parts, { recompute: config.memory === "recompute" });
  return { maker, adamw, schedule, trainable: parts.trainable };
}

/** What to do about a step that needs too much memory. */
const lessMemory = ({ memory, microBatch }: TrainingConfig): string =>
  memory === "plain"
    ? "--memory recompute, or --memory gradcache for still less; or a smaller --batch-size"
    : memory === "recompute"
    ? "--memory gradcache; or a smaller --batch-size"
    : `a --micro-batch below ${microBatch}; or a smaller --batch-size`;

/** A training step, compiled for each padded text length, with the state that it changes. */
export class TrainingSession implements Disposable {
  readonly state: State;
  readonly loader: TrainLoader;
  readonly reader: BatchReader;
  readonly live?: LiveImages;
  readonly program: BySignature<StepPlan>;
  /** For the longest texts: shorter ones share its slabs. */
  readonly memory: PlannedMemory;
  readonly #gpu: Gpu;
  readonly #adamw: AdamW;
  readonly #schedule: Schedule;
  readonly #compiler: StepCompiler;

  /**
   * Plans, says what memory it will take, allocates.
   *
   * @throws {ConfigError} If the optimiser names a parameter that the model does not have, or memory does not suffice.
   * @throws {GpuError} If a value passes what the device binds.
   */
  constructor(
    gpu: Gpu,
    functions: AnyFunctions,
    config: TrainingConfig,
    { data, model, params }: OpenedModel,
    context: RunContext,
  ) {
    this.#gpu = gpu;
    const { batchSize, seed } = config;
    const { trainCaption: caption, maxShift, text, dataset } = data;
    this.loader = new TrainLoader(dataset.splits.train.triplets, {
      batchSize,
      seed,
      ...text,
      caption,
      maxShift,
    });
    this.reader = new BatchReader(data, "train");
    this.live = data.live;
    const { maker, adamw, schedule, trainable } = stepOf(functions, config, model);
    this.#adamw = adamw;
    this.#schedule = schedule;
    const known = new Set(params.values());
    const stranger = trainable.find((param) => !known.has(param));
    if (stranger) {
      throw new ConfigError(
        `the optimiser's parameter "${stranger.source.name}" belongs to neither frame nor heads`,
      );
    }
    const specs = this.reader.tripletSpecs(batchSize, text.bucketLengths.at(-1) ?? 0);
    const { layout, step, memory } = planTraining(maker, adamw, known, specs, {
      bindingLimit: gpu.bindingLimit,
      target: gpu,
    });
    this.memory = memory;
    context.note(describeMemory(memory));
    checkMemory(gpu, memory, step.plans, lessMemory(config));
    this.state = new State(gpu, layout.groups);
    this.#compiler = maker.compiler({
      gpu,
      state: this.state,
      adamw,
      seed,
      onProgress: (done, total) => context.progress(`compiling kernels ${done}/${total}`),
    }, step);
    this.program = new BySignature("training step", (specs) => this.#compiler.compile(specs));
  }

  /** Each group's learning rate at a step. */
  learningRates(step: number): number[] {
    return this.#adamw.learningRates(this.#schedule({ step, epoch: this.loader.stateAt(step).epoch }));
  }

  /** What the device can do at most: see `CALA_DEBUG=2`. */
  ceilings(): Promise<Ceilings> {
    return measureCeilings(this.#gpu);
  }

  [Symbol.dispose](): void {
    this.program[Symbol.dispose]();
    this.#compiler[Symbol.dispose]();
    this.state[Symbol.dispose]();
  }
}
