/** From stored embeddings to rankings: scores in blocks on the GPU, ranks by counting, the best by selection. */
import { env } from "../core/env.ts";
import { ConfigError, DataError } from "../core/errors.ts";
import { sizeOf } from "../core/shape.ts";
import type { Gpu } from "../gpu/device.ts";
import { groupRankings, targetRanks, topK } from "../metrics/ranking.ts";
import type { Embeddings, QueryKind } from "../nn/frame.ts";
import { compile, type InputSpecs } from "../plan/compile.ts";
import { describeNonFinite } from "../plan/debug.ts";
import type { Plan } from "../plan/plan.ts";
import type { State } from "../plan/state.ts";
import { constant, type Tensor } from "../tensor/tensor.ts";
import type { Inputs } from "./batch.ts";
import type { Search } from "./searches.ts";

/** Embeddings of many rows, on the CPU: each `[rows, ...shape]`. */
export type Stored = Readonly<
  Record<string, { readonly shape: readonly number[]; readonly data: Float32Array<ArrayBuffer> }>
>;

/** What came of each query of a search. Positions are of its gallery. */
export interface SearchRanking {
  /** Rank of the target, 0 is best; nothing where targets are secret. */
  readonly targets?: Uint32Array<ArrayBuffer>;
  /** The best, best first. */
  readonly top: readonly Uint32Array<ArrayBuffer>[];
  /** The group, best first, the left-out reference not in it. */
  readonly groups: readonly (Uint32Array<ArrayBuffer> | undefined)[];
}

/** Of each ranking so much is kept: what CIRR's server takes, and the largest cut-off of Recall and mAP. */
export const TOP = 50;

/** Of one block, so that many queries over a large gallery need no large buffer. */
const MAX_SCORE_BYTES = 16 * 2 ** 20, MAX_QUERIES = 256, MAX_GALLERY_BYTES = 64 * 2 ** 20;

/**
 * Ranks a gallery for each query.
 *
 * @param queries Embeddings as `kind.encode` gives them, rows in the order of `search.queries`.
 * @param gallery Rows in the order of `search.gallery`.
 * @param state Holds the parameters that the scores read.
 * @throws {DataError} If a score is NaN.
 */
export async function rankGallery(
  gpu: Gpu,
  kind: QueryKind,
  { queries, gallery, search, state }: {
    readonly queries: Stored;
    readonly gallery: Stored;
    readonly search: Search;
    readonly state?: State;
  },
): Promise<SearchRanking> {
  const Q = search.queries.length, N = search.gallery.length;
  const columns = Math.min(N, Math.max(1, Math.floor(MAX_GALLERY_BYTES / (4 * rowSize(gallery)))));
  const rows = Math.max(1, Math.min(Q, MAX_QUERIES, Math.floor(MAX_SCORE_BYTES / (4 * N))));
  using scorer = await Scorer.create(gpu, kind, { queries, gallery, N, columns, rows, state });
  const targets = new Uint32Array(search.targets ? Q : 0);
  const top: Uint32Array<ArrayBuffer>[] = [], groups: (Uint32Array<ArrayBuffer> | undefined)[] = [];
  const k = Math.min(TOP, search.exclude ? N - 1 : N);
  scorer.begin(0);
  for (let first = 0; first < Q; first += rows) {
    const scores = (await scorer.end()).subarray(0, Math.min(rows, Q - first) * N);
    if (first + rows < Q) scorer.begin(first + rows); // the GPU scores on while the CPU ranks
    const options = { gallerySize: N, exclude: search.exclude, firstQuery: first };
    if (search.targets) targets.set(targetRanks(scores, { ...options, targets: search.targets }), first);
    groups.push(...groupRankings(scores, { ...options, members: search.members }));
    const best = topK(scores, k, options);
    for (let at = 0; at < scores.length / N; at++) top.push(best.slice(at * k, (at + 1) * k));
  }
  return { ...(search.targets ? { targets } : {}), top, groups };
}

/** The scores of a block of queries over the whole gallery, which lies on the GPU. */
class Scorer implements Disposable {
  readonly #plans: readonly Plan[];
  readonly #queries: Stored;
  readonly #rows: number;
  readonly #N: number;

  private constructor(plans: readonly Plan[], queries: Stored, rows: number, N: number) {
    this.#plans = plans;
    this.#queries = queries;
    this.#rows = rows;
    this.#N = N;
  }

