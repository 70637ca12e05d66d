/** An experiment, opened: its data, its model and their parameters on the GPU. */
import { env } from "../core/env.ts";
import { ConfigError } from "../core/errors.ts";
import { TrainLoader } from "../data/loader.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Embeddings, Frame, TripletBatch } from "../nn/frame.ts";
import { grad } from "../ops/grad.ts";
import { type Ceilings, measureCeilings } from "../plan/ceilings.ts";
import { inspect, Program } from "../plan/compile.ts";
import { State } from "../plan/state.ts";
import type { Param, Tensor } from "../tensor/tensor.ts";
import { BatchReader, type ExperimentData, tripletBatch } from "./batch.ts";
import type { TrainingConfig } from "./config.ts";
import type { AdamW } from "./optimizer.ts";
import type { Progress } from "./progress.ts";
import type { Schedule } from "./rate.ts";

/** What is trained: a frame, and heads that only training needs. */
export interface Model {
  readonly frame: Frame;
  readonly heads?: { readonly params: ReadonlyMap<string, Param> };
}

/** Named scalars. `loss` is what is minimised; all are logged. */
export interface LossTerms {
  readonly loss: Tensor;
  readonly [term: string]: Tensor | undefined;
}

/** What a run offers to an experiment's functions. */
export interface RunContext {
  /** Folder of what can be made again: `CALA_CACHE`. */
  readonly cacheDir: string;
  /** Says what takes long; the next line replaces it. */
  progress(text: string): void;
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
  for (const [key, param] of model.heads?.params ?? []) {
    if (params.has(key)) throw new ConfigError(`frame and heads both have a parameter "${key}"`);
    params.set(key, param);
  }
  return { data, model, params };
}

/** The name under which the optimiser's counts come through the ring. */
export const STATUS = "optimizer status";

/** A training step, compiled for each padded text length, with the state that it changes. */
export class TrainingSession implements Disposable {
  readonly state: State;
  readonly loader: TrainLoader;
  readonly reader: BatchReader;
  readonly program: Program;
  readonly #gpu: Gpu;
  readonly #adamw: AdamW;
  readonly #schedule: Schedule;

  /** @throws {ConfigError} If the optimiser names a parameter that the model does not have. */
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
    this.reader = new BatchReader(data.images);
    const { adamw, schedule } = functions.optimizer(model, config);
    this.#adamw = adamw;
    this.#schedule = schedule;
    const trainable = adamw.groups.flatMap((group) => group.params);
    const known = new Set(params.values());
    const stranger = trainable.find((param) => !known.has(param));
    if (stranger) {
      throw new ConfigError(
        `the optimiser's parameter "${stranger.source.name}" belongs to neither frame nor heads`,
      );
    }

    const step = (inputs: Record<string, Tensor>) => {
      const terms = functions.loss(model, functions.encode(model, tripletBatch(inputs), config), config);
      const results = Object.fromEntries(Object.entries(terms).flatMap(([name, t]) => t ? [[name, t]] : []));
      return { results, grads: grad(terms.loss, trainable) };
    };
    // Which parameters the loss depends on decides which have moments: a first trace tells.
    let grads = new Map<Tensor, Tensor>();
    const { specs } = this.reader.triplets(this.loader.batchAt(0));
    inspect(
      (inputs) => {
        const traced = step(inputs);
        grads = traced.grads;
        return { results: traced.results };
      },
      specs,
      { isTraining: true },
    );
    this.state = adamw.createState(gpu, known, (param) => grads.has(param));
    this.program = new Program(gpu, (inputs) => {
      const { results, grads } = step(inputs);
      adamw.update(this.state, grads);
      return { results: { ...results, [STATUS]: this.state.status } };
    }, {
      label: "training step",
      state: this.state,
      isTraining: true,
      recompute: config.memory === "recompute",
      seed,
      onProgress: (done, total) => context.progress(`compiling kernels ${done}/${total}`),
    });
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
    this.state[Symbol.dispose]();
  }
}
