/** Runs ONNX models by onnxruntime, on the provider that is asked for. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ConfigError, GpuError } from "../core/errors.ts";
import type { Shape } from "../core/shape.ts";
import { openDevice } from "../gpu/device.ts";

/** What is used of the npm package `onnxruntime-node`. */
export interface OnnxRuntime {
  readonly Tensor: new (type: "float32", data: Float32Array, dims: Shape) => RuntimeTensor;
  readonly InferenceSession: {
    create(path: string, options: Readonly<Record<string, unknown>>): Promise<RuntimeSession>;
  };
  listSupportedBackends(): readonly { readonly name: string; readonly bundled: boolean }[];
}

interface RuntimeTensor {
  readonly data: ArrayBufferView;
  readonly dims: Shape;
}

interface RuntimeSession {
  run(feeds: Readonly<Record<string, RuntimeTensor>>): Promise<Readonly<Record<string, RuntimeTensor>>>;
  release(): Promise<void>;
}

/** Values of `--vision-provider`: `webgpu` is any vendor's GPU. */
export const VISION_PROVIDERS = ["auto", "cpu", "webgpu", "cuda", "coreml", "dml"] as const;
export type VisionProvider = (typeof VISION_PROVIDERS)[number];

/** A value that a model is fed with. */
export interface Feed {
  readonly data: Float32Array;
  readonly shape: Shape;
}

/** A model, ready to run. */
export interface Session {
  /** Feeds inputs by name, and gives every output by its name. */
  run(feeds: Readonly<Record<string, Feed>>): Promise<Record<string, Float32Array<ArrayBuffer>>>;
  dispose(): Promise<void>;
}

/** What `auto` stands for on this machine: `webgpu` where there is a GPU in hardware, else `cpu`. */
export async function resolveProvider(provider: VisionProvider): Promise<Exclude<VisionProvider, "auto">> {
  if (provider !== "auto") return provider;
  try {
    using gpu = await openDevice();
    return gpu.isSoftware ? "cpu" : "webgpu";
  } catch (error) {
    if (error instanceof GpuError) return "cpu"; // no adapter at all
    throw error;
  }
}

/** Libraries that a provider has outside onnxruntime's own. */
const LIBRARIES: Partial<Record<VisionProvider, readonly string[]>> = {
  cuda: ["libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"],
};

/**
 * Refuses a provider that cannot run here, before any work is done for it.
 *
 * @param libraryFolder Where onnxruntime looks for libraries that it does not bundle.
 * @throws {ConfigError} If this build of onnxruntime does not have the provider, or lacks its libraries.
 */
export function checkProvider(runtime: OnnxRuntime, provider: VisionProvider, libraryFolder: string): void {
  const backends = runtime.listSupportedBackends().map(({ name }) => name);
  if (!backends.includes(provider)) {
    const { os, arch } = Deno.build;
    throw new ConfigError(
      `--vision-provider ${provider}: onnxruntime-node has no ${provider} on ${os} ${arch}`,
      {
        where: `it has ${backends.join(", ")}`,
        fix: "use --vision-provider auto: any vendor's GPU by WebGPU, else the CPU",
      },
    );
  }
  const missing = LIBRARIES[provider]?.filter((name) => !existsSync(join(libraryFolder, name))) ?? [];
  if (missing.length === 0) return;
  throw new ConfigError(`--vision-provider ${provider}: ${missing.join(" and ")} not found`, {
    where: libraryFolder,
    fix:
      "put them there, from the CUDA 12 build of the same version of onnxruntime; CUDA 12 and cuDNN 9 must be " +
      "installed. Or use --vision-provider webgpu, which needs only the GPU's driver",
  });
}

/**
 * Opens a model. On the CPU the same model and images give the same bits.
 *
 * @throws {ConfigError} If the provider cannot be started, for want of a GPU for example.
 */
export async function openSession(
  runtime: OnnxRuntime,
  path: string,
  provider: Exclude<VisionProvider, "auto">,
): Promise<Session> {
  const session = await runtime.InferenceSession.create(path, {
    executionProviders: [provider],
    graphOptimizationLevel: "all",
    executionMode: "sequential",
    logSeverityLevel: 3, // errors only
  }).catch((cause) => {
    throw new ConfigError(`--vision-provider ${provider} cannot be started`, {
      where: String(cause instanceof Error ? cause.message : cause).split("\n", 1)[0],
      fix: provider === "cpu" ? undefined : "use --vision-provider cpu",
      cause,
    });
  });
  return {
    async run(feeds) {
      const results = await session.run(Object.fromEntries(
        Object.entries(feeds).map((
          [name, { data, shape }],
        ) => [name, new runtime.Tensor("float32", data, shape)]),
      ));
      return Object.fromEntries(
        Object.entries(results).map(([output, { data }]) => [output, data as Float32Array<ArrayBuffer>]),
      );
    },
    dispose: () => session.release(),
  };
}
