/** The launches of a plan: pipelines, bind groups and slices of the sizes uniform, made once and encoded at each run. */
import { GpuError } from "../core/errors.ts";
import { showShape } from "../core/shape.ts";
import { elementBytes, packMembers } from "../gpu/grouped.ts";
import type { Gpu } from "../gpu/device.ts";
import {
  kernelText,
  packSizes,
  type Pipeline,
  pipelinesOf,
  SIZES_BYTES,
  type Variant,
  variantKey,
} from "../gpu/kernel.ts";
import type { ProfileRow } from "../gpu/profile.ts";
import type { BufferRange } from "../gpu/readback.ts";
import { type Dispatch, MAX_GROUPS } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Lowered } from "./lower.ts";
import { MAX_BYTES, type Member } from "./schedule.ts";
import type { State } from "./state.ts";

/** A launch, ready to encode. */
export interface Launch {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  /** Bind group 1: its sizes, and the step. */
  readonly stepGroup: GPUBindGroup;
  readonly grid: readonly [number, number, number];
  readonly variant: Variant;
  readonly members: readonly Member[];
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

/** Sizes or a table, and the bytes that its binding shows from there. */
interface Uniform {
  readonly data: ArrayBuffer;
  readonly shown: number;
}

/** What a launch binds: its pipeline, the range of each binding, its sizes or the table of its members, its workgroups. */
interface Bound {
  readonly variant: Variant;
  readonly ranges: ReadonlyMap<string, BufferRange>;
  readonly uniform: Uniform;
  readonly grid: readonly [number, number, number];
}

const variantOf = ({ kernel, entry, bind, constants }: Dispatch): Variant => ({
  kernel,
  entry,
  names: Object.keys(bind),
  constants,
});

type RangeOf = CommandOptions["rangeOf"];
const sizesOf = ({ kernel, sizes }: Dispatch): ArrayBuffer =>
  packSizes(kernel, kernelText(kernel).parsed.fields, sizes);

function bindOne(dispatch: Dispatch, rangeOf: RangeOf): Bound {
  const ranges = new Map(Object.entries(dispatch.bind).map(([name, x]) => [name, rangeOf(x)]));
  const uniform = { data: sizesOf(dispatch), shown: SIZES_BYTES };
  return { variant: variantOf(dispatch), ranges, uniform, grid: dispatch.grid };
}

/** Several dispatches of one kernel as one launch: each binding shows what all of them bind there. */
function bindTogether(dispatches: readonly Dispatch[], rangeOf: RangeOf): Bound {
  const { kernel, bind } = dispatches[0], { bindings } = kernelText(kernel).parsed;
  const names = Object.keys(bind), typeOf = (name: string) => bindings.get(name)?.type ?? "";
  const all = new Map(names.map((name) => [name, dispatches.map((d) => rangeOf(d.bind[name]))]));
  const rangesAt = (name: string) => all.get(name) as BufferRange[]; // of each name
  // Written bindings of one buffer would overlap: the first of them serves for all.
  const written = names.filter((name) => bindings.get(name)?.access === "read_write");
  const shared: Record<string, string> = {};
  for (const name of written) {
    const isSame = (other: string) =>
      rangesAt(other)[0].buffer === rangesAt(name)[0].buffer && typeOf(other) === typeOf(name);
    const first = written.find(isSame);
    if (first !== undefined && first !== name) shared[name] = first;
  }
  const ranges = new Map<string, BufferRange>();
  for (const name of names) {
    if (name in shared) continue;
    const shown = names.filter((other) => (shared[other] ?? other) === name).flatMap(rangesAt);
    const offset = Math.min(...shown.map(({ offset }) => offset));
    const end = Math.max(...shown.map(({ offset, bytes }) => offset + bytes));
    ranges.set(name, { buffer: shown[0].buffer, offset, bytes: end - offset });
  }
  const { table, workgroups, bytes } = packMembers(dispatches.map((dispatch, d) => ({
    grid: dispatch.grid,
    bases: names.map((name) => {
      const start = ranges.get(shared[name] ?? name)?.offset ?? 0;
      return (rangesAt(name)[d].offset - start) / (elementBytes(typeOf(name)) ?? 4);
    }),
    sizes: sizesOf(dispatch),
  })));
  return {
    variant: { ...variantOf(dispatches[0]), shared },
    ranges,
    uniform: { data: table, shown: bytes },
    grid: [workgroups, 1, 1],
  };
}

/**
 * Whether finding its place in a table of one member would show in a launch's time. It takes each workgroup the same, which
 * shows where much is moved and little computed: a quarter of the time of a gelu of 2 MiB, nothing of a matrix product's.
 */
const isMovement = ({ cost: { flops, bytes } }: Member): boolean => bytes > MAX_BYTES && flops < 4 * bytes;

/** What all launches bind. Where a kernel takes several together anyway, most take one by the same pipeline: half to compile. */
function bindAll(launches: readonly (readonly Member[])[], rangeOf: RangeOf): Bound[] {
  const together = launches.map((members) => bindTogether(members.map(({ dispatch }) => dispatch), rangeOf));
  const needed = new Set(
    together.flatMap(({ variant }, i) => launches[i].length > 1 ? [variantKey(variant)] : []),
  );
  return together.map((bound, i) => {
    const [member, ...others] = launches[i];
    const isOne = others.length > 0 ||
      (needed.has(variantKey(bound.variant)) && bound.grid[0] <= MAX_GROUPS && !isMovement(member));
    return isOne ? bound : bindOne(member.dispatch, rangeOf);
  });
}

/** Makes pipelines, sizes and bind groups. @throws {GpuError} If a kernel or a binding is refused. */
export async function buildCommands(gpu: Gpu, lowered: Lowered, options: CommandOptions): Promise<Commands> {
  const { device } = gpu;
  const cache = pipelinesOf(gpu);
  const { label, state, step, own, rangeOf } = options;
  const bounds = bindAll(lowered.steps.flatMap((s) => s.kind === "copy" ? [] : [s.members]), rangeOf);
  const variants = new Map(bounds.map(({ variant }) => [variantKey(variant), variant]));
  const fresh = new Set([...variants].flatMap(([key, variant]) => cache.has(variant) ? [] : [key]));
  const pipelines = new Map<string, Pipeline>();
  for (const [key, variant] of variants) pipelines.set(key, await cache.get(variant));

  device.pushErrorScope("validation");
  const { buffer: sizes, slices, sliceOf, zeros } = uploadUniforms(
    gpu,
    bounds.map(({ uniform }) => uniform),
    own,
  );
  // A bind group a slice, not one with a dynamic offset: llvmpipe copies a whole descriptor set at each such binding.
  const groups = slices.map(({ offset, size }) =>
    device.createBindGroup({
      label,
      layout: cache.stepLayout,
      entries: [
        { binding: 0, resource: { buffer: sizes, offset, size } },
        { binding: 1, resource: { buffer: step } },
      ],
    })
  );
  let index = 0;
  const list = lowered.steps.map((one): Command => {
    if (one.kind === "copy") {
      return { copy: { from: rangeOf(one.value), to: state.rangeOf(one.param, one.buffer) } };
    }
    const { variant, ranges, grid } = bounds[index], stepGroup = groups[sliceOf[index++]];
    const { pipeline, layout, bindings } = pipelines.get(variantKey(variant)) as Pipeline; // made above
    const bindGroup = device.createBindGroup({
      label: `${variant.kernel.file}/${variant.entry}`,
      layout,
      entries: bindings.map(({ name, index }) => {
        const { buffer, offset, bytes } = ranges.get(name) as BufferRange; // of each name
        return { binding: index, resource: { buffer, offset, size: bytes } };
      }),
    });
    return { pipeline, bindGroup, stepGroup, grid, variant, members: one.members };
  });
  const error = await device.popErrorScope();
  if (error) throw new GpuError(error.message, { where: label });
  gpu.check();
  return {
    list,
    launches: list.filter((c): c is Launch => "pipeline" in c),
    zeroGroup: groups[zeros],
    fresh,
  };
}

/**
 * The plan's uniform of sizes and tables. Equal ones share a slice. The last slice is all zeros: what warming up uses, and
 * room for what the bindings before it show beyond their own, which nobody reads.
 */
function uploadUniforms(gpu: Gpu, uniforms: readonly Uniform[], own: CommandOptions["own"]) {
  const slices: { readonly data: ArrayBuffer; readonly offset: number; readonly size: number }[] = [];
  const known = new Map<string, number>();
  let end = 0;
  const add = (data: ArrayBuffer, size: number): number => {
    const offset = end;
    end += Math.ceil(data.byteLength / SIZES_BYTES) * SIZES_BYTES;
    return slices.push({ data, offset, size }) - 1;
  };
  const sliceOf = uniforms.map(({ data, shown }) => {
    const key = new Uint32Array(data).join(",");
    const slice = known.get(key) ?? add(data, shown);
    known.set(key, slice);
    return slice;
  });
  const most = uniforms.reduce((bytes, { shown }) => Math.max(bytes, shown), SIZES_BYTES);
  const zeros = add(new ArrayBuffer(most), most);
  const buffer = own("sizes", end, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
  for (const { data, offset } of slices) gpu.queue.writeBuffer(buffer, offset, data);
  return { buffer, slices, sliceOf, zeros };
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
    const writesState = launch.members.some(({ dispatch }) =>
      Object.values(dispatch.bind).some(({ source: { kind } }) => kind === "shard" || kind === "gradient")
    );
    const key = variantKey(launch.variant);
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
  launches.map(({ members }, i) => {
    const parts = members.map(({ dispatch, node, cost }) => ({
      shape: [...node.inputs, ...node.outputs].slice(0, 3).map((t) => showShape(t.shape)).join(" "),
      scope: node.scope,
      sizes: dispatch.sizes,
      ...cost,
    }));
    const { kernel, entry } = members[0].dispatch, { shape, scope } = parts[0];
    return {
      kernel: `${kernel.file}/${entry}`,
      shape: parts.length === 1 ? shape : `${shape} and ${parts.length - 1} more`,
      scope,
      ms: ms[i],
      flops: parts.reduce((sum, { flops }) => sum + flops, 0),
      bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
      parts,
    };
  });
