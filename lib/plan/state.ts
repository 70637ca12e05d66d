/** Parameters, gradients and moments on the GPU: the one owner of what outlives a plan. */
import { ConfigError, DataError, ShapeError } from "../core/errors.ts";
import { showShape, sizeOf } from "../core/shape.ts";
import type { Gpu } from "../gpu/device.ts";
import { type BufferRange, readBuffers } from "../gpu/readback.ts";
import { type Param, type ShardSource, Tensor } from "../tensor/tensor.ts";
import { type StateGroup, StateLayout, type StatePlaces } from "./state_layout.ts";

type ShardBuffer = ShardSource["buffer"];

interface Shard {
  readonly group: number;
  readonly bytes: number;
  readonly buffers: Partial<Record<ShardBuffer, GPUBuffer>>;
}

const USAGE = () => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
/** One count of steps a group, each in its own 256 bytes: what a binding's alignment asks for. */
const STEPS_STRIDE = 256;
/** Steps skipped because a gradient was not finite, and the like: see `kernels/adamw.wgsl`. */
export const STATUS_WORDS = 4;

/** Written values wait in memory for the next submit: a model of 6 GB would be there twice. */
const MAX_PENDING_BYTES = 64 * 2 ** 20;

/** Parameters in shards, with equal offsets in the four shards of a trained group. */
export class State implements StatePlaces {
  readonly #gpu: Gpu;
  readonly #layout: StateLayout;
  readonly #shards: readonly Shard[];
  readonly #steps: GPUBuffer;
  readonly #status: GPUBuffer;
  #isDisposed = false;
  #pendingBytes = 0;

  /** Allocates the shards and uploads each parameter's initial value. */
  constructor(gpu: Gpu, groups: readonly StateGroup[]) {
    this.#gpu = gpu;
    this.#layout = new StateLayout(groups, gpu.bindingLimit);
    this.#shards = this.#layout.shards.map(({ group, bytes }) => {
      const buffers: Shard["buffers"] = {};
      for (
        const name of (groups[group].isTrained ? ["param", "grad", "m", "v"] : ["param"]) as ShardBuffer[]
      ) {
        buffers[name] = gpu.createBuffer({ label: `${name} of group ${group}`, size: bytes, usage: USAGE() });
      }
      return { group, bytes, buffers };
    });
    for (const param of this.params) this.#write(param, "param", param.source.data);
    this.#steps = gpu.createBuffer({
      label: "step counts",
      size: STEPS_STRIDE * Math.max(1, groups.length),
      usage: USAGE(),
    });
    this.#status = gpu.createBuffer({ label: "status", size: 4 * STATUS_WORDS, usage: USAGE() });
  }

  /** Whether the parameter lives here. */
  has(param: Param): boolean {
    return this.#layout.placeOf(param) !== undefined;
  }

  get groups(): readonly StateGroup[] {
    return this.#layout.groups;
  }
  areAdjacent(params: readonly Param[]): boolean {
    return this.#layout.areAdjacent(params);
  }
  shardOf(param: Param): number | undefined {
    return this.#layout.shardOf(param);
  }
  /** All parameters, group by group. */
  get params(): Param[] {
    return this.#layout.params;
  }

  /** The shards of a group, as tensors for the optimiser's nodes. */
  shardsOf(group: number, buffer: "param" | "grad" | "m" | "v"): Tensor[] {
    return this.#shards.flatMap((shard, i) =>
      shard.group === group
        ? [new Tensor({ shape: [shard.bytes / 4], dtype: "f32" }, { kind: "shard", buffer, shard: i })]
        : []
    );
  }
  /** The group's count of steps: u32 `[1]`. */
  stepsOf(group: number): Tensor {
    return new Tensor({ shape: [1], dtype: "u32" }, { kind: "shard", buffer: "steps", shard: group });
  }
  /** u32 words about the step: `kernels/adamw.wgsl`. */
  get status(): Tensor {
    return new Tensor({ shape: [STATUS_WORDS], dtype: "u32" }, { kind: "shard", buffer: "status", shard: 0 });
  }

  /** The bytes of a parameter, or of its gradient or moment. */
  rangeOf(param: Param, buffer: "param" | "grad" | "m" | "v"): BufferRange {
    const place = this.#layout.placeOf(param);
    if (!place) {
      throw new ConfigError(
        `parameter "${param.source.name}" ${showShape(param.shape)} is not in this state`,
      );
    }
    return { ...this.shardRange(buffer, place.shard), offset: place.offset, bytes: 4 * sizeOf(param.shape) };
  }
  /** A whole shard. */
  shardRange(buffer: ShardBuffer, shard: number): BufferRange {
    if (buffer === "steps") return { buffer: this.#steps, offset: STEPS_STRIDE * shard, bytes: 4 };
    if (buffer === "status") return { buffer: this.#status, offset: 0, bytes: 4 * STATUS_WORDS };
    const { buffers, bytes } = this.#shards[shard];
    const found = buffers[buffer];
    if (!found) throw new ConfigError(`no "${buffer}" in a state group that is not trained`);
    return { buffer: found, offset: 0, bytes };
  }

  /** Values of some parameters (or of their gradients or moments), in the order asked for. */
  async read(
    params: readonly Param[],
    buffer: "param" | "grad" | "m" | "v" = "param",
  ): Promise<Float32Array<ArrayBuffer>[]> {
    const data = await readBuffers(this.#gpu, params.map((p) => this.rangeOf(p, buffer)));
    return data.map((bytes) => new Float32Array(bytes));
  }
  /** Steps that each group has been updated. */
  async readSteps(): Promise<number[]> {
    const data = await readBuffers(this.#gpu, this.groups.map((_, g) => this.shardRange("steps", g)));
    return data.map((bytes) => new Uint32Array(bytes)[0]);
  }
  /** Overwrites one value. @throws {ShapeError} If the length differs. */
  write(param: Param, buffer: "param" | "m" | "v", data: Float32Array<ArrayBuffer>): void {
    this.#write(param, buffer, data);
  }
  #write(param: Param, buffer: "param" | "m" | "v", data: Float32Array<ArrayBuffer>) {
    if (data.length !== sizeOf(param.shape)) {
      throw new ShapeError(`"${param.source.name}" is ${showShape(param.shape)}, got ${data.length} values`);
    }
    const range = this.rangeOf(param, buffer), { queue } = this.#gpu.device;
    queue.writeBuffer(range.buffer, range.offset, data);
    this.#pendingBytes += data.byteLength;
    if (this.#pendingBytes < MAX_PENDING_BYTES) return;
    queue.submit([]);
    this.#pendingBytes = 0;
  }
  /** Sets a group's count of steps. @throws {DataError} If it is not a count. */
  writeSteps(group: number, steps: number): void {
    if (!Number.isInteger(steps) || steps < 0) throw new DataError(`a step count is ${steps}`);
    this.#gpu.device.queue.writeBuffer(this.#steps, STEPS_STRIDE * group, new Uint32Array([steps]));
  }

  /** Bytes on the GPU. */
  get bytes(): number {
    return this.#shards.reduce((n, { bytes, buffers }) => n + bytes * Object.keys(buffers).length, 0);
  }

  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    for (const { buffers } of this.#shards) {
      for (const buffer of Object.values(buffers)) this.#gpu.destroyBuffer(buffer);
    }
    this.#gpu.destroyBuffer(this.#steps);
    this.#gpu.destroyBuffer(this.#status);
  }
}
