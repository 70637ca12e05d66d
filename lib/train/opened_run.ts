/** A run that is measured, submitted or embedded: its data, its model, and the weights of one of its checkpoints. */
import { ConfigError, DataError } from "../core/errors.ts";
import { kebabCase } from "../core/flags.ts";
import type { SplitName } from "../data/triplet.ts";
import { withUnionGallery } from "../data/union_gallery.ts";
import { type Gpu, openDevice } from "../gpu/device.ts";
import { State } from "../plan/state.ts";
import type { ExperimentData } from "./batch.ts";
import { Checkpoints } from "./checkpoint.ts";
import type { StoredConfig } from "./config.ts";
import { Evaluator } from "./evaluate.ts";
import type { Experiment } from "./experiment.ts";
import { restoreLive } from "./live_images.ts";
import type { Progress } from "./progress.ts";
import type { RunManifest } from "./run.ts";
import { contextOf, openModel } from "./session.ts";

/** Which weights, and on what. */
export interface OpenRunOptions {
  /** Default: the one that the run's own table is made from. */
  readonly checkpoint?: "last" | "best";
  /** Values of the experiment's flags in place of the run's: where data and weights are now, or another data set. */
  readonly overrides?: StoredConfig;
  /** `union`: FashionIQ's smaller galleries. */
  readonly gallery?: "original" | "union";
}

/** Flags that may name other data than those of the run: then the hashes need not agree. */
const OTHER_DATA = ["dataset", "data", "store"];

/** An open run. Owns its GPU memory. */
export class OpenedRun implements Disposable {
  private constructor(
    /** The run's folder. */
    readonly path: string,
    readonly manifest: RunManifest,
    readonly checkpoint: "last" | "best",
    /** The optimiser step that the checkpoint is of. */
    readonly step: number,
    readonly data: ExperimentData,
    readonly evaluator: Evaluator,
    readonly gpu: Gpu,
    readonly state: State,
  ) {}

  /**
   * Opens a run with the weights of a checkpoint.
   *
   * @param path The run's folder.
   * @throws {DataError} If the data are not those of the run and no flag names others, or the checkpoint is broken.
   * @throws {ConfigError} If the run is not of this experiment, or the experiment lacks a flag of `overrides`.
   */
  static async open(
    experiment: Experiment,
    path: string,
    manifest: RunManifest,
    { checkpoint, overrides = {}, gallery }: OpenRunOptions,
    progress: Progress,
  ): Promise<OpenedRun> {
    if (experiment.name !== manifest.experiment) {
      throw new ConfigError(
        `${path} is a run of "${manifest.experiment}", ${experiment.source} is "${experiment.name}"`,
      );
    }
    const stranger = Object.keys(overrides).find((name) => !Object.hasOwn(experiment.flags, name));
    if (stranger) throw new ConfigError(`${experiment.source} has no flag --${kebabCase(stranger)}`);
    const config = experiment.configFrom({ ...manifest.config, ...overrides });
    const which = checkpoint ?? config.tableFrom;
    const context = { ...contextOf(progress), checkpoint: `${path}/checkpoints/${which}.safetensors` };
    const opened = await openModel(experiment.functions, config, context);
    const hash = opened.data.dataset.hash;
    if (hash !== manifest.dataset.hash && !OTHER_DATA.some((name) => name in overrides)) {
      throw new DataError(
        `the data are not those of the run: ${hash.slice(0, 12)}, not ${manifest.dataset.hash.slice(0, 12)}`,
        { where: `${path}/run.json` },
      );
    }
    const data = gallery === "union"
      ? { ...opened.data, dataset: withUnionGallery(opened.data.dataset) }
      : opened.data;
    const gpu = await openDevice();
    const state = new State(gpu, [{ params: [...opened.params.values()], isTrained: false }]);
    try {
      const checkpoints = new Checkpoints(`${path}/checkpoints`, opened.params, state, manifest.configHash);
      const { step } = await checkpoints.loadWeights(which);
      await restoreLive(state, data.live);
      progress.note(`${path}: ${which} checkpoint, step ${step}, on ${gpu.name}`);
      const evaluator = new Evaluator(gpu, opened.model.frame, state, data, config);
      return new OpenedRun(path, manifest, which, step, data, evaluator, gpu, state);
    } catch (error) {
      state[Symbol.dispose]();
      gpu[Symbol.dispose]();
      throw error;
    }
  }

  /** @throws {ConfigError} If the split has no queries. */
  split(name: SplitName) {
    const split = this.data.dataset.splits[name];
    if (split.triplets.length > 0) return split;
    throw new ConfigError(`--split ${name}: ${this.data.dataset.name} has no queries there`);
  }

  [Symbol.dispose](): void {
    this.evaluator[Symbol.dispose]();
    this.state[Symbol.dispose]();
    this.gpu[Symbol.dispose]();
    this.data.live?.[Symbol.dispose]();
  }
}
