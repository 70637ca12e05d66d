/** Trains the released experiments on miniature data, from tiny checkpoints, in this process. */
import { readJsonl } from "../../lib/io/jsonl.ts";
import { openWeights } from "../../lib/io/weights_file.ts";
import type { ReleasedDataset } from "../../lib/released/flags.ts";
import type { StoredConfig } from "../../lib/train/config.ts";
import type { Experiment } from "../../lib/train/experiment.ts";
import { Progress } from "../../lib/train/progress.ts";
import { openExperiment } from "../../tasks/experiments.ts";
import { writeTinyBlip2, writeTinyClip } from "../models/tiny_checkpoints.ts";
import { writeTinyStore } from "./tiny_store.ts";

export type Arch = "blip2" | "clip";

/** A folder with the stores and checkpoints that were asked for, each written once. */
export class TinyWorld implements AsyncDisposable {
  readonly folder: string;
  readonly #made = new Map<string, Promise<string>>();

  private constructor(folder: string) {
    this.folder = folder;
  }
  static async create(): Promise<TinyWorld> {
    return new TinyWorld(await Deno.makeTempDir());
  }

  #once(name: string, make: (path: string) => Promise<unknown>): Promise<string> {
    const path = `${this.folder}/${name}`;
    const made = this.#made.get(name) ?? make(path).then(() => path);
    this.#made.set(name, made);
    return made;
  }
  weights(arch: Arch): Promise<string> {
    return this.#once(`${arch}.pth`, arch === "blip2" ? writeTinyBlip2 : writeTinyClip);
  }
  async store(dataset: ReleasedDataset, arch: Arch): Promise<string> {
    const weights = await this.weights(arch);
    return `${await this.#once(
      `${dataset}-${arch}`,
      (path) => writeTinyStore(path, dataset, arch, weights),
    )}/store`;
  }

  /**
   * Trains `DATASET_ARCH_FRAME` for an epoch of two steps. Returns the run's folder.
   *
   * @param own In its place: a variant of it.
   */
  async train(name: string, flags: StoredConfig = {}, own?: Experiment): Promise<string> {
    const [dataset, arch] = name.split("_") as [ReleasedDataset, Arch];
    const experiment = own ?? await openExperiment(name);
    const config = experiment.configFrom({
      store: await this.store(dataset, arch),
      weights: await this.weights(arch),
      batchSize: dataset === "fashioniq" ? 18 : 6,
      epochs: 1,
      ...flags,
    });
    using progress = new Progress({ isTerminal: false, write: () => {} });
    const options = { logEvery: 1, signal: new AbortController().signal, progress };
    const path = await experiment.run(
      { out: `${this.folder}/runs`, config, name: "", isFresh: true },
      options,
    );
    if (path === undefined) throw new Error("interrupted");
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** The steps' records of a run. */
export const stepsOf = async (run: string) =>
  (await readJsonl(`${run}/log.jsonl`)).records.filter(({ split }) => split === undefined);

/** Keys of the parameters that were trained: those with moments. */
export async function trainedKeys(run: string): Promise<Set<string>> {
  using file = await openWeights(`${run}/checkpoints/last.optimizer.safetensors`);
  return new Set([...file.tensors.keys()].flatMap((key) => key.startsWith("m.") ? [key.slice(2)] : []));
}
