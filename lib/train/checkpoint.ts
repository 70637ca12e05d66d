/**
 * Weights and AdamW's moments on disk, always as of one step.
 *
 * `last` is two files, and two renames are not one: both are first written whole beside their places, under `next`. A
 * crash before the renames leaves the old pair; between them it leaves one file of each step in place and the other new
 * one still under `next`. So whenever a pair is broken, its other half is there: `load` finishes what was begun.
 */
import { DataError } from "../core/errors.ts";
import {
  readSafetensors,
  type SafetensorsFile,
  type StoredTensor,
  tensorOf,
  writeSafetensors,
} from "../io/safetensors.ts";
import type { State } from "../plan/state.ts";
import type { Param } from "../tensor/tensor.ts";
import { checkKeys, chunksOf, contentHash, floatsOf } from "./checkpoint_file.ts";

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
    await this.#write("next.optimizer", await this.#optimizerTensors(), this.#metadata(place));
    await this.#write("next", await this.#tensors([...this.#params], "param"), this.#metadata(place));
    await Deno.rename(this.#path("next"), this.#path("last"));
    await Deno.rename(this.#path("next.optimizer"), this.#path("last.optimizer"));
  }

  /** Saves the weights as `best`. */
  async saveBest({ metric, value, ...place }: BestScore): Promise<void> {
    const metadata = { ...this.#metadata(place), metric, value: String(value) };
    await this.#write("best", await this.#tensors([...this.#params], "param"), metadata);
  }

  /** Why `best` is the best; nothing where there is none. @throws {DataError} If the file is broken. */
  async bestScore(): Promise<BestScore | undefined> {
    const file = await this.#readIfThere("best");
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
    const pair = await this.#lastPair();
    if (!pair) return undefined;
    const [weights, optimizer] = pair;
    const place = this.#placeOf(weights);
    const values = this.#valuesOf(weights);
    const moments = this.#momentsOf(optimizer);
    for (const { param, data } of values) this.#state.write(param, "param", data);
    for (const { param, m, v } of moments.params) {
      this.#state.write(param, "m", m);
      this.#state.write(param, "v", v);
    }
    moments.steps.forEach((steps, group) => this.#state.writeSteps(group, steps));
    return place;
  }

  /** Loads the weights of `last` or `best` alone. @throws {DataError} As `loadLast`, or if there is none. */
  async loadWeights(which: "last" | "best"): Promise<CheckpointPlace> {
    const file = await this.#readIfThere(which); // one file is whole by itself, also while its run goes on
    if (!file) {
      throw new DataError(`${this.#path(which)}: no such file`, {
        fix: "train first: nothing was saved yet",
      });
    }
    const place = this.#placeOf(file);
    for (const { param, data } of this.#valuesOf(file)) this.#state.write(param, "param", data);
    return place;
  }

  #path(name: string): string {
    return `${this.#folder}/${name}.safetensors`;
  }

  async #write(
    name: string,
    tensors: Map<string, StoredTensor>,
    metadata: Record<string, string>,
  ): Promise<void> {
    await writeSafetensors(this.#path(name), tensors, { ...metadata, sha256: contentHash(tensors) });
  }

  /** A file whose bytes are those that were written. */
  async #readIfThere(name: string): Promise<SafetensorsFile | undefined> {
    const path = this.#path(name);
    try {
      await Deno.stat(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
    const file = await readSafetensors(path);
    this.#placeOf(file);
    if (file.metadata.sha256 !== contentHash(file.tensors)) {
      throw new DataError(`${path}: its values have changed since they were written`, {
        where: `${path}, SHA-256 over ${file.tensors.size} tensors`,
        fix: "put the file back from a copy, or pass --fresh to start anew",
      });
    }
    return file;
  }

  #metadata({ step, epoch }: CheckpointPlace): Record<string, string> {
    return { format: FORMAT, step: String(step), epoch: String(epoch), configHash: this.#configHash };
  }

  #placeOf({ name, metadata }: SafetensorsFile): CheckpointPlace {
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
  async #lastPair(): Promise<[SafetensorsFile, SafetensorsFile] | undefined> {
    const weights = await this.#readIfThere("last"), optimizer = await this.#readIfThere("last.optimizer");
    const stepOf = (file: SafetensorsFile | undefined) => file && this.#placeOf(file).step;
    if (weights && optimizer && stepOf(weights) === stepOf(optimizer)) return [weights, optimizer];
    if (weights) {
      const next = await this.#readIfThere("next.optimizer");
      if (next && stepOf(next) === stepOf(weights)) {
        await Deno.rename(this.#path("next.optimizer"), this.#path("last.optimizer"));
        return [weights, next];
      }
    }
    if (optimizer) { // where the disk kept the second rename and lost the first
      const next = await this.#readIfThere("next");
      if (next && stepOf(next) === stepOf(optimizer)) {
        await Deno.rename(this.#path("next"), this.#path("last"));
        return [next, optimizer];
      }
    }
    if (!weights && !optimizer) return undefined;
    throw new DataError(
      `${this.#folder}: last.safetensors is of step ${stepOf(weights) ?? "none"}, ` +
        `last.optimizer.safetensors of step ${stepOf(optimizer) ?? "none"}`,
      { where: this.#folder, fix: "put both files back from one copy, or pass --fresh to start anew" },
    );
  }

  async #tensors(
    entries: readonly (readonly [string, Param])[],
    buffer: "param" | "m" | "v",
  ): Promise<Map<string, StoredTensor>> {
    const tensors = new Map<string, StoredTensor>();
    for (const chunk of chunksOf(entries)) {
      const data = await this.#state.read(chunk.map(([, param]) => param), buffer);
      chunk.forEach(([key, { shape }], i) => tensors.set(key, { dtype: "F32", shape, data: data[i] }));
    }
    return tensors;
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

  async #optimizerTensors(): Promise<Map<string, StoredTensor>> {
    const trained = this.#trained(), steps = await this.#state.readSteps();
    const entries = trained.map(([key, param]) => [key, param] as const);
    const tensors = new Map<string, StoredTensor>();
    for (const buffer of ["m", "v"] as const) {
      for (const [key, tensor] of await this.#tensors(entries, buffer)) {
        tensors.set(`${buffer}.${key}`, tensor);
      }
    }
    for (const [key, , group] of trained) {
      tensors.set(`t.${key}`, { dtype: "U32", shape: [], data: new Uint32Array([steps[group]]) });
    }
    return tensors;
  }

  /** Checks all, writes nothing. */
  #valuesOf(file: SafetensorsFile): { param: Param; data: Float32Array<ArrayBuffer> }[] {
    checkKeys(file, new Set(this.#params.keys()));
    return [...this.#params].map(([key, param]) => ({ param, data: floatsOf(file, key, param) }));
  }

  #momentsOf(file: SafetensorsFile) {
    const trained = this.#trained();
    checkKeys(file, new Set(trained.flatMap(([key]) => [`m.${key}`, `v.${key}`, `t.${key}`])));
    const steps = this.#state.groups.map(() => 0);
    const firstOf = new Map<number, string>();
    const params = trained.map(([key, param, group]) => {
      const t = tensorOf(file, `t.${key}`, "U32").data[0];
      const first = firstOf.get(group);
      if (first && steps[group] !== t) {
        throw new DataError(
          `${file.name}: "${key}" was updated ${t} times, "${first}" of its group ${steps[group]} times`,
        );
      }
      firstOf.set(group, first ?? key);
      steps[group] = t;
      return { param, m: floatsOf(file, `m.${key}`, param), v: floatsOf(file, `v.${key}`, param) };
    });
    return { params, steps };
  }
}
