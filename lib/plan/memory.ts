/** Which slab holds which value, and where in it, by lifetime. Pure: sizes and steps in, slabs out. */

/** A value that needs memory from step `first` to step `last`, both included. */
export interface Interval {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
  /** Values of one home lie in one slab; without, any slab does. */
  readonly home?: number;
}

/** The plan: a slab for each interval, a place in it, and the size of each slab. */
export interface MemoryPlan {
  /** Index into `slabs` for each interval. */
  readonly slabOf: readonly number[];
  /** First byte of each interval in its slab, a multiple of 256. */
  readonly offsetOf: readonly number[];
  /** Bytes of each slab, multiples of 256. */
  readonly slabs: readonly number[];
  /** Largest sum of bytes alive in one step: no plan needs less. */
  readonly peakBytes: number;
}

const align = (bytes: number): number => Math.max(256, Math.ceil(bytes / 256) * 256);

/**
 * Gives the intervals of each home a place in one slab: two intervals that share a step never share a byte, and two homes
 * that must be apart never share a slab. Largest home first: each goes to the smallest slab that has room for all of it,
 * else to a new one.
 *
 * Source: Pisarchyk and Lee, "Efficient memory management for deep neural net inference" (2020), greedy by size.
 *
 * @param apartFrom The homes that must lie in other slabs than a home.
 * @example Usage
 * ```ts
 * const plan = planMemory([{ bytes: 256, first: 0, last: 1 }, { bytes: 256, first: 1, last: 2 }, { bytes: 256, first: 2, last: 3 }]);
 * if (plan.slabs.length !== 2) throw new Error("the third reuses the first");
 * ```
 */
export function planMemory(
  intervals: readonly Interval[],
  apartFrom: (home: number) => Iterable<number> = () => [],
): MemoryPlan {
  const offsetOf = new Array<number>(intervals.length).fill(0);
  const homes = Map.groupBy(intervals.keys(), (i) => intervals[i].home ?? `alone ${i}`);
  const order = [...homes].map(([home, members]) => {
    const sorted = members.toSorted((a, b) =>
      align(intervals[b].bytes) - align(intervals[a].bytes) || intervals[a].first - intervals[b].first ||
      a - b
    );
    return {
      home,
      members: sorted,
      bytes: new Room(Infinity).fit(sorted.map((i) => intervals[i]))?.end ?? 0,
    };
  }).sort((a, b) =>
    b.bytes - a.bytes || intervals[a.members[0]].first - intervals[b.members[0]].first ||
    a.members[0] - b.members[0]
  );
  const slabOf = new Array<number>(intervals.length).fill(-1),
    slabOfHome = new Map<number | string, number>();
  const slabs: number[] = [], rooms: Room[] = [];
  for (const { home, members, bytes } of order) {
    const apart = typeof home === "number" ? [...apartFrom(home)].map((other) => slabOfHome.get(other)) : [];
    const values = members.map((i) => intervals[i]);
    let slab = slabs.length - 1; // the smallest so far
    let fit = undefined;
    for (; slab >= 0; slab--) {
      fit = apart.includes(slab) ? undefined : rooms[slab].fit(values);
      if (fit) break;
    }
    if (slab < 0) {
      slab = slabs.push(bytes) - 1;
      rooms.push(new Room(bytes));
      fit = rooms[slab].fit(values);
    }
    slabOfHome.set(home, slab);
    rooms[slab].add(fit?.placed ?? []);
    members.forEach((i, k) => {
      slabOf[i] = slab;
      offsetOf[i] = fit?.placed[k].offset ?? 0;
    });
  }
  return { slabOf, offsetOf, slabs, peakBytes: peakOf(intervals) };
}

/** An interval at its place. */
interface Placed extends Interval {
  readonly offset: number;
}

/** A slab's bytes over time. */
class Room {
  readonly #bytes: number;
  readonly #placed: Placed[] = [];

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  /** The lowest free place for each of them, one after the other, and where the last one ends; nothing if one finds none. */
  fit(values: readonly Interval[]): { readonly placed: readonly Placed[]; readonly end: number } | undefined {
    const placed: Placed[] = [];
    let end = 0;
    for (const value of values) {
      const bytes = align(value.bytes);
      const alive = [...this.#placed, ...placed].filter(({ first, last }) =>
        first <= value.last && value.first <= last
      ).sort((a, b) => a.offset - b.offset);
      let offset = 0;
      for (const other of alive) {
        if (other.offset >= offset + bytes) break;
        offset = Math.max(offset, other.offset + align(other.bytes));
      }
      if (offset + bytes > this.#bytes) return undefined;
      placed.push({ ...value, offset });
      end = Math.max(end, offset + bytes);
    }
    return { placed, end };
  }

  add(placed: readonly Placed[]): void {
    this.#placed.push(...placed);
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
