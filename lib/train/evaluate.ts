/** Retrieval on a split: encode the gallery, encode the queries, score in blocks, rank. */
import { env } from "../core/env.ts";
import { ConfigError, DataError } from "../core/errors.ts";
import { sizeOf } from "../core/shape.ts";
import { filledBatches, queryBatches } from "../data/loader.ts";
import type { Split, Triplet } from "../data/triplet.ts";
import type { Gpu } from "../gpu/device.ts";
import { NO_RANK, subsetRanks, targetRanks } from "../metrics/ranking.ts";
import { cirrMetrics, type Recalls, retrievalMetrics } from "../metrics/recall.ts";
import type { Embeddings, Frame, QueryKind } from "../nn/frame.ts";
import { compile, type InputSpecs, Program } from "../plan/compile.ts";
import { describeNonFinite } from "../plan/debug.ts";
import type { Plan } from "../plan/plan.ts";
import type { State } from "../plan/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  BatchReader,
  type ExperimentData,
  imageBatch,
  type Inputs,
  type PlanInputs,
  queryBatch,
} from "./batch.ts";

/** The ways to ask that a frame may have. */
export type Kind = keyof Frame["queries"];

/** Ranks of each query's target, 0 is best. */
export interface Ranks {
  readonly target: Uint32Array<ArrayBuffer>;
  /** Among the look-alikes of its group; `NO_RANK` where there is none. */
  readonly subset: Uint32Array<ArrayBuffer>;
}

/** Scores of one block at most, so that a large gallery does not need a large buffer. */
const MAX_BLOCK_BYTES = 16 * 2 ** 20;
const MAX_BLOCK_QUERIES = 256;

/** Embeddings of many rows, on the CPU: each `[rows, ...shape]`. */
type Stored = Record<string, { shape: readonly number[]; data: Float32Array<ArrayBuffer> }>;

/** Evaluates a frame with the weights that are in the state at the time. Its plans are made at first use and kept. */
export class Evaluator implements Disposable {
  readonly #gpu: Gpu;
  readonly #frame: Frame;
  readonly #state: State;
  readonly #data: ExperimentData;
  readonly #batchSize: number;
  readonly #reader: BatchReader;
  readonly #gallery: Program;
  readonly #queries = new Map<Kind, Program>();

