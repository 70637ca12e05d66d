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
 * Steps in order; the smallest free slab that is large enough, else the largest free one, grown; else a new one.
 *
 * @example Usage
 * ```ts
 * const plan = planMemory([{ bytes: 256, first: 0, last: 1 }, { bytes: 256, first: 1, last: 2 }, { bytes: 256, first: 2, last: 3 }]);
 * if (plan.slabs.length !== 2) throw new Error("the third reuses the first");
 * ```
 */
export function planMemory(intervals: readonly Interval[]): MemoryPlan {
  const order = intervals.map((_, i) => i).sort((a, b) =>
    intervals[a].first - intervals[b].first || intervals[b].bytes - intervals[a].bytes || a - b
  );
  const slabOf = new Array<number>(intervals.length).fill(-1);
  const slabs: number[] = [];
  const free = new Set<number>();
  // Intervals in use, by last step.
  const busy: number[] = [];
  let live = 0, peakBytes = 0;
  for (const i of order) {
    const { bytes, first } = intervals[i];
    for (let k = busy.length - 1; k >= 0; k--) {
      const j = busy[k];
      if (intervals[j].last >= first) continue;
      free.add(slabOf[j]);
      live -= align(intervals[j].bytes);
      busy.splice(k, 1);
    }
    const need = align(bytes);
    let best = -1;
    for (const slab of free) {
      if (best < 0) best = slab;
      else if (
        slabs[best] < need ? slabs[slab] > slabs[best] : slabs[slab] >= need && slabs[slab] < slabs[best]
      ) best = slab;
    }
    if (best < 0) best = slabs.push(need) - 1;
    free.delete(best);
    slabs[best] = Math.max(slabs[best], need);
    slabOf[i] = best;
    busy.push(i);
    live += need;
    peakBytes = Math.max(peakBytes, live);
  }
  return { slabOf, slabs, peakBytes };
}
