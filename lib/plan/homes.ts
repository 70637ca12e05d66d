/** Which values must lie in one buffer, and which must not. Plain data: no GPU. */

/** A buffer to be: values that are bound at one binding of a launch, or one that is there already. */
interface Home {
  readonly parent: number;
  /** A buffer that is not the plan's to place: an input, a shard of the state. */
  readonly isFixed: boolean;
  /** Homes that a launch reads or writes beside this one and that must be other buffers. */
  readonly apart: Set<number>;
}

/** Homes by number. Those of the values of one binding are tied together: they become one. */
export class Homes {
  readonly #homes: Home[] = [];

  /** A home of its own. */
  add(isFixed: boolean): number {
    return this.#homes.push({ parent: this.#homes.length, isFixed, apart: new Set() }) - 1;
  }

  /** The home that a home has become part of. */
  of(home: number): number {
    let h = home;
    while (this.#homes[h].parent !== h) h = this.#homes[h].parent;
    return h;
  }

  isFixed(home: number): boolean {
    return this.#homes[this.of(home)].isFixed;
  }

  /** Keeps two homes in two buffers. */
  keepApart(a: number, b: number): void {
    const x = this.of(a), y = this.of(b);
    this.#homes[x].apart.add(y);
    this.#homes[y].apart.add(x);
  }

  /** The homes that must be other buffers. */
  apartFrom(home: number): ReadonlySet<number> {
    return new Set([...this.#homes[this.of(home)].apart].map((other) => this.of(other)));
  }

  /** Makes one home of each pair, all of them or, if two that must be apart or a fixed one and another would meet, none. */
  tie(pairs: readonly (readonly [number, number])[]): boolean {
    const sets = new Map<number, Set<number>>();
    for (const pair of pairs) {
      const [a, b] = pair.map((home) => this.of(home));
      const one = sets.get(a) ?? new Set([a]), other = sets.get(b) ?? new Set([b]);
      for (const home of other) one.add(home);
      for (const home of one) sets.set(home, one);
    }
    const all = [...new Set(sets.values())].filter(({ size }) => size > 1);
    for (const set of all) {
      for (const home of set) {
        if (this.#homes[home].isFixed || [...this.apartFrom(home)].some((other) => set.has(other))) {
          return false;
        }
      }
    }
    for (const set of all) this.#join([...set]);
    return true;
  }

  #join(set: readonly number[]) {
    const root = Math.min(...set);
    for (const home of set) {
      if (home === root) continue;
      for (const other of this.#homes[home].apart) this.keepApart(root, other);
      this.#homes[home] = { ...this.#homes[home], parent: root };
    }
  }
}
