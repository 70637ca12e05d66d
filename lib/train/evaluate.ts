/** Retrieval on a split: encode the galleries, encode the queries, rank. */
import { env } from "../core/env.ts";
import { ConfigError, DataError } from "../core/errors.ts";
import { sizeOf } from "../core/shape.ts";
import { filledBatches, queryBatches } from "../data/loader.ts";
import type { Split } from "../data/triplet.ts";
import type { Gpu } from "../gpu/device.ts";
import { NO_RANK } from "../metrics/ranking.ts";
import type { Frame, QueryKind } from "../nn/frame.ts";
import { type CompileOptions, Program } from "../plan/compile.ts";
import type { Plan } from "../plan/plan.ts";
import type { State } from "../plan/state.ts";
import { BatchReader, type ExperimentData, imageBatch, type PlanInputs, queryBatch } from "./batch.ts";
import { checkFinite, pickRows, rankGallery, type SearchRanking, type Stored } from "./score.ts";
import { type Search, searchesOf } from "./searches.ts";

/** The ways to ask that a frame may have. */
export type Kind = keyof Frame["queries"];

/** What came of a split's queries, asked in one way: an entry a query. Images are positions in `Dataset.images`. */
export interface Ranking {
  /** Rank of the target, 0 is best; `NO_RANK` where it is secret. */
  readonly target: Uint32Array<ArrayBuffer>;
  /** Its rank among the look-alikes of its group; `NO_RANK` where there is none. */
  readonly subset: Uint32Array<ArrayBuffer>;
  /** The best of the gallery, best first: at most `TOP`. */
  readonly top: readonly (readonly number[])[];
  /** The others of the group, best first. */
  readonly groups: readonly (readonly number[] | undefined)[];
}

/** Rows at once: 128 texts of CLIP take 101 MB in its widest layer, which WebGPU's default limit allows. */
const MAX_BATCH = 128;

/** Batches whose embeddings are on their way to the CPU: Deno answers a read 10 ms after the GPU has. */
const READS_AT_ONCE = 8;

/** Batches of one encoding have numbers of their own below this, for dropout. */
const MAX_BATCHES = 2 ** 16;

/** Embeddings of a split, rows in the order of `images` and of its queries. */
export interface SplitEmbeddings {
  /** Positions in `Dataset.images`: all galleries, each image once. */
  readonly images: readonly number[];
  readonly gallery: Stored;
  readonly queries: ReadonlyMap<Kind, Stored>;
}

/** Evaluates a frame with the weights that are in the state at the time. Its plans are made at first use and kept. */
export class Evaluator implements Disposable {
  readonly #gpu: Gpu;
  readonly #frame: Frame;
  readonly #state: State;
  readonly #data: ExperimentData;
  readonly #batchSize: number;
  readonly #mode: Pick<CompileOptions, "isTraining" | "seed">;
  readonly #reader: BatchReader;
  readonly #gallery: Program;
  readonly #queries = new Map<Kind, Program>();

