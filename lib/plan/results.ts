/** The ring: losses stay on the GPU and are read every so many steps in one copy. */
import { ConfigError } from "../core/errors.ts";
import { sizeOf } from "../core/shape.ts";
import type { Gpu } from "../gpu/device.ts";
import { type BufferRange, readBuffers } from "../gpu/readback.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { typed } from "./values.ts";

/** Runs that the ring holds. */
export const RING_SLOTS = 64;

/** The results of one run: each value's elements. */
export interface ResultRow {
  readonly index: number;
  readonly values: Readonly<Record<string, readonly number[]>>;
}

/** Fixed slots on the GPU; `encode` fills the next one, `drain` reads all that are filled. */
export class ResultsRing {
  readonly #gpu: Gpu;
  readonly #fields: { name: string; tensor: Tensor; offset: number }[] = [];
  readonly #stride: number;
  readonly #buffer?: GPUBuffer;
  readonly #rangeOf: (tensor: Tensor) => BufferRange;
  readonly #pending: number[] = [];

  constructor(gpu: Gpu, results: Readonly<Record<string, Tensor>>, rangeOf: (tensor: Tensor) => BufferRange) {
    this.#gpu = gpu;
    this.#rangeOf = rangeOf;
    let stride = 0;
    for (const [name, tensor] of Object.entries(results)) {
      this.#fields.push({ name, tensor, offset: stride });
      stride += 4 * sizeOf(tensor.shape);
    }
    this.#stride = stride;
    const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    if (stride > 0) this.#buffer = gpu.createBuffer({ label: "results", size: stride * RING_SLOTS, usage });
  }

  /** Copies this run's results into the next slot. */
  encode(encoder: GPUCommandEncoder, index: number): void {
    if (!this.#buffer) return;
    if (this.#pending.length === RING_SLOTS) {
      throw new ConfigError(`${RING_SLOTS} runs without a call of results()`);
    }
    const base = this.#pending.push(index) * this.#stride - this.#stride;
    for (const { tensor, offset } of this.#fields) {
      const from = this.#rangeOf(tensor);
      encoder.copyBufferToBuffer(
        from.buffer,
        from.offset,
        this.#buffer,
        base + offset,
        4 * sizeOf(tensor.shape),
      );
    }
  }

  async drain(): Promise<ResultRow[]> {
    if (!this.#buffer || this.#pending.length === 0) return [];
    const indices = this.#pending.splice(0);
    const [data] = await readBuffers(this.#gpu, [{
      buffer: this.#buffer,
      offset: 0,
      bytes: indices.length * this.#stride,
    }]);
    return indices.map((index, row) => ({
      index,
      values: Object.fromEntries(this.#fields.map(({ name, tensor, offset }) => {
        const at = row * this.#stride + offset, n = sizeOf(tensor.shape);
        return [name, Array.from(typed(tensor.dtype, data, at, n))];
      })),
    }));
  }

  [Symbol.dispose](): void {
    if (this.#buffer) this.#gpu.destroyBuffer(this.#buffer);
  }
}
