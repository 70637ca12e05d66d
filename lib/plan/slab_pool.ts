/** Slabs that several plans share: those of which one runs at a time and none keeps a value for later. */
import type { Gpu } from "../gpu/device.ts";

/** A pool over anything that has a size; planning makes one of sizes alone. */
export class Pool<T> {
  readonly #allocate: (bytes: number) => T;
  readonly #all: { readonly item: T; readonly bytes: number }[] = [];

  constructor(allocate: (bytes: number) => T) {
    this.#allocate = allocate;
  }

  /** An item for each size, none twice: the smallest that is large enough, the largest size first, else a new one. */
  take(sizes: readonly number[]): T[] {
    const taken = new Map<number, T>(), free = new Set(this.#all);
    const order = sizes.map((_, i) => i).sort((a, b) => sizes[b] - sizes[a] || a - b);
    for (const i of order) {
      const fitting = [...free].filter(({ bytes }) => bytes >= sizes[i]);
      const best = fitting.reduce((a, b) => b.bytes < a.bytes ? b : a, fitting[0]) ?? this.#grow(sizes[i]);
      free.delete(best);
      taken.set(i, best.item);
    }
    return sizes.map((_, i) => taken.get(i) as T); // each was set above
  }

  #grow(bytes: number) {
    const one = { item: this.#allocate(bytes), bytes };
    this.#all.push(one);
    return one;
  }

  get items(): T[] {
    return this.#all.map(({ item }) => item);
  }
  /** Bytes of all items. */
  get bytes(): number {
    return this.#all.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}

/** Bytes of the slabs that plans share if their pool is filled in this order. */
export function sharedBytes(plans: Iterable<{ readonly slabs: readonly number[] }>): number {
  const pool = new Pool((bytes) => bytes);
  for (const { slabs } of plans) pool.take(slabs);
  return pool.bytes;
}

/** A pool of buffers. Owns them. */
export class SlabPool extends Pool<GPUBuffer> implements Disposable {
  readonly #gpu: Gpu;

  constructor(gpu: Gpu, label: string) {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    super((size) => gpu.createBuffer({ label: `${label}: slab`, size, usage }));
    this.#gpu = gpu;
  }

  [Symbol.dispose](): void {
    for (const buffer of this.items) this.#gpu.destroyBuffer(buffer);
  }
}
