/**
 * The one place that opens a GPU: adapter choice, limits and features, fatal errors, and the count of live buffers.
 *
 * WebGPU reports most errors after the fact, outside any call, and goes on. Here the first of them is kept and
 * `check()` throws it: a handler that threw would end the process in the middle of a step.
 */
import { env } from "../core/env.ts";
import { ConfigError, GpuError } from "../core/errors.ts";
import { formatBytes } from "../core/format.ts";

/** What the driver says of an adapter. Some drivers leave fields empty. */
export interface AdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
}

/** The key of the kernel-variant table: software drivers and GPUs want opposite kernels. */
export type DeviceClass = "software" | "gpu";

/**
 * What our kernels need: WebGPU's own defaults, so every conforming adapter has them; the fallback backends may not.
 */
export const neededLimits = {
  maxBufferSize: 128 * 2 ** 20,
  maxStorageBufferBindingSize: 128 * 2 ** 20,
  maxStorageBuffersPerShaderStage: 8,
  maxUniformBufferBindingSize: 64 * 2 ** 10,
  maxBindGroups: 2,
  maxComputeWorkgroupStorageSize: 16 * 2 ** 10,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupSizeY: 256,
  maxComputeWorkgroupSizeZ: 64,
  maxComputeWorkgroupsPerDimension: 65_535,
} as const satisfies Partial<Record<keyof GPUSupportedLimits, number>>;

export type LimitName = keyof typeof neededLimits;

/** Asked for where the adapter lists them. */
const wantedFeatures: readonly GPUFeatureName[] = ["timestamp-query", "shader-f16"];

const noAdapterFix = 'run "deno task setup": it installs a software driver where there is no GPU';

/** How to open a device. */
export interface OpenDeviceOptions {
  /** Part of the name of the adapter to take, in any case. Default: `CALA_ADAPTER`; empty is the fastest one. */
  adapter?: string;
}

/**
 * Opens a device with all that its adapter offers.
 *
 * @throws {GpuError} If there is no adapter, none of that name, or one too small for our kernels.
 */
export async function openDevice(
  { adapter: wanted = env("CALA_ADAPTER") }: OpenDeviceOptions = {},
): Promise<Gpu> {
  const adapter = await findAdapter(wanted);
  checkLimits(adapter.limits, describeAdapter(adapter.info));
  const requiredLimits: Partial<Record<LimitName, number>> = {};
  for (const name of Object.keys(neededLimits) as LimitName[]) requiredLimits[name] = adapter.limits[name];
  const listed = wantedFeatures.filter((name) => adapter.features.has(name));
  const request = (requiredFeatures: readonly GPUFeatureName[]) =>
    adapter.requestDevice({ label: "cala", requiredLimits, requiredFeatures: [...requiredFeatures] });
  // Some adapters grant subgroups without listing them, so only asking tells.
  const device = await request([...listed, "subgroups"]).catch(() => request(listed)).catch((cause) => {
    throw new GpuError(`${describeAdapter(adapter.info)} refuses to open a device`, {
      where: String(cause),
      cause,
    });
  });
  return new Gpu(device, adapter);
}

/**
 * Keeps Deno from loading OpenGL, its fallback, unless `DENO_WEBGPU_BACKEND` says otherwise. Call it before anything
 * asks for an adapter. Without permission for that variable it does nothing.
 *
 * On Linux OpenGL comes by libEGL. Where a thread that used it ends while the process exits, both free the thread's
 * state: "double free or corruption" (measured, Mesa 25: 5 of 60 test runs of 8 files, 0 of 120 without OpenGL).
 */
export function leaveOutOpenGl(): void {
  const variable = "DENO_WEBGPU_BACKEND";
  if (Deno.permissions.querySync({ name: "env", variable }).state !== "granted") return;
  if (!Deno.env.get(variable)) Deno.env.set(variable, "vulkan,metal,dx12");
}

