/** A lowered trace on a GPU: buffers, bind groups, and the replay as one submit a step. */
import { ConfigError } from "../core/errors.ts";
import { bytesOf, type Shape, showShape, sizeOf } from "../core/shape.ts";
import type { Gpu } from "../gpu/device.ts";
import { STEP_BYTES } from "../gpu/kernel.ts";
import { Profiler, type ProfileRow } from "../gpu/profile.ts";
import { type BufferRange, copyRange, readBuffers } from "../gpu/readback.ts";
import type { Tensor, TensorData } from "../tensor/tensor.ts";
import { buildCommands, type Commands, encodeLaunch, profileRows, warmUp } from "./launch.ts";
import type { Lowered } from "./lower.ts";
import { type ResultRow, ResultsRing } from "./results.ts";
import type { SlabPool } from "./slab_pool.ts";
import type { State } from "./state.ts";
import { checkInput, packStep, padded, type StepInfo, typed } from "./values.ts";

export type { BufferRange } from "../gpu/readback.ts";
export type { StepInfo } from "./values.ts";

/** What a plan is built from. */
export interface PlanOptions {
  readonly label: string;
  readonly state: State;
  /** Values that `read` gives. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Small values that go to the ring at each step: losses, counts. */
  readonly results: Readonly<Record<string, Tensor>>;
  /** Seed of every random number on the GPU. */
  readonly seed: number;
  /** Frees the state with the plan: where the plan made it. */
  readonly ownsState?: boolean;
  /** Times every dispatch: slow. */
  readonly profile?: boolean;
  /** Extra bytes after each slab, filled with NaN before each run: see `checkGuards`. */
  readonly guardBytes?: number;
  /** Slabs that it may share with plans that never hold values at the same time. Without one it has its own. */
  readonly slabs?: SlabPool;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** Inputs of a run by name: values, or ranges of buffers that hold them. */
export type RunInputs = Readonly<Record<string, TensorData | BufferRange | undefined>>;
/** Where outputs go at the end of a run, by name. */
export type CopiesTo = Readonly<Record<string, BufferRange>>;

/** A NaN: what reads it by mistake shows. */
const GUARD = 0x7fc0dead;
const STORAGE = () => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/** Buffers and bind groups of one signature. Owns all of it; the state is the caller's unless `ownsState`. */
export class Plan {
  readonly label: string;
  readonly state: State;
  readonly #gpu: Gpu;
  readonly #lowered: Lowered;
  readonly #options: PlanOptions;
  readonly #owned: GPUBuffer[] = [];
  readonly #slabs: GPUBuffer[];
  readonly #inputs = new Map<string, GPUBuffer>();
  readonly #constants: GPUBuffer[];
  readonly #step: GPUBuffer;
  readonly #ring: ResultsRing;
  readonly #profiler?: Profiler;
  #commands!: Commands; // set by #prepare, before create() gives the plan away
  #isDisposed = false;

  private constructor(gpu: Gpu, lowered: Lowered, options: PlanOptions) {
    this.#gpu = gpu;
    this.#lowered = lowered;
    this.#options = options;
    this.label = options.label;
    this.state = options.state;
    const guard = options.guardBytes ?? 0;
    this.#slabs = options.slabs?.take(lowered.slabs) ??
      lowered.slabs.map((bytes, i) => this.#own(`slab ${i}`, bytes + guard, STORAGE()));
    for (const [name, t] of lowered.inputs) {
      this.#inputs.set(name, this.#own(`input ${name}`, padded(bytesOf(t)), STORAGE()));
    }
    this.#constants = lowered.constants.map((data) => {
      const buffer = this.#own("constant", padded(data.byteLength), STORAGE());
      gpu.device.queue.writeBuffer(buffer, 0, data);
      return buffer;
    });
    this.#step = this.#own("step", STEP_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
    this.#ring = new ResultsRing(gpu, options.results, (t) => this.#rangeOf(t));
    const count = lowered.steps.filter((s) => s.kind === "launch").length;
    if (options.profile && gpu.features.has("timestamp-query")) this.#profiler = new Profiler(gpu, count);
  }

