/**
 * Where the target of a query stands in the ranking of a gallery.
 *
 * Order: score descending, ties by gallery index ascending, on the score itself. Source: `distance = 1 - score`, then
 * `argsort`, in the released `validate.py`. Quirk Q41: `1 - score` in f32 merges close scores before an unstable sort;
 * neither is kept.
 *
 * All functions take a block of rows, so the scores of all queries need not exist at once: `scores` is `[Q, G]`, and its
 * first row belongs to query `firstQuery` of the lists.
 */
import { DataError, ShapeError } from "../core/errors.ts";

/** What every ranking needs. */
export interface RankingOptions {
  /** Number of gallery images: `G`. */
  gallerySize: number;
  /** The gallery index that each query's ranking leaves out (its reference), -1 for none: one a query. */
  exclude?: ArrayLike<number>;
  /** The query of the block's first row. */
  firstQuery?: number;
}

/** The target of each query as well. */
export interface TargetOptions extends RankingOptions {
  /** The gallery index of each query's target: one a query. */
  targets: ArrayLike<number>;
}

/** The rank of a query that has none: its group is unknown, so it has no place in a subset. */
export const NO_RANK = 0xffffffff;

/**
 * The rank of each row's target, 0 is best, by counting what stands before it: `[Q, G]` to `[Q]`.
 *
 * @throws {DataError} If a score is NaN, or a target is outside the gallery or is itself left out; names the query.
 * @throws {ShapeError} If the scores are not whole rows, or a list is too short for them.
 *
 * @example Usage
 * ```ts
 * const scores = new Float32Array([0.1, 0.9, 0.5]); // one query, three images
 * if (targetRanks(scores, { gallerySize: 3, targets: [2] })[0] !== 1) throw new Error("targetRanks");
 * if (targetRanks(scores, { gallerySize: 3, targets: [2], exclude: [1] })[0] !== 0) throw new Error("targetRanks");
 * ```
 */
export function targetRanks(scores: Float32Array, options: TargetOptions): Uint32Array<ArrayBuffer> {
  const rows = checkBlock(scores, options);
  const ranks = new Uint32Array(rows);
  for (let row = 0; row < rows; row++) {
    const { query, excluded, base } = rowOf(row, options);
    const target = targetOf(query, excluded, options);
    const score = scores[base + target];
    let rank = 0;
    for (let g = 0; g < options.gallerySize; g++) {
      const other = scores[base + g];
      if ((other > score || (other === score && g < target)) && g !== excluded) rank++;
    }
    ranks[row] = rank;
  }
  return ranks;
}

/** The members of groups as well. */
export interface GroupOptions extends RankingOptions {
  /** The gallery indices of each query's group; the reference may be among them. */
  members: ArrayLike<ArrayLike<number> | undefined>;
}

/**
 * Each query's group, best first, the left-out reference not in it; `undefined` where `members` are.
 *
 * @throws {DataError} If a score is NaN, or a group names an image twice or outside the gallery; names the query.
 * @throws {ShapeError} As `targetRanks`.
 */
export function groupRankings(
  scores: Float32Array,
  options: GroupOptions,
): (Uint32Array<ArrayBuffer> | undefined)[] {
  const rows = checkBlock(scores, options);
  checkList("members", options.members, rows, options);
  return Array.from({ length: rows }, (_, row) => {
    const { query, excluded, base } = rowOf(row, options);
    const members = options.members[query];
    if (members === undefined) return undefined;
    checkGroup(members, query, options.gallerySize);
    return Uint32Array.from(members).filter((g) => g !== excluded)
      .sort((a, b) => isBefore(scores, base + a, base + b) ? -1 : 1);
  });
}

/**
 * The rank of each row's target among the members of its group, the left-out reference not counted: `[Q, G]` to `[Q]`.
 * `NO_RANK` for a query whose `members` are undefined.
 *
 * Source: CIRR's `R_subset`, the released `compute_cirr_val_metrics`: the ranked list without the reference, restricted to
 * the group, which equals ranking the group.
 *
 * @param options.members The target is one of them.
 * @throws {DataError} As `targetRanks` and `groupRankings`, and if a group lacks the target.
 * @throws {ShapeError} As `targetRanks`.
 */
export function subsetRanks(
  scores: Float32Array,
  options: TargetOptions & GroupOptions,
): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(groupRankings(scores, options), (group, row) => {
    if (group === undefined) return NO_RANK;
    const { query, excluded } = rowOf(row, options);
    const target = targetOf(query, excluded, options), rank = group.indexOf(target);
    if (rank < 0) throw new DataError(`query ${query}: target ${target} is not in its group`);
    return rank;
  });
}

/** Whether the score at `a` stands before that at `b` of the same row. */
const isBefore = (scores: Float32Array, a: number, b: number): boolean =>
  scores[a] > scores[b] || (scores[a] === scores[b] && a < b);

