/** Time of each dispatch, by timestamp queries: one pass a dispatch, so only for looking, never for training. */
import type { Gpu } from "./device.ts";
import { readBuffers } from "./readback.ts";

/** What a launch did for one node. */
export interface ProfilePart {
  readonly shape: string;
  readonly scope: string;
  /** The values of the kernel's `Sizes`. */
  readonly sizes: Readonly<Record<string, number>>;
  readonly flops: number;
  readonly bytes: number;
}

/** One launch of a profiled run: its time, and what it had to do. Shape and scope are the first part's. */
export interface ProfileRow extends Omit<ProfilePart, "sizes"> {
  readonly kernel: string;
  readonly ms: number;
  /** Several where one launch does the work of several of its kernel. */
  readonly parts: readonly ProfilePart[];
}

/** WebGPU's limit of queries in one set. */
const SET_SIZE = 4096;

/** Two timestamps a dispatch, in as many query sets as it takes. */
export class Profiler {
  readonly #gpu: Gpu;
  readonly #count: number;
  readonly #sets: GPUQuerySet[] = [];
  readonly #buffer: GPUBuffer;

  /** @param count Dispatches of the plan. */
  constructor(gpu: Gpu, count: number) {
    this.#gpu = gpu;
    this.#count = count;
    for (let left = 2 * count; left > 0; left -= SET_SIZE) {
      this.#sets.push(gpu.device.createQuerySet({ type: "timestamp", count: Math.min(left, SET_SIZE) }));
    }
    const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
    this.#buffer = gpu.createBuffer({ label: "timestamps", size: Math.max(256, 16 * count), usage });
  }

  /** What the pass of dispatch `i` writes. */
  writesOf(i: number): GPUComputePassTimestampWrites {
    const at = (2 * i) % SET_SIZE;
    return {
      querySet: this.#sets[Math.floor(2 * i / SET_SIZE)],
      beginningOfPassWriteIndex: at,
      endOfPassWriteIndex: at + 1,
    };
  }

  resolve(encoder: GPUCommandEncoder): void {
    this.#sets.forEach((set, s) =>
      encoder.resolveQuerySet(set, 0, set.count, this.#buffer, 8 * SET_SIZE * s)
    );
  }

  /** Milliseconds of each dispatch of the last run. */
  async read(): Promise<Float64Array> {
    const [data] = await readBuffers(this.#gpu, [{
      buffer: this.#buffer,
      offset: 0,
      bytes: 16 * this.#count,
    }]);
    const ns = new BigUint64Array(data);
    return Float64Array.from({ length: this.#count }, (_, i) => Number(ns[2 * i + 1] - ns[2 * i]) / 1e6);
  }

  [Symbol.dispose](): void {
    for (const set of this.#sets) set.destroy();
    this.#gpu.destroyBuffer(this.#buffer);
  }
}