  /** @param batchSize Images or queries that are encoded at once. */
  constructor(
    gpu: Gpu,
    frame: Frame,
    state: State,
    data: ExperimentData,
    { batchSize }: { batchSize: number },
  ) {
    this.#gpu = gpu;
    this.#frame = frame;
    this.#state = state;
    this.#data = data;
    this.#batchSize = batchSize;
    this.#reader = new BatchReader(data.images, data.fields?.evaluation);
    this.#gallery = new Program(gpu, (t) => ({ outputs: frame.encodeGallery(imageBatch(t, "gallery")) }), {
      state,
      label: "encode gallery",
    });
  }

  /** The ways to ask that the frame has, `composed` last. */
  get kinds(): Kind[] {
    return (["image", "text", "composed"] as const).filter((kind) => this.#frame.queries[kind]);
  }

  /**
   * Ranks of the targets of a split, for each way to ask.
   *
   * @param signal Ends the work between two batches.
   * @throws {DataError} If a target is secret or not in the gallery, or a score is NaN.
   */
  async rank(split: Split, kinds: readonly Kind[], signal?: AbortSignal): Promise<Map<Kind, Ranks>> {
    const wanted = new RankingTask(split, this.#data.keepsReference ?? false);
    const gallery = await this.#encode(
      filledBatches(split.gallery, this.#batchSize),
      ({ items }) => this.#reader.gallery(items),
      this.#gallery,
      split.gallery.length,
      signal,
    );
    const { text, evalCaption: caption } = this.#data;
    const ranks = new Map<Kind, Ranks>();
    for (const kind of kinds) {
      const query = this.#kind(kind);
      const queries = await this.#encode(
        queryBatches(split.triplets, { ...text, batchSize: this.#batchSize, caption }),
        (batch) => this.#reader.queries(batch),
        this.#queryProgram(kind, query),
        split.triplets.length,
        signal,
      );
      ranks.set(kind, await this.#score(query, queries, gallery, wanted));
    }
    return ranks;
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
    inputsOf: (batch: B) => PlanInputs,
    program: Program,
    total: number,
    signal?: AbortSignal,
  ): Promise<Stored> {
    const stored: Stored = {};
    let done = 0;
    for (const batch of batches) {
      signal?.throwIfAborted();
      const { specs, values } = inputsOf(batch);
      const plan = await program.plan(specs);
      plan.run(values);
      // sync: the embeddings are needed on the CPU; one wait a batch
      for (const [name, { shape, data }] of Object.entries(await plan.read())) {
        if (!(data instanceof Float32Array)) throw new ConfigError(`embedding "${name}" is not f32`);
        await checkFinite(plan, data);
        const rowSize = sizeOf(shape.slice(1));
        stored[name] ??= { shape: shape.slice(1), data: new Float32Array(total * rowSize) };
        stored[name].data.set(data.subarray(0, batch.rows * rowSize), done * rowSize);
      }
      done += batch.rows;
    }
    return stored;
  }

  /** `[Qblock, N]` at a time. */
  async #score(kind: QueryKind, queries: Stored, gallery: Stored, task: RankingTask): Promise<Ranks> {
    const Q = task.targets.length, N = task.gallerySize;
    const rows = Math.max(1, Math.min(Q, MAX_BLOCK_QUERIES, Math.floor(MAX_BLOCK_BYTES / (4 * N))));
    const galleryInputs = inputsOf("gallery", gallery, 0, N);
    using plan = await compile(
      this.#gpu,
      (t) => ({ outputs: { scores: kind.scores(embeddings(t, "query"), embeddings(t, "gallery")) } }),
      { ...specsOf("query", queries, rows), ...specsOf("gallery", gallery, N) },
      { state: this.#state, label: "scores" },
    );
    const target = new Uint32Array(Q), subset = new Uint32Array(Q);
    for (let first = 0; first < Q; first += rows) {
      const count = Math.min(rows, Q - first);
      plan.run({ ...inputsOf("query", queries, first, rows), ...galleryInputs });
      const { scores } = await plan.read("scores"); // sync: ranks are counted on the CPU
      if (!(scores.data instanceof Float32Array)) throw new ConfigError("scores are not f32");
      await checkFinite(plan, scores.data);
      const block = scores.data.subarray(0, count * N);
      target.set(targetRanks(block, { ...task, firstQuery: first }), first);
      subset.set(subsetRanks(block, { ...task, firstQuery: first }), first);
    }
    return { target, subset };
  }

  [Symbol.dispose](): void {
    this.#gallery[Symbol.dispose]();
    for (const program of this.#queries.values()) program[Symbol.dispose]();
  }
}

/** With `CALA_CHECK_FINITE`: where a value of the last run is not finite, throws what made the first one. */
async function checkFinite(plan: Plan, values: Float32Array): Promise<void> {
  if (env("CALA_CHECK_FINITE") === 0 || values.every(Number.isFinite)) return;
  throw new DataError(await describeNonFinite(plan), {
    fix: "the model has diverged, lower the learning rate; or its checkpoint is broken",
  });
}

/** A split's queries in terms of gallery positions: the options of the ranking functions. */
class RankingTask {
  readonly gallerySize: number;
  readonly targets: Uint32Array;
  readonly exclude?: Int32Array;
  readonly members: (readonly number[] | undefined)[];

  constructor({ gallery, triplets }: Split, keepsReference: boolean) {
    const place = new Map(gallery.map((image, g) => [image, g]));
    const placeOf = (image: number, what: string, query: number): number => {
      const g = place.get(image);
      if (g === undefined) {
        throw new DataError(
          `query ${query}: its ${what}, image ${image}, is not in the gallery of ${gallery.length}`,
        );
      }
      return g;
    };
    this.gallerySize = gallery.length;
    this.targets = Uint32Array.from(triplets, ({ target }: Triplet, q) => {
      if (target === null) {
        throw new DataError(`query ${q} has no public target`, { fix: "evaluate on a split with targets" });
      }
      return placeOf(target, "target", q);
    });
    if (!keepsReference) {
      this.exclude = Int32Array.from(triplets, ({ reference }) => place.get(reference) ?? -1);
    }
    this.members = triplets.map(({ group }, q) => group?.map((image) => placeOf(image, "group member", q)));
  }
}

const specsOf = (prefix: string, stored: Stored, rows: number): InputSpecs =>
  Object.fromEntries(
    Object.entries(stored).map(([name, { shape }]) => [`${prefix}.${name}`, { shape: [rows, ...shape] }]),
  );

/** Rows `first` to `first + rows`; past the end, zeros: what they score is dropped. */
const inputsOf = (prefix: string, stored: Stored, first: number, rows: number): Inputs =>
  Object.fromEntries(
    Object.entries(stored).map(([name, { shape, data }]) => {
      const size = sizeOf(shape), block = new Float32Array(rows * size);
      block.set(data.subarray(first * size, (first + rows) * size));
      return [`${prefix}.${name}`, block];
    }),
  );

const embeddings = (inputs: Record<string, Tensor>, prefix: string): Embeddings =>
  Object.fromEntries(
    Object.entries(inputs).flatMap(([name, t]) =>
      name.startsWith(`${prefix}.`) ? [[name.slice(prefix.length + 1), t]] : []
    ),
  );

/** The metrics of ranks, for tables. */
export const metricsOf = ({ target, subset }: Ranks): Recalls => retrievalMetrics(target, subset);

/** Ranks as a perfect model has them, before there is any: which metrics a split has does not depend on the model. */
export const perfectRanks = ({ triplets }: Split): Ranks => ({
  target: new Uint32Array(triplets.length),
  subset: Uint32Array.from(triplets, ({ group }) => group ? 0 : NO_RANK),
});

/**
 * The metric that picks the best checkpoint: one of a table's, or, where every query has a group, of CIRR's.
 *
 * @throws {ConfigError} If there is no metric of that name.
 */
export function criterion(name: string, ranks: Ranks): number {
  const metrics = metricsOf(ranks);
  if (metrics["subset queries"] === ranks.target.length) {
    Object.assign(metrics, cirrMetrics(ranks.target, ranks.subset));
  }
  if (name in metrics) return metrics[name];
  throw new ConfigError(`--best-by: no metric "${name}"`, {
    fix: `one of ${Object.keys(metrics).join(", ")}`,
  });
}
