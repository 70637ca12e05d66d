/** Which slab holds which value, by lifetime. Pure: sizes and steps in, slabs out. */

/** A value that needs memory from step `first` to step `last`, both included. */
export interface Interval {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/** The plan: a slab for each interval, and the size of each slab. */
export interface MemoryPlan {
  /** Index into `slabs` for each interval. */
  readonly slabOf: readonly number[];
  /** Bytes of each slab, multiples of 256. */
  readonly slabs: readonly number[];
  /** Largest sum of bytes alive in one step: no plan needs less. */
  readonly peakBytes: number;
}

const align = (bytes: number): number => Math.max(256, Math.ceil(bytes / 256) * 256);

/**
 * Gives each interval a whole slab: two intervals that share a step never share a slab.
 * Largest first: each goes to the smallest slab that is free for all of its life, else to a new one.
 *
 * Source: Pisarchyk and Lee, "Efficient memory management for deep neural net inference" (2020), greedy by size.
 *
 * @example Usage
 * ```ts
 * const plan = planMemory([{ bytes: 256, first: 0, last: 1 }, { bytes: 256, first: 1, last: 2 }, { bytes: 256, first: 2, last: 3 }]);
 * if (plan.slabs.length !== 2) throw new Error("the third reuses the first");
 * ```
 */
export function planMemory(intervals: readonly Interval[]): MemoryPlan {
  const order = intervals.map((_, i) => i).sort((a, b) =>
    align(intervals[b].bytes) - align(intervals[a].bytes) || intervals[a].first - intervals[b].first || a - b
  );
  const slabOf = new Array<number>(intervals.length).fill(-1);
  const slabs: number[] = [], lives: Lives[] = [];
  for (const i of order) {
    let slab = slabs.length - 1; // the smallest so far
    while (slab >= 0 && !lives[slab].add(intervals[i])) slab--;
    if (slab < 0) {
      slab = slabs.push(align(intervals[i].bytes)) - 1;
      lives.push(new Lives(intervals[i]));
    }
    slabOf[i] = slab;
  }
  return { slabOf, slabs, peakBytes: peakOf(intervals) };
}

/** The lives of a slab's values, in order of time. */
class Lives {
  readonly #list: Interval[];

  constructor(one: Interval) {
    this.#list = [one];
  }

  /** Adds a life unless it shares a step with another. */
  add(one: Interval): boolean {
    const list = this.#list;
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle].last < one.first) low = middle + 1;
      else high = middle;
    }
    if (low < list.length && list[low].first <= one.last) return false;
    list.splice(low, 0, one);
    return true;
  }
}

/** Largest sum of bytes that are alive in one step. */
function peakOf(intervals: readonly Interval[]): number {
  const change = new Map<number, number>();
  const add = (step: number, bytes: number) => change.set(step, (change.get(step) ?? 0) + bytes);
  for (const { bytes, first, last } of intervals) {
    add(first, align(bytes));
    add(last + 1, -align(bytes));
  }
  let live = 0, peak = 0;
  for (const [, bytes] of [...change].sort(([a], [b]) => a - b)) peak = Math.max(peak, live += bytes);
  return peak;
}