  /** Allocates, makes the pipelines, and warms them up. @throws {GpuError} */
  static async create(gpu: Gpu, lowered: Lowered, options: PlanOptions): Promise<Plan> {
    const plan = new Plan(gpu, lowered, options);
    try {
      await plan.#prepare();
    } catch (error) {
      plan[Symbol.dispose]();
      throw error;
    }
    return plan;
  }

  async #prepare() {
    this.#commands = await buildCommands(this.#gpu, this.#lowered, {
      label: this.label,
      state: this.state,
      step: this.#step,
      own: (label, bytes, usage) => this.#own(label, bytes, usage),
      rangeOf: (t) => this.#rangeOf(t),
    });
    await warmUp(this.#gpu, this.#commands, this.#options.onProgress);
  }

  #own(label: string, size: number, usage: GPUBufferUsageFlags): GPUBuffer {
    const buffer = this.#gpu.createBuffer({ label: `${this.label}: ${label}`, size, usage });
    this.#owned.push(buffer);
    return buffer;
  }

  #rangeOf(tensor: Tensor): BufferRange {
    const place = this.#lowered.place(tensor);
    const bytes = padded(bytesOf(tensor));
    switch (place.kind) {
      case "slab": {
        const buffer = this.#slabs[place.slab];
        // With guards each value has a slab of its own, whose end is theirs.
        return { buffer, offset: place.offset, bytes: this.#options.guardBytes ? buffer.size : bytes };
      }
      case "input":
        return { buffer: this.#inputs.get(place.name) as GPUBuffer, offset: 0, bytes }; // allocated in the constructor
      case "constant":
        return { buffer: this.#constants[place.index], offset: 0, bytes };
      case "param":
      case "grad": {
        const { buffer, offset } = this.state.rangeOf(place.param, place.kind);
        return { buffer, offset: offset + place.offset, bytes };
      }
      case "shard":
        return this.state.shardRange(place.buffer, place.shard);
    }
  }

  /** The buffer of an input. @throws {ConfigError} If the plan does not read it. */
  inputRange(name: string): BufferRange {
    const tensor = this.#lowered.inputs.get(name);
    if (!tensor) {
      throw new ConfigError(`no input "${name}"; there are ${[...this.#lowered.inputs.keys()].join(", ")}`);
    }
    return { ...this.#rangeOf(tensor), bytes: bytesOf(tensor) };
  }

  /** Where an output is after a run, until the next one. @throws {ConfigError} If there is no such output. */
  outputRange(name: string): BufferRange {
    const tensor = this.#output(name);
    return { ...this.#rangeOf(tensor), bytes: bytesOf(tensor) };
  }

  #output(name: string): Tensor {
    const { outputs } = this.#options, tensor = outputs[name];
    if (tensor) return tensor;
    throw new ConfigError(`no output "${name}"; there are ${Object.keys(outputs).join(", ")}`);
  }

  /**
   * Writes the inputs, encodes, submits. Does not wait.
   *
   * @param inputs Values, or ranges of buffers that hold them; the input's own range leaves it as it is.
   * @throws {ShapeError} If an input is missing or of another length or type.
   * @throws {ConfigError} If the ring is full: call `results` at least every 64 runs.
   * @throws {GpuError} If the device failed since the last call.
   */
  run(inputs: RunInputs, info: StepInfo = {}, copiesTo: CopiesTo = {}): void {
    this.#gpu.check();
    const { device } = this.#gpu;
    const encoder = device.createCommandEncoder({ label: this.label });
    for (const [name, tensor] of this.#lowered.inputs) {
      const value = inputs[name], to = this.inputRange(name);
      if (value && !ArrayBuffer.isView(value)) copyRange(encoder, value, to);
      else {
        checkInput(name, tensor, value);
        device.queue.writeBuffer(to.buffer, 0, value);
      }
    }
    device.queue.writeBuffer(this.#step, 0, packStep(info, this.#options.seed));
    if (this.#options.guardBytes) this.#fillGuards();

    let pass: GPUComputePassEncoder | undefined;
    let launch = 0;
    for (const command of this.#commands.list) {
      if ("copy" in command) {
        pass?.end();
        pass = undefined;
        const { from, to } = command.copy;
        encoder.copyBufferToBuffer(from.buffer, from.offset, to.buffer, to.offset, to.bytes);
      } else {
        if (this.#profiler) {
          pass?.end();
          pass = encoder.beginComputePass({ timestampWrites: this.#profiler.writesOf(launch++) });
        }
        encodeLaunch(pass ??= encoder.beginComputePass(), command);
      }
    }
    pass?.end();
    for (const [name, to] of Object.entries(copiesTo)) copyRange(encoder, this.outputRange(name), to);
    this.#ring.encode(encoder, info.index ?? 0);
    this.#profiler?.resolve(encoder);
    device.queue.submit([encoder.finish()]);
  }

  /** The results of all runs since the last call, oldest first. Waits for the GPU. */
  results(): Promise<ResultRow[]> {
    return this.#ring.drain();
  }

  /** Values of outputs after the last run. Waits for the GPU. */
  async read(...names: readonly string[]): Promise<Record<string, { shape: Shape; data: TensorData }>> {
    const wanted = names.length > 0 ? names : Object.keys(this.#options.outputs);
    const tensors = wanted.map((name) => this.#output(name));
    const data = await readBuffers(
      this.#gpu,
      tensors.map((t) => ({ ...this.#rangeOf(t), bytes: bytesOf(t) })),
    );
    return Object.fromEntries(
      wanted.map((name, i) => [name, { shape: tensors[i].shape, data: typed(tensors[i].dtype, data[i]) }]),
    );
  }

  /** Time of each launch of the last run, with what it had to do; empty without timestamps. */
  async profile(): Promise<ProfileRow[]> {
    if (!this.#profiler) return [];
    return profileRows(this.#commands.launches, await this.#profiler.read());
  }

  /** Figures of the plan: launches, pipelines, bytes. */
  get info(): {
    dispatches: number;
    pipelines: number;
    slabBytes: number;
    peakBytes: number;
    totalBytes: number;
  } {
    const { launches } = this.#commands;
    return {
      dispatches: launches.length,
      pipelines: new Set(launches.map((c) => c.pipeline)).size,
      slabBytes: this.#lowered.slabs.reduce((a, b) => a + b, 0),
      peakBytes: this.#lowered.peakBytes,
      totalBytes: this.#lowered.totalBytes,
    };
  }

  #fillGuards() {
    for (const slab of this.#slabs) {
      this.#gpu.device.queue.writeBuffer(slab, 0, new Uint32Array(slab.size / 4).fill(GUARD));
    }
  }

  /**
   * The first node of the last run whose value holds a NaN or an infinity, as text; for plans compiled with
   * `keepValues`. Waits for the GPU.
   */
  async firstNonFinite(): Promise<string | undefined> {
    for (const node of this.#lowered.nodes) {
      if (node.op.isView || node.outputs.length === 0) continue;
      const data = await readBuffers(
        this.#gpu,
        node.outputs.map((t) => ({ ...this.#rangeOf(t), bytes: bytesOf(t) })),
      );
      const bad = node.outputs.findIndex((t, i) =>
        t.dtype === "f32" && !new Float32Array(data[i]).every(Number.isFinite)
      );
      if (bad < 0) continue;
      const inputs = node.inputs.map((t) => showShape(t.shape)).join(" ");
      return `${node.op.name} ${inputs} -> ${showShape(node.outputs[bad].shape)}${
        node.scope ? ` in ${node.scope}` : ""
      }`;
    }
    return undefined;
  }

  /** With `guardBytes`: the outputs of which something was written behind the last element. */
  async checkGuards(): Promise<string[]> {
    const outputs = Object.entries(this.#options.outputs).filter(([, t]) =>
      this.#lowered.place(t).kind === "slab"
    );
    const data = await readBuffers(this.#gpu, outputs.map(([, t]) => this.#rangeOf(t)));
    return outputs.flatMap(([name, t], i) =>
      new Uint32Array(data[i]).subarray(sizeOf(t.shape)).every((word) => word === GUARD) ? [] : [name]
    );
  }

  /** Frees what the plan owns; the state only if the plan made it. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    for (const buffer of this.#owned) this.#gpu.destroyBuffer(buffer);
    this.#ring[Symbol.dispose]();
    this.#profiler?.[Symbol.dispose]();
    if (this.#options.ownsState) this.state[Symbol.dispose]();
  }
}
