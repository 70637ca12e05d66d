/** Launches of one kernel that do not wait for each other become one launch. Plain data: no GPU. */
import { MAX_GROUPS } from "../tensor/op.ts";
import type { Homes } from "./homes.ts";

/** A tensor that a launch binds. */
export interface Bound {
  /** The value, by number: launches that write it and those that bind it keep their order. */
  readonly value: number;
  readonly home: number;
  readonly isWritten: boolean;
}

/** A launch as grouping sees it. */
export interface Candidate {
  /** Launches of one key may become one: the same pipeline. None: it stays alone. */
  readonly key?: string;
  /** In the order of the pipeline's bindings. */
  readonly bound: readonly Bound[];
  readonly workgroups: number;
}

/**
 * Joins launches of one key if no member of a group waits for another and the values at each binding can lie in one buffer,
 * which no other binding of a launch forbids. Those on the longest ways to the end choose first, of the groups the one nearest
 * in depth: of the orders tried on the demo's step that gives the fewest launches in the least memory.
 *
 * @param launches In an order of execution.
 * @param homes Gets the ties of the groups.
 * @param maxMembers Launches of a group at most.
 * @returns The launches of each group, in an order of execution.
 */
export function groupLaunches(launches: readonly Candidate[], homes: Homes, maxMembers: number): number[][] {
  const after = dependencies(launches);
  const waits = new Waits(after), depth = depths(after), height = heights(after);
  const groups: { readonly members: number[]; workgroups: number }[] = [];
  const byKey = new Map<string, typeof groups>();
  for (const i of [...launches.keys()].sort((a, b) => height[b] - height[a] || a - b)) {
    const { key, bound, workgroups } = launches[i];
    const alike = key === undefined ? [] : byKey.get(key) ?? [];
    const away = ({ members: [first] }: { readonly members: readonly number[] }) =>
      Math.abs(depth[first] - depth[i]);
    const found = alike.toSorted((a, b) => away(a) - away(b) || a.members[0] - b.members[0]).find((group) => {
      const [first] = group.members;
      return group.members.length < maxMembers && group.workgroups + workgroups <= MAX_GROUPS &&
        !waits.areOrdered(first, i) &&
        homes.tie(bound.map(({ home }, b) => [home, launches[first].bound[b].home]));
    });
    if (found) {
      waits.join(found.members[0], i);
      found.members.push(i);
      found.workgroups += workgroups;
      continue;
    }
    const alone = { members: [i], workgroups };
    groups.push(alone);
    if (key !== undefined) byKey.set(key, [...alike, alone]);
  }
  return inOrder(groups.map(({ members }) => members.sort((a, b) => a - b)), after);
}

/** For each launch, those that it must follow: what writes a value comes after what bound it, and before what binds it. */
function dependencies(launches: readonly Candidate[]): number[][] {
  const writer = new Map<number, number>(), readers = new Map<number, number[]>();
  return launches.map(({ bound }, i) => {
    const after = new Set<number>();
    for (const { value, isWritten } of bound) {
      const before = writer.get(value);
      if (before !== undefined) after.add(before);
      if (isWritten) readers.get(value)?.forEach((reader) => after.add(reader));
    }
    for (const { value, isWritten } of bound) {
      if (isWritten) {
        writer.set(value, i);
        readers.set(value, []);
      } else readers.set(value, [...readers.get(value) ?? [], i]);
    }
    return [...after].filter((j) => j !== i);
  });
}

/** Launches on the longest way to each. */
function depths(after: readonly (readonly number[])[]): number[] {
  const depth: number[] = [];
  for (const list of after) depth.push(list.reduce((most, j) => Math.max(most, depth[j] + 1), 0));
  return depth;
}

/** Launches on the longest way from each to the end. */
function heights(after: readonly (readonly number[])[]): number[] {
  const height = after.map(() => 0);
  for (let i = after.length - 1; i >= 0; i--) {
    for (const j of after[i]) height[j] = Math.max(height[j], height[i] + 1);
  }
  return height;
}

/** Which launch waits for which, through any number of others and through the groups made so far: a bit a pair. */
class Waits {
  readonly #rows: Uint32Array[];

  constructor(after: readonly (readonly number[])[]) {
    const words = Math.ceil(after.length / 32);
    this.#rows = [];
    after.forEach((list, i) => {
      const row = new Uint32Array(words);
      for (const j of list) {
        row[j >> 5] |= 1 << (j & 31);
        add(row, this.#rows[j]);
      }
      this.#rows[i] = row;
    });
  }

  #has(i: number, j: number): boolean {
    return (this.#rows[i][j >> 5] >>> (j & 31) & 1) === 1;
  }
  areOrdered(i: number, j: number): boolean {
    return this.#has(i, j) || this.#has(j, i);
  }
  /** From now on whatever waits for one of them waits for both, and they wait for the same. */
  join(i: number, j: number): void {
    const both = this.#rows[i].slice();
    add(both, this.#rows[j]);
    const through = both.slice();
    through[i >> 5] |= 1 << (i & 31);
    through[j >> 5] |= 1 << (j & 31);
    for (let k = 0; k < this.#rows.length; k++) {
      if (this.#has(k, i) || this.#has(k, j)) add(this.#rows[k], through);
    }
    this.#rows[i] = both;
    this.#rows[j] = both.slice();
  }
}
const add = (row: Uint32Array, other: Uint32Array): void => {
  for (let w = 0; w < row.length; w++) row[w] |= other[w];
};

/** The groups in an order of execution: of those that need not wait, the one whose last launch came first. */
function inOrder(groups: readonly number[][], after: readonly (readonly number[])[]): number[][] {
  const sorted = groups.toSorted((a, b) => Math.max(...a) - Math.max(...b));
  const groupOf = new Map(sorted.flatMap((members, g) => members.map((i) => [i, g])));
  const before = sorted.map((members) =>
    new Set(members.flatMap((i) => after[i].map((j) => groupOf.get(j) ?? -1)))
  );
  const followers = sorted.map((): number[] => []);
  before.forEach((list, g) => list.forEach((h) => followers[h].push(g)));
  const missing = before.map(({ size }) => size);
  const ready = new Set(missing.flatMap((count, g) => count === 0 ? [g] : []));
  const result: number[][] = [];
  while (ready.size > 0) {
    const g = Math.min(...ready);
    ready.delete(g);
    result.push(sorted[g]);
    for (const follower of followers[g]) if (--missing[follower] === 0) ready.add(follower);
  }
  return result;
}