/**
 * The gallery indices of the best `k` images of each row, best first: `[Q, G]` to `[Q, k]`. With `k` the size of the
 * gallery (less the left-out image) it is the whole ranking.
 *
 * @throws {DataError} If a score is NaN; names the query.
 * @throws {ShapeError} If a row has fewer than `k` images, or the scores are not whole rows.
 */
export function topK(scores: Float32Array, k: number, options: RankingOptions): Uint32Array<ArrayBuffer> {
  const rows = checkBlock(scores, options);
  const best = new Uint32Array(rows * k);
  for (let row = 0; row < rows; row++) {
    const { query, excluded, base } = rowOf(row, options);
    const available = options.gallerySize - (excluded >= 0 ? 1 : 0);
    if (k > available) throw new ShapeError(`query ${query}: the first ${k} of ${available} images`);
    selectRow(
      scores.subarray(base, base + options.gallerySize),
      excluded,
      best.subarray(row * k, (row + 1) * k),
    );
  }
  return best;
}

/** Fills `heap` with the best of a row, best first, through a heap whose root is the worst kept. */
function selectRow(scores: Float32Array, excluded: number, heap: Uint32Array): void {
  const k = heap.length;
  if (k === 0) return;
  /** Lets the entry at `i` sink among the first `size` until both below it rank before it. */
  const sink = (i: number, size: number) => {
    for (let child = 2 * i + 1; child < size; child = 2 * i + 1) {
      if (child + 1 < size && isBefore(scores, heap[child], heap[child + 1])) child++;
      if (!isBefore(scores, heap[i], heap[child])) return;
      [heap[i], heap[child]] = [heap[child], heap[i]];
      i = child;
    }
  };
  let filled = 0, worst = NaN;
  for (let g = 0; g < scores.length; g++) {
    if (g === excluded) continue;
    if (filled < k) {
      heap[filled++] = g;
      if (filled < k) continue;
      for (let i = (k >> 1) - 1; i >= 0; i--) sink(i, k);
      worst = scores[heap[0]];
    } else if (scores[g] > worst) { // of a tie the kept one stays: its index is the lower
      heap[0] = g;
      sink(0, k);
      worst = scores[heap[0]];
    }
  }
  for (let size = k - 1; size > 0; size--) {
    [heap[0], heap[size]] = [heap[size], heap[0]];
    sink(0, size);
  }
}

/** Number of rows, after checking that the scores are whole rows of numbers and the lists reach that far. */
function checkBlock(scores: Float32Array, options: RankingOptions & Partial<TargetOptions>): number {
  const { gallerySize } = options;
  const rows = scores.length / gallerySize;
  if (!Number.isInteger(gallerySize) || gallerySize < 1 || !Number.isInteger(rows)) {
    throw new ShapeError(`${scores.length} scores are no whole rows of a gallery of ${gallerySize}`);
  }
  checkList("targets", options.targets, rows, options);
  checkList("exclude", options.exclude, rows, options);
  for (let i = 0; i < scores.length; i++) {
    if (Number.isNaN(scores[i])) {
      const query = Math.floor(i / gallerySize) + (options.firstQuery ?? 0);
      throw new DataError(`query ${query}: its score of gallery image ${i % gallerySize} is NaN`, {
        fix: "the model has diverged or its checkpoint is broken; CALA_CHECK_FINITE=1 names the op",
      });
    }
  }
  return rows;
}

function checkList(
  name: string,
  list: ArrayLike<unknown> | undefined,
  rows: number,
  options: RankingOptions,
): void {
  const needed = rows + (options.firstQuery ?? 0);
  if (list && list.length < needed) {
    throw new ShapeError(`${name}: ${list.length} entries for ${needed} queries`);
  }
}

function rowOf(row: number, { gallerySize, exclude, firstQuery = 0 }: RankingOptions) {
  const query = row + firstQuery;
  const excluded = exclude?.[query] ?? -1;
  if (!(Number.isInteger(excluded) && excluded >= -1 && excluded < gallerySize)) {
    throw new DataError(
      `query ${query}: left-out image ${excluded} is outside the gallery of ${gallerySize}`,
    );
  }
  return { query, excluded, base: row * gallerySize };
}

function targetOf(query: number, excluded: number, { targets, gallerySize }: TargetOptions): number {
  const target = targets[query];
  if (!(Number.isInteger(target) && target >= 0 && target < gallerySize)) {
    throw new DataError(`query ${query}: target ${target} is outside the gallery of ${gallerySize}`);
  }
  if (target === excluded) {
    throw new DataError(`query ${query}: target ${target} is also the reference that is left out`);
  }
  return target;
}

function checkGroup(members: ArrayLike<number>, query: number, gallerySize: number): void {
  const distinct = new Set<number>();
  for (let i = 0; i < members.length; i++) {
    const g = members[i];
    if (!(Number.isInteger(g) && g >= 0 && g < gallerySize)) {
      throw new DataError(`query ${query}: group member ${g} is outside the gallery of ${gallerySize}`);
    }
    if (distinct.has(g)) throw new DataError(`query ${query}: group member ${g} occurs twice`);
    distinct.add(g);
  }
}
