/** The launches of a plan: pipelines, bind groups and slices of the sizes uniform, made once and encoded at each run. */
import { GpuError } from "../core/errors.ts";
import { showShape } from "../core/shape.ts";
import type { Gpu } from "../gpu/device.ts";
import {
  packSizes,
  type Pipeline,
  pipelinesOf,
  SIZES_BYTES,
  type Variant,
  variantKey,
} from "../gpu/kernel.ts";
import type { ProfileRow } from "../gpu/profile.ts";
import type { BufferRange } from "../gpu/readback.ts";
import type { Dispatch, Node } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Lowered } from "./lower.ts";
import type { State } from "./state.ts";

/** A launch, ready to encode. */
export interface Launch {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  /** Bind group 1: its sizes, and the step. */
  readonly stepGroup: GPUBindGroup;
  readonly grid: readonly [number, number, number];
  readonly dispatch: Dispatch;
  readonly node: Node;
  readonly isFirstOfNode: boolean;
}

/** What a run encodes, in order. */
export type Command = Launch | { readonly copy: { readonly from: BufferRange; readonly to: BufferRange } };

/** All commands of a plan and what they share. */
export interface Commands {
  readonly list: readonly Command[];
  readonly launches: readonly Launch[];
  /** Bind group 1 with sizes of zero: what warming up uses. */
  readonly zeroGroup: GPUBindGroup;
  /** Pipelines that this plan is the first to use. */
  readonly fresh: ReadonlySet<string>;
}

/** What the commands are built for. */
export interface CommandOptions {
  readonly label: string;
  readonly state: State;
  /** The step uniform. */
  readonly step: GPUBuffer;
  /** Allocates a buffer that the plan owns. */
  own(label: string, bytes: number, usage: GPUBufferUsageFlags): GPUBuffer;
  /** Where a tensor's bytes are. */
  rangeOf(tensor: Tensor): BufferRange;
}

const variantOf = (d: Dispatch): Variant => ({
  kernel: d.kernel,
  entry: d.entry,
  names: Object.keys(d.bind),
  constants: d.constants,
});

/** Makes pipelines, sizes and bind groups. @throws {GpuError} If a kernel or a binding is refused. */
export async function buildCommands(gpu: Gpu, lowered: Lowered, options: CommandOptions): Promise<Commands> {
  const { device } = gpu;
  const cache = pipelinesOf(gpu);
  const { label, state, step, own, rangeOf } = options;
  const dispatches = lowered.steps.flatMap((s) => s.kind === "dispatch" ? [s.dispatch] : []);
  const variants = new Map(dispatches.map((d) => [variantKey(variantOf(d)), variantOf(d)]));
  const fresh = new Set([...variants].flatMap(([key, variant]) => cache.has(variant) ? [] : [key]));
  const pipelines = new Map<string, Pipeline>();
  for (const [key, variant] of variants) pipelines.set(key, await cache.get(variant));

  device.pushErrorScope("validation");
  const { buffer: sizes, count, sliceOf } = uploadSizes(gpu, dispatches, own);
  // A bind group a slice, not one with a dynamic offset: llvmpipe copies a whole descriptor set at each such binding.
  const groups = Array.from({ length: count }, (_, slice) =>
    device.createBindGroup({
      label,
      layout: cache.stepLayout,
      entries: [
        { binding: 0, resource: { buffer: sizes, offset: slice * SIZES_BYTES, size: SIZES_BYTES } },
        { binding: 1, resource: { buffer: step } },
      ],
    }));
  let index = 0;
  let previous: Node | undefined;
  const list = lowered.steps.map((one): Command => {
    if (one.kind === "copy") {
      return { copy: { from: rangeOf(one.value), to: state.rangeOf(one.param, one.buffer) } };
    }
    const { dispatch, node } = one;
    const { pipeline, layout, bindings } = pipelines.get(variantKey(variantOf(dispatch))) as Pipeline; // made above
    const bindGroup = device.createBindGroup({
      label: `${dispatch.kernel.file}/${dispatch.entry}`,
      layout,
      entries: bindings.map(({ name, index }) => {
        const { buffer, offset, bytes } = rangeOf(dispatch.bind[name]);
        return { binding: index, resource: { buffer, offset, size: bytes } };
      }),
    });
    const isFirstOfNode = previous !== node;
    previous = node;
    return {
      pipeline,
      bindGroup,
      stepGroup: groups[sliceOf[index++]],
      grid: dispatch.grid,
      dispatch,
      node,
      isFirstOfNode,
    };
  });
  const error = await device.popErrorScope();
  if (error) throw new GpuError(error.message, { where: label });
  gpu.check();
  return { list, launches: list.filter((c): c is Launch => "pipeline" in c), zeroGroup: groups[0], fresh };
}

