/** What can be found out about this machine: the facts behind the doctor's judgement. */
import config from "../deno.json" with { type: "json" };
import { accessSync, constants, statfsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { env } from "../lib/core/env.ts";
import { GpuError } from "../lib/core/errors.ts";
import { type Gpu, type LimitName, neededLimits, openDevice } from "../lib/gpu/device.ts";

/** What was found out about the GPU. */
export interface GpuReport {
  adapter: string;
  vendor: string;
  deviceClass: string;
  limits: Record<string, number>;
  features: string[];
  /** What is wrong with the results of a small kernel; empty where nothing is. */
  kernelFault: string;
}

/** All that the doctor looks at. */
export interface Report {
  versions: { toolkit: string; deno: string; v8: string; typescript: string; system: string };
  gpu: GpuReport | { error: string; fix?: string };
  /** Driver manifests and packages that are installed. */
  drivers: string[];
  /** By npm package: its version, or why it does not load. */
  packages: Record<string, { version: string } | { error: string } | { notChecked: string }>;
  cache: { path: string; isWritable: boolean; freeBytes: number };
}

/** Looks at everything. */
export async function inspect(): Promise<Report> {
  const { build: { os, arch }, version: { deno, v8, typescript } } = Deno;
  return {
    versions: { toolkit: config.version, deno, v8, typescript, system: `${os} ${arch}` },
    gpu: await inspectGpu(),
    drivers: await findDrivers(),
    packages: await inspectPackages(),
    cache: inspectCache(),
  };
}

/** Opens the GPU and tries it. */
async function inspectGpu(): Promise<Report["gpu"]> {
  try {
    using gpu = await openDevice();
    const names = Object.keys(neededLimits) as LimitName[];
    return {
      adapter: gpu.name,
      vendor: vendorName(gpu.adapterInfo.vendor),
      deviceClass: gpu.deviceClass,
      limits: Object.fromEntries(names.map((name) => [name, gpu.limits[name]])),
      features: [...gpu.features].sort(),
      kernelFault: await tryKernel(gpu),
    };
  } catch (error) {
    if (error instanceof GpuError) return { error: error.message, fix: error.fix };
    throw error;
  }
}

/** PCI vendor numbers, which Deno gives in decimal. */
const vendorName = (vendor: string): string =>
  ({
    4318: "NVIDIA",
    4098: "AMD",
    32902: "Intel",
    4203: "Apple",
    5045: "Arm",
    20803: "Qualcomm",
    65541: "Mesa",
  })[vendor] ?? vendor;

/** Runs a small kernel with barriers and compares. Gives what is wrong, or an empty text. */
async function tryKernel(gpu: Gpu): Promise<string> {
  const N = 256, size = 4 * N;
  const code = `var<workgroup> lane: array<u32, ${N}>;
    @group(0) @binding(0) var<storage, read_write> y: array<u32>;
    @compute @workgroup_size(${N}) fn main(@builtin(local_invocation_index) t: u32) {
      lane[t] = t * t;
      workgroupBarrier();
      y[t] = lane[${N - 1}u - t] + 1u;
    }`;
  const { device, queue } = gpu;
  const pipeline = device.createComputePipeline({
    layout: "auto",
    compute: { module: device.createShaderModule({ code }) },
  });
  const y = gpu.createBuffer({ label: "y", size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
  const staging = gpu.createBuffer({
    label: "staging",
    size,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(
    0,
    device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer: y } }],
    }),
  );
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(y, 0, staging, 0, size);
  queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ); // sync: the numbers are what we came for
  gpu.check();
  const got = new Uint32Array(staging.getMappedRange());
  const wrong = got.findIndex((value, t) => value !== (N - 1 - t) ** 2 + 1);
  return wrong < 0
    ? ""
    : `element ${wrong} of a test kernel is ${got[wrong]}, expected ${(N - 1 - wrong) ** 2 + 1}`;
}

/** The Vulkan drivers of a Linux system, by their manifests, and the versions that can be read. */
async function findDrivers(): Promise<string[]> {
  if (Deno.build.os !== "linux") return [];
  const found: string[] = [];
  for (const folder of ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"]) {
    const names = await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name).catch(() => []);
    found.push(...names.filter((name) => name.endsWith(".json")).sort().map((name) => join(folder, name)));
  }
  const status = await Deno.readTextFile("/var/lib/dpkg/status").catch(() => "");
  const mesa = /^Package: mesa-vulkan-drivers\n(?:.+\n)*?Version: (.+)$/m.exec(status)?.[1];
  if (mesa) found.push(`Mesa ${mesa}`);
  const nvidia = await Deno.readTextFile("/proc/driver/nvidia/version").catch(() => "");
  if (nvidia) found.push(nvidia.split("\n")[0]);
  for (const name of ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "DENO_WEBGPU_BACKEND"]) { // these can hide a driver
    const value = Deno.env.get(name);
    if (value) found.push(`${name}=${value}`);
  }
  return found;
}

/** Loads the npm packages that the demo takes. */
async function inspectPackages(): Promise<Report["packages"]> {
  const loaders: Record<string, () => Promise<string>> = {
    sharp: async () => {
      const { default: sharp } = await import("sharp");
      await sharp({ create: { width: 2, height: 2, channels: 3, background: "red" } }).raw().toBuffer();
      return `${sharp.versions.sharp} (libvips ${sharp.versions.vips})`;
    },
    "@huggingface/tokenizers": async () => {
      await import("@huggingface/tokenizers");
      return config.imports["@huggingface/tokenizers"].split("@").at(-1) ?? "";
    },
  };
  const packages: Report["packages"] = {};
  for (const [name, load] of Object.entries(loaders)) {
    packages[name] = await load().then((version) => ({ version }), (error) => {
      const message = error instanceof Error ? error.message.split("\n")[0] : String(error);
      return message.includes("--no-npm") ? { notChecked: "run without --no-npm" } : { error: message };
    });
  }
  return packages;
}

/** Where caches go, and what is free there. */
function inspectCache(): Report["cache"] {
  const path = resolve(env("CALA_CACHE"));
  for (let folder = path;; folder = dirname(folder)) { // the nearest folder that exists
    try {
      const { bavail, bsize } = statfsSync(folder);
      return { path, isWritable: canWrite(folder), freeBytes: Number(bavail) * Number(bsize) };
    } catch (error) {
      const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isMissing || folder === dirname(folder)) throw error;
    }
  }
}

function canWrite(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