/** The adapter to use: the fastest one, or the first whose name holds `wanted`. */
async function findAdapter(wanted: string): Promise<GPUAdapter> {
  if (!navigator.gpu) {
    throw new GpuError(`this Deno has no WebGPU: version ${Deno.version.deno}`, {
      fix: "use Deno 2.9.6 or newer",
    });
  }
  leaveOutOpenGl();
  // Adapters cannot be listed, only asked for by kind; these are the kinds.
  const kinds: readonly GPURequestAdapterOptions[] = [
    { powerPreference: "high-performance" },
    { powerPreference: "low-power" },
    { forceFallbackAdapter: true },
  ];
  const found: string[] = [];
  for (const kind of kinds) {
    const adapter = await navigator.gpu.requestAdapter(kind);
    if (!adapter) continue;
    const name = describeAdapter(adapter.info);
    if (name.toLowerCase().includes(wanted.toLowerCase())) return adapter;
    if (!found.includes(name)) found.push(name);
  }
  if (found.length === 0) throw new GpuError("no GPU adapter was found", { fix: noAdapterFix });
  throw new GpuError(`no GPU adapter has "${wanted}" in its name`, {
    fix: `CALA_ADAPTER may be a part of: ${found.join(", ")}`,
  });
}

/** An adapter's name for people: its description, or what else there is. */
export const describeAdapter = (info: AdapterInfo): string =>
  info.description || [info.vendor, info.architecture, info.device].filter(Boolean).join(" ") ||
  "an adapter without a name";

/**
 * Refuses an adapter that is too small for our kernels.
 *
 * @throws {GpuError} Naming each limit that falls short, with what is needed and what there is.
 *
 * @example Usage
 * ```ts
 * checkLimits({ ...neededLimits, maxBufferSize: 2 ** 31 }, "a large GPU");
 * ```
 */
export function checkLimits(limits: Readonly<Record<LimitName, number>>, adapter: string): void {
  const short = (Object.keys(neededLimits) as LimitName[]).filter((name) =>
    limits[name] < neededLimits[name]
  );
  if (short.length === 0) return;
  const each = short.map((name) => `${name} is ${limits[name]}, needed ${neededLimits[name]}`);
  throw new GpuError(`${adapter} is too small: ${each.join("; ")}`, {
    fix: 'choose another adapter by CALA_ADAPTER; "deno task doctor" shows this one',
  });
}

/** What a buffer must be. */
export interface BufferOptions {
  label: string;
  /** Bytes; rounded up to a multiple of 4. */
  size: number;
  usage: GPUBufferUsageFlags;
}

/** An open device. Made by `openDevice`; whoever opens it disposes it. */
export class Gpu implements Disposable {
  /** For what this class does not offer. Errors that it raises are still recorded here. */
  readonly device: GPUDevice;
  /** Vendor, architecture, device and description, as the driver gives them. */
  readonly adapterInfo: AdapterInfo;
  /** True for drivers that run shaders on the CPU (llvmpipe, SwiftShader). */
  readonly isSoftware: boolean;
  readonly #buffers = new Map<GPUBuffer, number>(); // bytes of each live buffer
  readonly #subgroupMinSize: number;
  #liveBytes = 0;
  #firstError?: GpuError;
  #isDisposed = false;