/** The plan's uniform of sizes. Equal sizes share a slice; slice 0 is all zeros: what warming up uses. */
function uploadSizes(gpu: Gpu, dispatches: readonly Dispatch[], own: CommandOptions["own"]) {
  const cache = pipelinesOf(gpu);
  const slices: ArrayBuffer[] = [new ArrayBuffer(SIZES_BYTES)];
  const known = new Map<string, number>();
  const sliceOf = dispatches.map(({ kernel, sizes }) => {
    const bytes = packSizes(kernel, cache.interfaceOf(kernel).fields, sizes);
    const key = new Uint32Array(bytes).join(",");
    let slice = known.get(key);
    if (slice === undefined) known.set(key, slice = slices.push(bytes) - 1);
    return slice;
  });
  const buffer = own("sizes", slices.length * SIZES_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
  slices.forEach((bytes, i) => gpu.queue.writeBuffer(buffer, i * SIZES_BYTES, bytes));
  return { buffer, count: slices.length, sliceOf };
}

/** Encodes one launch. */
export function encodeLaunch(pass: GPUComputePassEncoder, launch: Launch): void {
  pass.setPipeline(launch.pipeline);
  pass.setBindGroup(0, launch.bindGroup);
  pass.setBindGroup(1, launch.stepGroup);
  pass.dispatchWorkgroups(...launch.grid);
}

/** Between two lines of progress while pipelines are compiled. */
const SHOWN_MS = 100;

/**
 * A pipeline's first dispatch compiles it: one launch of each fresh one, with sizes of zero, so that a kernel touches
 * nothing. Those that write state are left out: nothing may change it before the first step.
 */
export async function warmUp(
  gpu: Gpu,
  { launches, zeroGroup, fresh }: Commands,
  onProgress?: (done: number, total: number, what: string) => void,
): Promise<void> {
  const left = new Set(fresh), started: Promise<void>[] = [];
  let waited = performance.now(), last = "";
  const wait = async () => {
    await Promise.all(started.splice(0)); // sync: compiling is what is waited for and shown
    waited = performance.now();
    onProgress?.(fresh.size - left.size, fresh.size, last);
  };
  for (const launch of launches) {
    const writesState = Object.values(launch.dispatch.bind).some(({ source }) =>
      source.kind === "shard" || source.kind === "gradient"
    );
    const key = variantKey(variantOf(launch.dispatch));
    if (writesState || !left.delete(key)) continue;
    last = key;
    const encoder = gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    encodeLaunch(pass, { ...launch, stepGroup: zeroGroup, grid: [1, 1, 1] });
    pass.end();
    gpu.queue.submit([encoder.finish()]);
    started.push(gpu.queue.onSubmittedWorkDone());
    // Deno looks every 10 ms whether the work is done: waiting for each pipeline would cost that each.
    if (performance.now() - waited >= SHOWN_MS) await wait();
  }
  if (started.length > 0) await wait();
}

/** What each launch did and how long it took; the cost of a node stands at its first one. */
export const profileRows = (launches: readonly Launch[], ms: ArrayLike<number>): ProfileRow[] =>
  launches.map(({ dispatch, node, isFirstOfNode }, i) => ({
    kernel: `${dispatch.kernel.file}/${dispatch.entry}`,
    shape: [...node.inputs, ...node.outputs].slice(0, 3).map((t) => showShape(t.shape)).join(" "),
    scope: node.scope,
    sizes: dispatch.sizes,
    ms: ms[i],
    ...isFirstOfNode ? node.op.cost(node.inputs, node.outputs, node.attrs) : { flops: 0, bytes: 0 },
  }));
