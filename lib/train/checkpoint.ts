/**
 * Weights and AdamW's moments on disk, always as of one step.
 *
 * `last` is two files, and two renames are not one: both are first written whole beside their places, under `next`. A
 * crash before the renames leaves the old pair; between them it leaves one file of each step in place and the other new
 * one still under `next`. So whenever a pair is broken, its other half is there: `load` finishes what was begun.
 */
import { DataError } from "../core/errors.ts";
import type { WeightsFile } from "../io/stored_tensor.ts";
import type { State } from "../plan/state.ts";
import type { Param } from "../tensor/tensor.ts";
import {
  type CheckpointFile,
  checkTensors,
  loadInto,
  openCheckpoint,
  type StateTensor,
  writeCheckpoint,
} from "./checkpoint_file.ts";

/** Where in a run a checkpoint was taken. */
export interface CheckpointPlace {
  /** Steps done. */
  readonly step: number;
  /** Epochs finished. */
  readonly epoch: number;
}

/** What picked the best checkpoint. */
export interface BestScore extends CheckpointPlace {
  readonly metric: string;
  readonly value: number;
}

/** Both files of `last`. */
interface CheckpointPair extends Disposable {
  readonly weights: CheckpointFile;
  readonly optimizer: CheckpointFile;
}

const FORMAT = "cala-checkpoint-1";

/** The checkpoints of one run. */
export class Checkpoints {
  readonly #folder: string;
  readonly #configHash: string;
  readonly #params: ReadonlyMap<string, Param>;
  readonly #state: State;

  /**
   * @param folder `checkpoints/` of a run, which exists.
   * @param params Every parameter by its checkpoint key; all are in `state`.
   * @param configHash Of the run's configuration: a checkpoint of another one is refused.
   */
  constructor(folder: string, params: ReadonlyMap<string, Param>, state: State, configHash: string) {
    this.#folder = folder;
    this.#params = params;
    this.#state = state;
    this.#configHash = configHash;
  }