  constructor(device: GPUDevice, adapter: Pick<GPUAdapter, "info">) {
    const { vendor, architecture, device: name, description, isFallbackAdapter } = adapter.info;
    this.device = device;
    this.#subgroupMinSize = adapter.info.subgroupMinSize;
    this.adapterInfo = { vendor, architecture, device: name, description };
    this.isSoftware = isFallbackAdapter ||
      /llvmpipe|lavapipe|softpipe|swiftshader|basic render/i.test(description);
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault(); // else Deno prints it
      if (event instanceof GPUUncapturedErrorEvent) this.#record(asGpuError(event.error, this.name));
    });
    device.lost.then(({ reason, message }) => {
      if (this.#isDisposed) return;
      this.#record(
        new GpuError(`the GPU device was lost (${reason || "unknown"}): ${message}`, {
          where: this.name,
          fix: "start the same command again: a run goes on from its last checkpoint",
        }),
      );
    });
  }

  /** The adapter's name for people. */
  get name(): string {
    return describeAdapter(this.adapterInfo);
  }
  /** Which kernels to prefer: those for CPUs that run shaders, or those for GPUs. */
  get deviceClass(): DeviceClass {
    return this.isSoftware ? "software" : "gpu";
  }
  /** Lanes that every subgroup has at least; 0 where the device has no subgroups. */
  get subgroupLanes(): number {
    return this.features.has("subgroups") ? this.#subgroupMinSize : 0;
  }
  /** What the device was asked for: the adapter's own limits, as far as the toolkit needs them. */
  get limits(): GPUSupportedLimits {
    return this.device.limits;
  }
  /** Bytes of a storage buffer at most: ours are bound whole. */
  get bindingLimit(): number {
    return Math.min(this.limits.maxStorageBufferBindingSize, this.limits.maxBufferSize);
  }
  /** Optional features that the device has. */
  get features(): GPUSupportedFeatures {
    return this.device.features;
  }
  /** The device's queue. */
  get queue(): GPUQueue {
    return this.device.queue;
  }
  /** Buffers made by `createBuffer` and not yet destroyed. A test ends with zero. */
  get liveBuffers(): number {
    return this.#buffers.size;
  }
  /** Bytes of the live buffers. WebGPU does not tell what the driver adds. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** The first error that no call reported, or the loss of the device. */
  firstError(): GpuError | undefined {
    return this.#firstError;
  }

  /** @throws {GpuError} If an error was recorded, or the device was disposed. Call it before and after a submit. */
  check(): void {
    if (this.#firstError) throw this.#firstError;
    if (this.#isDisposed) throw new GpuError("the GPU device was disposed", { where: this.name });
  }

  /**
   * A buffer that counts as live until `destroyBuffer`.
   *
   * @throws {GpuError} If its size is above what the device allows: what was needed and what there is.
   * @throws {ConfigError} If its size is not a positive integer.
   */
  createBuffer({ label, size, usage }: BufferOptions): GPUBuffer {
    this.check();
    if (!Number.isSafeInteger(size) || size <= 0) {
      throw new ConfigError(`buffer "${label}": expected a positive number of bytes, got ${size}`);
    }
    const bytes = Math.ceil(size / 4) * 4;
    const isStorage = (usage & GPUBufferUsage.STORAGE) !== 0; // our storage buffers are bound whole
    for (
      const limit of isStorage
        ? ["maxStorageBufferBindingSize", "maxBufferSize"] as const
        : ["maxBufferSize"] as const
    ) {
      if (bytes <= this.limits[limit]) continue;
      throw new GpuError(
        `buffer "${label}" needs ${formatBytes(bytes)} (${bytes} bytes), ${this.name} allows ` +
          `${formatBytes(this.limits[limit])} (${limit} ${this.limits[limit]})`,
        { fix: "use a smaller batch or an adapter with more memory" },
      );
    }
    const buffer = this.device.createBuffer({ label, size: bytes, usage });
    this.#buffers.set(buffer, bytes);
    this.#liveBytes += bytes;
    return buffer;
  }

  /** Frees a buffer of `createBuffer`; a second call does nothing. */
  destroyBuffer(buffer: GPUBuffer): void {
    this.#liveBytes -= this.#buffers.get(buffer) ?? 0;
    this.#buffers.delete(buffer);
    buffer.destroy();
  }

  /** Gives the device back, with all its buffers. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.device.destroy();
  }

  #record(error: GpuError): void {
    this.#firstError ??= error;
  }
}

/** An uncaptured error in the user's words. */
function asGpuError(error: GPUError, adapter: string): GpuError {
  if (error instanceof GPUOutOfMemoryError) {
    return new GpuError(`the GPU is out of memory: ${error.message}`, {
      where: adapter,
      fix: "train with --memory recompute, or --memory gradcache for still less; or use a smaller batch; " +
        "CALA_DEBUG=1 prints the memory that a plan needs",
    });
  }
  return new GpuError(`the GPU refused a command: ${error.message}`, {
    where: adapter,
    fix: "CALA_DEBUG=2 names the kernel; this is a fault of the toolkit, please report it",
  });
}
