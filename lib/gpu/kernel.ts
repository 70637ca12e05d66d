/** From WGSL text to a pipeline: preludes appended, bindings read from the text, compile errors with their place. */
import { GpuError } from "../core/errors.ts";
import finishWgsl from "../../kernels/prelude/finish.wgsl" with { type: "text" };
import finishGeluWgsl from "../../kernels/prelude/finish_gelu.wgsl" with { type: "text" };
import gridWgsl from "../../kernels/prelude/grid.wgsl" with { type: "text" };
import mathWgsl from "../../kernels/prelude/math.wgsl" with { type: "text" };
import matmulWgsl from "../../kernels/prelude/matmul.wgsl" with { type: "text" };
import randomWgsl from "../../kernels/prelude/random.wgsl" with { type: "text" };
import reduceWgsl from "../../kernels/prelude/reduce.wgsl" with { type: "text" };
import reduceSubgroupWgsl from "../../kernels/prelude/reduce_subgroup.wgsl" with { type: "text" };
import stepWgsl from "../../kernels/prelude/step.wgsl" with { type: "text" };
import { type Gpu, neededLimits } from "./device.ts";
import { GROUPED_ENTRY, groupedWgsl } from "./grouped.ts";

const PRELUDES: Readonly<Record<string, string>> = {
  finish: finishWgsl,
  finish_gelu: finishGeluWgsl,
  grid: gridWgsl,
  math: mathWgsl,
  matmul: matmulWgsl,
  random: randomWgsl,
  reduce: reduceWgsl,
  reduce_subgroup: reduceSubgroupWgsl,
  step: stepWgsl,
};

/** What a pipeline is made from. */
export interface KernelSource {
  readonly file: string;
  readonly wgsl: string;
}

/** A storage binding of group 0, as its line in the WGSL says. */
export interface Binding {
  readonly name: string;
  readonly index: number;
  readonly access: "read" | "read_write";
  /** Its WGSL type: `array<vec4f>`. */
  readonly type: string;
}

/** A field of the kernel's `Sizes` struct. */
export interface SizeField {
  readonly name: string;
  readonly type: "u32" | "i32" | "f32";
}

/** What the text of a kernel declares. */
export interface KernelInterface {
  readonly bindings: ReadonlyMap<string, Binding>;
  readonly fields: readonly SizeField[];
  readonly preludes: readonly string[];
}

/** Bytes of one dispatch's slice of the plan's uniform of sizes. */
export const SIZES_BYTES = 256;
/** Bytes of the step uniform: `kernels/prelude/step.wgsl`. */
export const STEP_BYTES = 80;

const BINDING =
  /^\s*@group\(0\)\s*@binding\((\d+)\)\s*var<storage,\s*(read|read_write)>\s*(\w+)\s*:\s*([^;]+);/;

/** Reads bindings, sizes and preludes from a kernel's text. @throws {GpuError} If a line is not of the expected form. */
export function parseKernel({ file, wgsl }: KernelSource): KernelInterface {
  const bindings = new Map<string, Binding>();
  wgsl.split("\n").forEach((line, i) => {
    const m = BINDING.exec(line);
    if (m) {
      const [, index, access, name, type] = m;
      bindings.set(name, { name, index: Number(index), access: access as Binding["access"], type });
    } else if (/@group\(0\)/.test(line)) {
      throw new GpuError(
        `${file}:${i + 1}: a binding of group 0 stands on one line, as var<storage, read|read_write>`,
      );
    }
  });
  const struct = /struct Sizes\s*\{([^}]*)\}/.exec(wgsl);
  const body = (struct?.[1] ?? "").replace(/\/\/[^\n]*/g, "");
  const fields = [...body.matchAll(/(\w+)\s*:\s*(\w+)/g)].map(([, name, type]): SizeField => {
    if (type !== "u32" && type !== "i32" && type !== "f32") {
      throw new GpuError(`${file}: field "${name}" of Sizes is ${type}; only u32, i32 and f32 are packed`);
    }
    return { name, type };
  });
  if (fields.length * 4 > SIZES_BYTES) {
    throw new GpuError(`${file}: Sizes has ${fields.length} fields, at most 64`);
  }
  const preludes = (/^\/\/ @prelude (.+)$/m.exec(wgsl)?.[1] ?? "").split(/\s+/).filter(Boolean);
  for (const name of preludes) {
    if (!(name in PRELUDES)) {
      throw new GpuError(`${file}: no prelude "${name}"; there are ${Object.keys(PRELUDES).join(", ")}`);
    }
  }
  return { bindings, fields, preludes };
}

/** Packs the values of a dispatch's sizes as the struct lays them out. */
export function packSizes(
  source: KernelSource,
  fields: readonly SizeField[],
  sizes: Readonly<Record<string, number>>,
): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(Math.max(16, Math.ceil(fields.length / 4) * 16)));
  fields.forEach(({ name, type }, i) => {
    const value = sizes[name];
    if (value === undefined) throw new GpuError(`${source.file}: the dispatch gives no "${name}"`);
    if (type === "f32") view.setFloat32(4 * i, value, true);
    else if (!Number.isInteger(value)) {
      throw new GpuError(`${source.file}: size "${name}" is ${value}, not an integer`);
    } else if (type === "u32") view.setUint32(4 * i, value, true);
    else view.setInt32(4 * i, value, true);
  });
  return view.buffer;
}

/** A pipeline and what binding to it takes. */
export interface Pipeline {
  readonly key: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  /** The bindings of this entry, in the order of `names`. */
  readonly bindings: readonly Binding[];
}