  /**
   * @param batchSize Images or queries that are encoded at once, at most.
   * @param dropoutSeed Encodes with dropout on, as in training: the released code's validations (quirk Q12).
   */
  constructor(
    gpu: Gpu,
    frame: Frame,
    state: State,
    data: ExperimentData,
    { batchSize, dropoutSeed }: { batchSize: number; dropoutSeed?: number },
  ) {
    this.#gpu = gpu;
    this.#frame = frame;
    this.#state = state;
    this.#data = data;
    this.#batchSize = Math.min(batchSize, MAX_BATCH);
    this.#mode = dropoutSeed === undefined ? {} : { isTraining: true, seed: dropoutSeed };
    this.#reader = new BatchReader(data, "evaluation");
    this.#gallery = new Program(gpu, (t) => ({ outputs: frame.encodeGallery(imageBatch(t, "gallery")) }), {
      ...this.#mode,
      state,
      label: "encode gallery",
    });
  }

  /** The ways to ask that the frame has, `composed` last. */
  get kinds(): Kind[] {
    return (["image", "text", "composed"] as const).filter((kind) => this.#frame.queries[kind]);
  }

  /**
   * Ranks the galleries of a split for its queries, for each way to ask.
   *
   * @param signal Ends the work between two batches.
   * @param step Of the training, where dropout is on: each has its own.
   * @throws {DataError} If a target is not in its gallery, or a score is NaN.
   */
  async rank(
    split: Split,
    kinds: readonly Kind[],
    signal?: AbortSignal,
    step = 0,
  ): Promise<Map<Kind, Ranking>> {
    const searches = searchesOf(this.#data.dataset, split, this.#data.keepsReference ?? false);
    const { images, gallery, queries } = await this.encode(split, kinds, signal, step);
    const place = new Map(images.map((image, i) => [image, i]));
    const rankings = new Map<Kind, Ranking>();
    for (const [kind, asked] of queries) {
      const ranking = emptyRanking(split.triplets.length);
      for (const search of searches) {
        signal?.throwIfAborted();
        const found = await this.#rankOne(kind, search, {
          queries: pickRows(asked, search.queries),
          gallery: pickRows(gallery, search.gallery.map((image) => place.get(image) ?? -1)),
        });
        ranking.add(search, found);
      }
      rankings.set(kind, ranking);
    }
    return rankings;
  }

  /** @throws {DataError} If a score is NaN: with categories, the query's number is that in its category. */
  async #rankOne(kind: Kind, search: Search, stored: { queries: Stored; gallery: Stored }) {
    try {
      return await rankGallery(this.#gpu, this.#kind(kind), { ...stored, search, state: this.#state });
    } catch (error) {
      if (!(error instanceof DataError) || search.category === undefined) throw error;
      const { where, fix } = error;
      throw new DataError(`${search.category}: ${error.message}`, { where, fix, cause: error });
    }
  }

  /**
   * Embeddings of a split's galleries, and of its queries for each way to ask.
   *
   * @param signal Ends the work between two batches.
   * @param step As for `rank`.
   */
  async encode(
    split: Split,
    kinds: readonly Kind[],
    signal?: AbortSignal,
    step = 0,
  ): Promise<SplitEmbeddings> {
    let index = step * MAX_BATCHES;
    const nextIndex = () => index++ >>> 0;
    const images = galleryImages(split);
    const gallery = await this.#encode(
      filledBatches(images, this.#batchSize),
      ({ items }) => this.#reader.gallery(items),
      this.#gallery,
      images.length,
      { signal, nextIndex },
    );
    const { text, evalCaption: caption } = this.#data;
    const queries = new Map<Kind, Stored>();
    for (const kind of kinds) {
      const stored = await this.#encode(
        queryBatches(split.triplets, { ...text, batchSize: this.#batchSize, caption }),
        (batch) => this.#reader.queries(batch),
        this.#queryProgram(kind, this.#kind(kind)),
        split.triplets.length,
        { signal, nextIndex },
      );
      queries.set(kind, stored);
    }
    return { images, gallery, queries };
  }

  #kind(kind: Kind): QueryKind {
    const query = this.#frame.queries[kind];
    if (!query) throw new ConfigError(`the frame has no "${kind}" queries; it has ${this.kinds.join(", ")}`);
    return query;
  }

  #queryProgram(kind: Kind, query: QueryKind): Program {
    let program = this.#queries.get(kind);
    if (!program) {
      program = new Program(this.#gpu, (t) => ({ outputs: query.encode(queryBatch(t)) }), {
        ...this.#mode,
        state: this.#state,
        label: `encode ${kind} queries`,
      });
      this.#queries.set(kind, program);
    }
    return program;
  }

  /** Runs a program over batches and keeps the rows that count. */
  async #encode<B extends { rows: number }>(
    batches: Iterable<B>,
    inputsOf: (batch: B) => Promise<PlanInputs>,
    program: Program,
    total: number,
    { signal, nextIndex }: { signal?: AbortSignal; nextIndex: () => number },
  ): Promise<Stored> {
    const stored: Record<string, Stored[string]> = {};
    const keep = async (plan: Plan, rows: number, at: number) => {
      // sync: the embeddings are needed on the CPU; one wait a batch. The copy is submitted before the next run.
      for (const [name, { shape, data }] of Object.entries(await plan.read())) {
        if (!(data instanceof Float32Array)) throw new ConfigError(`embedding "${name}" is not f32`);
        await checkFinite(plan, data);
        const rowSize = sizeOf(shape.slice(1));
        stored[name] ??= { shape: shape.slice(1), data: new Float32Array(total * rowSize) };
        stored[name].data.set(data.subarray(0, rows * rowSize), at * rowSize);
      }
    };
    // A check for NaN reads the plan's buffers: then the next batch may not yet write there.
    const reads: Promise<void>[] = [], atOnce = env("CALA_CHECK_FINITE") === 0 ? READS_AT_ONCE : 1;
    let done = 0;
    try {
      for (const batch of batches) {
        signal?.throwIfAborted();
        const { specs, values } = await inputsOf(batch);
        const plan = await program.plan(specs);
        plan.run(values, { index: nextIndex() });
        const read = keep(plan, batch.rows, done);
        read.catch(() => {}); // it is thrown where it is awaited
        reads.push(read);
        done += batch.rows;
        if (reads.length === atOnce) await reads.shift();
      }
      await Promise.all(reads);
      return stored;
    } finally {
      await Promise.allSettled(reads); // nothing reads from a plan that is freed
    }
  }

  [Symbol.dispose](): void {
    this.#gallery[Symbol.dispose]();
    for (const program of this.#queries.values()) program[Symbol.dispose]();
  }
}

/** The images of all galleries of a split, each once. */
export const galleryImages = ({ gallery, galleries }: Split): number[] => [
  ...new Set(galleries ? Object.values(galleries).flat() : gallery),
];

/** A ranking to be filled search by search. */
function emptyRanking(count: number) {
  const target = new Uint32Array(count).fill(NO_RANK), subset = new Uint32Array(count).fill(NO_RANK);
  const top: number[][] = Array.from({ length: count }, () => []);
  const groups: (number[] | undefined)[] = Array.from({ length: count }, () => undefined);
  return {
    target,
    subset,
    top,
    groups,
    add({ queries, gallery, targets }: Search, found: SearchRanking): void {
      const images = (positions: Uint32Array) => Array.from(positions, (g) => gallery[g]);
      queries.forEach((query, q) => {
        top[query] = images(found.top[q]);
        const group = found.groups[q];
        if (group) groups[query] = images(group);
        if (!targets || !found.targets) return;
        target[query] = found.targets[q];
        if (group) subset[query] = subsetRank(group, targets[q], query);
      });
    },
  };
}

/** @throws {DataError} If the target is not in its own group. */
function subsetRank(group: Uint32Array, target: number, query: number): number {
  const rank = group.indexOf(target);
  if (rank < 0) throw new DataError(`query ${query}: its target is not in its group`);
  return rank;
}