  /** A plan for each block of `columns` images. */
  static async create(
    gpu: Gpu,
    kind: QueryKind,
    { queries, gallery, N, columns, rows, state }: {
      readonly queries: Stored;
      readonly gallery: Stored;
      readonly N: number;
      readonly columns: number;
      readonly rows: number;
      readonly state?: State;
    },
  ): Promise<Scorer> {
    const plans: Plan[] = [];
    try {
      for (let first = 0; first < N; first += columns) {
        const block = constantsOf(gallery, first, Math.min(columns, N - first));
        plans.push(
          await compile(
            gpu,
            (query) => ({ outputs: { scores: kind.scores(query, block) } }),
            specsOf(queries, rows),
            { state, label: "scores" },
          ),
        );
      }
    } catch (error) {
      for (const plan of plans) plan[Symbol.dispose]();
      throw error;
    }
    return new Scorer(plans, queries, rows, N);
  }

  /** Starts on the queries from `first` on. */
  begin(first: number): void {
    const inputs = rowsOf(this.#queries, first, this.#rows);
    for (const plan of this.#plans) plan.run(inputs);
  }

  /** What `begin` started: `[rows, N]`. */
  async end(): Promise<Float32Array> {
    const blocks: Float32Array[] = [];
    for (const plan of this.#plans) {
      const { scores: { data } } = await plan.read("scores"); // sync: ranks are counted on the CPU
      if (!(data instanceof Float32Array)) throw new ConfigError("scores are not f32");
      await checkFinite(plan, data);
      blocks.push(data);
    }
    if (blocks.length === 1) return blocks[0];
    const scores = new Float32Array(this.#rows * this.#N);
    let column = 0;
    for (const block of blocks) {
      const width = block.length / this.#rows;
      for (let row = 0; row < this.#rows; row++) {
        scores.set(block.subarray(row * width, (row + 1) * width), row * this.#N + column);
      }
      column += width;
    }
    return scores;
  }

  [Symbol.dispose](): void {
    for (const plan of this.#plans) plan[Symbol.dispose]();
  }
}

/** The rows at some positions, in that order. */
export const pickRows = (stored: Stored, positions: readonly number[]): Stored =>
  Object.fromEntries(
    Object.entries(stored).map(([name, { shape, data }]) => {
      const size = sizeOf(shape), picked = new Float32Array(positions.length * size);
      positions.forEach((from, to) => picked.set(data.subarray(from * size, (from + 1) * size), to * size));
      return [name, { shape, data: picked }];
    }),
  );

/** With `CALA_CHECK_FINITE`: where a value of the last run is not finite, throws what made the first one. */
export async function checkFinite(plan: Plan, values: Float32Array): Promise<void> {
  if (env("CALA_CHECK_FINITE") === 0 || values.every(Number.isFinite)) return;
  throw new DataError(await describeNonFinite(plan), {
    fix: "the model has diverged, lower the learning rate; or its checkpoint is broken",
  });
}

/** The largest row, in elements. */
const rowSize = (stored: Stored): number =>
  Math.max(1, ...Object.values(stored).map(({ shape }) => sizeOf(shape)));

const specsOf = (stored: Stored, rows: number): InputSpecs =>
  Object.fromEntries(Object.entries(stored).map(([name, { shape }]) => [name, { shape: [rows, ...shape] }]));

/** Rows `first` to `first + rows`; past the end, copies of the last: what they score is dropped. */
const rowsOf = (stored: Stored, first: number, rows: number): Inputs =>
  Object.fromEntries(
    Object.entries(stored).map(([name, { shape, data }]) => {
      const size = sizeOf(shape), block = new Float32Array(rows * size), last = data.subarray(-size);
      const there = data.subarray(first * size, (first + rows) * size);
      block.set(there);
      for (let at = there.length; at < block.length; at += size) block.set(last, at);
      return [name, block];
    }),
  );

const constantsOf = (stored: Stored, first: number, rows: number): Embeddings =>
  Object.fromEntries(
    Object.entries(stored).map(([name, { shape, data }]): [string, Tensor] => {
      const size = sizeOf(shape);
      return [name, constant([rows, ...shape], data.subarray(first * size, (first + rows) * size))];
    }),
  );