  /** Saves weights, moments and counts as `last`. Waits for the GPU. */
  async saveLast(place: CheckpointPlace): Promise<void> {
    await this.#write("next.optimizer", this.#optimizerTensors(), this.#metadata(place));
    await this.#write("next", this.#weightTensors(), this.#metadata(place));
    await Deno.rename(this.#path("next"), this.#path("last"));
    await Deno.rename(this.#path("next.optimizer"), this.#path("last.optimizer"));
  }

  /** Saves the weights as `best`. */
  async saveBest({ metric, value, ...place }: BestScore): Promise<void> {
    const metadata = { ...this.#metadata(place), metric, value: String(value) };
    await this.#write("best", this.#weightTensors(), metadata);
  }

  /** Why `best` is the best; nothing where there is none. @throws {DataError} If the file is broken. */
  async bestScore(): Promise<BestScore | undefined> {
    using file = await this.#openIfThere("best");
    if (!file) return undefined;
    const value = Number(file.metadata.value);
    if (!file.metadata.metric || !Number.isFinite(value)) {
      throw new DataError(`${file.name}: no metric in its metadata`);
    }
    return { ...this.#placeOf(file), metric: file.metadata.metric, value };
  }

  /**
   * Loads `last` into the state.
   *
   * @returns Where it was taken; nothing where none was saved.
   * @throws {DataError} If a file is cut short, broken, of another model or configuration: the state is then untouched.
   */
  async loadLast(): Promise<CheckpointPlace | undefined> {
    using pair = await this.#lastPair();
    if (!pair) return undefined;
    const { weights, optimizer } = pair;
    const weightTensors = this.#weightTensors(), optimizerTensors = this.#optimizerTensors();
    checkTensors(weights, weightTensors);
    checkTensors(optimizer, optimizerTensors);
    const steps = this.#stepsIn(optimizer);
    loadInto(this.#state, weights, weightTensors);
    loadInto(this.#state, optimizer, optimizerTensors);
    steps.forEach((count, group) => this.#state.writeSteps(group, count));
    return this.#placeOf(weights);
  }

  /** Loads the weights of `last` or `best` alone. @throws {DataError} As `loadLast`, or if there is none. */
  async loadWeights(which: "last" | "best"): Promise<CheckpointPlace> {
    using file = await this.#openIfThere(which); // one file is whole by itself, also while its run goes on
    if (!file) {
      throw new DataError(`${this.#path(which)}: no such file`, {
        fix: "train first: nothing was saved yet",
      });
    }
    const tensors = this.#weightTensors();
    checkTensors(file, tensors);
    loadInto(this.#state, file, tensors);
    return this.#placeOf(file);
  }

  #path(name: string): string {
    return `${this.#folder}/${name}.safetensors`;
  }

  async #write(
    name: string,
    tensors: ReadonlyMap<string, StateTensor>,
    metadata: Record<string, string>,
  ): Promise<void> {
    await writeCheckpoint(this.#path(name), this.#state, tensors, metadata);
  }

  /** A file whose bytes are those that were written. */
  async #openIfThere(name: string): Promise<CheckpointFile | undefined> {
    const file = await openCheckpoint(this.#path(name));
    try {
      if (file) this.#placeOf(file);
      return file;
    } catch (error) {
      file?.[Symbol.dispose]();
      throw error;
    }
  }

  #metadata({ step, epoch }: CheckpointPlace): Record<string, string> {
    return { format: FORMAT, step: String(step), epoch: String(epoch), configHash: this.#configHash };
  }

  #placeOf({ name, metadata }: WeightsFile): CheckpointPlace {
    const step = Number(metadata.step), epoch = Number(metadata.epoch);
    if (
      metadata.format !== FORMAT || !Number.isSafeInteger(step) || step < 0 || !Number.isSafeInteger(epoch)
    ) {
      throw new DataError(`${name}: its metadata is not that of a checkpoint`, { where: name });
    }
    if (metadata.configHash !== this.#configHash) {
      throw new DataError(
        `${name}: a checkpoint of another configuration, ${metadata.configHash?.slice(0, 8)}`,
        {
          where: name,
          fix: `this run's is ${this.#configHash.slice(0, 8)}; put the file back where it came from`,
        },
      );
    }
    return { step, epoch };
  }

  /** The two files of `last`, of one step; a save that a crash cut in two is finished first. */
  async #lastPair(): Promise<CheckpointPair | undefined> {
    using opened = new DisposableStack();
    const open = async (name: string) => {
      const file = await this.#openIfThere(name);
      return file && opened.use(file);
    };
    const pair = (weights: CheckpointFile, optimizer: CheckpointFile): CheckpointPair => {
      const kept = opened.move();
      return { weights, optimizer, [Symbol.dispose]: () => kept.dispose() };
    };
    const weights = await open("last"), optimizer = await open("last.optimizer");
    const stepOf = (file: CheckpointFile | undefined) => file && this.#placeOf(file).step;
    if (weights && optimizer && stepOf(weights) === stepOf(optimizer)) return pair(weights, optimizer);
    if (weights) {
      const next = await open("next.optimizer");
      if (next && stepOf(next) === stepOf(weights)) {
        await Deno.rename(this.#path("next.optimizer"), this.#path("last.optimizer"));
        return pair(weights, next);
      }
    }
    if (optimizer) { // where the disk kept the second rename and lost the first
      const next = await open("next");
      if (next && stepOf(next) === stepOf(optimizer)) {
        await Deno.rename(this.#path("next"), this.#path("last"));
        return pair(next, optimizer);
      }
    }
    if (!weights && !optimizer) return undefined;
    throw new DataError(
      `${this.#folder}: last.safetensors is of step ${stepOf(weights) ?? "none"}, ` +
        `last.optimizer.safetensors of step ${stepOf(optimizer) ?? "none"}`,
      { where: this.#folder, fix: "put both files back from one copy, or pass --fresh to start anew" },
    );
  }

  #weightTensors(): Map<string, StateTensor> {
    return new Map([...this.#params].map(([key, param]) => [key, { param, buffer: "param" }]));
  }

  /** Moments and counts of the parameters that have them. */
  #optimizerTensors(): Map<string, StateTensor> {
    return new Map(
      this.#trained().flatMap(([key, param]) =>
        (["m", "v", "t"] as const).map((buffer) => [`${buffer}.${key}`, { param, buffer }])
      ),
    );
  }

  /** Parameters with moments, by key, and the state group of each. */
  #trained(): (readonly [key: string, param: Param, group: number])[] {
    const groupOf = new Map(
      this.#state.groups.flatMap(({ params, isTrained }, group) =>
        isTrained ? params.map((p) => [p, group] as const) : []
      ),
    );
    return [...this.#params].flatMap(([key, param]) => {
      const group = groupOf.get(param);
      return group === undefined ? [] : [[key, param, group] as const];
    });
  }

  /** How often each group was updated. */
  #stepsIn(file: WeightsFile): number[] {
    const steps = this.#state.groups.map(() => 0);
    const firstOf = new Map<number, string>();
    for (const [key, , group] of this.#trained()) {
      const t = Number(file.read(`t.${key}`).data[0]), first = firstOf.get(group);
      if (first && steps[group] !== t) {
        throw new DataError(
          `${file.name}: "${key}" was updated ${t} times, "${first}" of its group ${steps[group]} times`,
        );
      }
      firstOf.set(group, first ?? key);
      steps[group] = t;
    }
    return steps;
  }
}