/** What identifies a pipeline. */
export interface Variant {
  readonly kernel: KernelSource;
  readonly entry: string;
  /** Names of the bindings that the entry uses. */
  readonly names: readonly string[];
  readonly constants?: Readonly<Record<string, number>>;
  /** One launch for several (`grouped.ts`): names that use the binding of another name. */
  readonly shared?: Readonly<Record<string, string>>;
}

/** Text that names a variant: `kernels/softmax.wgsl/forward{WG=64}`. */
export function variantKey({ kernel, entry, names, constants = {}, shared }: Variant): string {
  const values = Object.keys(constants).sort().map((k) => `${k}=${constants[k]}`).join(", ");
  const bound = names.map((name) => shared && name in shared ? `${name} in ${shared[name]}` : name).join(
    ", ",
  );
  return `${kernel.file}/${entry}${values ? `{${values}}` : ""}(${bound})${shared ? " grouped" : ""}`;
}

const parsedKernels = new Map<string, { readonly parsed: KernelInterface; readonly text: string }>();

/** What a kernel's text declares, and the text with its preludes; worked out once a text. */
export function kernelText(
  kernel: KernelSource,
): { readonly parsed: KernelInterface; readonly text: string } {
  const key = kernel.file + "\n" + kernel.wgsl;
  let known = parsedKernels.get(key);
  if (!known) {
    const parsed = parseKernel(kernel);
    const text = [kernel.wgsl, ...parsed.preludes.map((name) => PRELUDES[name])].join("\n");
    parsedKernels.set(key, known = { parsed, text });
  }
  return known;
}

/** All pipelines of a device, made once each. */
export class PipelineCache {
  readonly stepLayout: GPUBindGroupLayout;
  readonly #gpu: Gpu;
  readonly #modules = new Map<string, Promise<GPUShaderModule>>();
  readonly #pipelines = new Map<string, Promise<Pipeline>>();

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
    this.stepLayout = gpu.device.createBindGroupLayout({
      label: "sizes and step",
      entries: [
        { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: "uniform" } },
        { binding: 1, visibility: GPUShaderStage.COMPUTE, buffer: { type: "uniform" } },
      ],
    });
  }

  /** Number of pipelines made so far. */
  get size(): number {
    return this.#pipelines.size;
  }

  has(variant: Variant): boolean {
    return this.#pipelines.has(variantKey(variant));
  }

  /** The pipeline of a variant. @throws {GpuError} With file, line and column where the WGSL does not compile. */
  get(variant: Variant): Promise<Pipeline> {
    const key = variantKey(variant);
    let pipeline = this.#pipelines.get(key);
    if (!pipeline) this.#pipelines.set(key, pipeline = this.#create(variant, key));
    return pipeline;
  }

  #module(file: string, code: string): Promise<GPUShaderModule> {
    const key = file + "\n" + code;
    let module = this.#modules.get(key);
    if (!module) this.#modules.set(key, module = this.#compile(file, code));
    return module;
  }

  async #compile(file: string, code: string): Promise<GPUShaderModule> {
    const { device } = this.#gpu;
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label: file, code });
    const error = await device.popErrorScope();
    const messages = (await module.getCompilationInfo()).messages.filter((m) => m.type === "error");
    if (error || messages.length > 0) {
      // The compiler's text is several lines: what is wrong, then the source with a mark under the place.
      const m = messages[0];
      const [what, ...excerpt] = (m?.message ?? error?.message ?? "").trim().split("\n");
      const place = m ? `${file}:${m.lineNum}:${m.linePos}` : file;
      throw new GpuError(`${place}: ${what.replace(/^Shader '[^']*' parsing error: /, "")}`, {
        where: excerpt.join("\n").trimEnd(),
      });
    }
    return module;
  }

  async #create(variant: Variant, key: string): Promise<Pipeline> {
    const { kernel, entry, names, constants, shared } = variant;
    const { device } = this.#gpu;
    const { parsed, text } = kernelText(kernel);
    const bindings = names.filter((name) => !(shared && name in shared)).map((name) => {
      const binding = parsed.bindings.get(name);
      if (!binding) {
        throw new GpuError(
          `${kernel.file} has no binding "${name}"; ${entry} may bind ${
            [...parsed.bindings.keys()].join(", ")
          }`,
        );
      }
      return binding;
    });
    // By the default limit, not this adapter's: else the kernel would fail on another user's.
    const most = neededLimits.maxStorageBuffersPerShaderStage;
    if (bindings.length > most) {
      throw new GpuError(
        `${kernel.file}: ${entry} binds ${bindings.length} storage buffers, at most ${most}`,
        {
          where: key,
          fix: "split the entry, or pack two tensors in one buffer",
        },
      );
    }
    const code = shared ? groupedWgsl(text, { entry, names, shared }) : text;
    const module = await this.#module(kernel.file, code);
    device.pushErrorScope("validation");
    const layout = device.createBindGroupLayout({
      label: key,
      entries: bindings.map(({ index, access }) => ({
        binding: index,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: access === "read" ? "read-only-storage" : "storage" },
      })),
    });
    const pipeline = device.createComputePipeline({
      label: key,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout, this.stepLayout] }),
      compute: { module, entryPoint: shared ? GROUPED_ENTRY : entry, constants },
    });
    const error = await device.popErrorScope();
    if (error) throw new GpuError(error.message, { where: key });
    return { key, pipeline, layout, bindings };
  }
}

const caches = new WeakMap<GPUDevice, PipelineCache>();

/** The device's cache of pipelines. */
export function pipelinesOf(gpu: Gpu): PipelineCache {
  let cache = caches.get(gpu.device);
  if (!cache) caches.set(gpu.device, cache = new PipelineCache(gpu));
  return cache;
}
