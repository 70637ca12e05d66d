import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { ConfigError, GpuError } from "../../lib/core/errors.ts";
import { checkLimits, describeAdapter, type Gpu, neededLimits, openDevice } from "../../lib/gpu/device.ts";

const STORAGE = GPUBufferUsage.STORAGE;

/** Uncaptured errors and device loss arrive as events: waits until there is one. */
async function firstError(gpu: Gpu): Promise<GpuError> {
  for (const end = performance.now() + 5000; performance.now() < end;) {
    const error = gpu.firstError();
    if (error) return error;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error("no error was recorded within 5 s");
}

/** Long enough for an event that should not come. */
const noEvent = () => new Promise((resolve) => setTimeout(resolve, 50));

Deno.test("openDevice() takes the adapter's limits, not WebGPU's defaults", async () => {
  using gpu = await openDevice();
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  ok(adapter);
  for (const name of Object.keys(neededLimits) as (keyof typeof neededLimits)[]) {
    strictEqual(gpu.limits[name], adapter.limits[name], name);
  }
  for (const feature of ["timestamp-query", "shader-f16"] as const) {
    strictEqual(gpu.features.has(feature), adapter.features.has(feature), feature);
  }
  ok(gpu.name.length > 0);
  strictEqual(gpu.deviceClass, gpu.isSoftware ? "software" : "gpu");
  if (/llvmpipe/.test(gpu.name)) strictEqual(gpu.deviceClass, "software");
});

Deno.test("openDevice() works more than once in a process", async () => {
  using a = await openDevice();
  using b = await openDevice();
  ok(a.device !== b.device);
  b.createBuffer({ label: "b", size: 16, usage: STORAGE });
  deepStrictEqual([a.liveBuffers, b.liveBuffers], [0, 1]);
});

Deno.test("openDevice() leaves OpenGL out, unless the user chose backends", async () => {
  const module = new URL("../../lib/gpu/device.ts", import.meta.url).href;
  const code = `import { openDevice } from "${module}";
    using gpu = await openDevice();
    const isLinux = Deno.build.os === "linux";
    console.log(Deno.env.get("DENO_WEBGPU_BACKEND"), isLinux && /libEGL/.test(Deno.readTextFileSync("/proc/self/maps")));`;
  for (
    const [chosen, expected] of [["", "vulkan,metal,dx12 false"], [
      "vulkan,dx12,metal",
      "vulkan,dx12,metal false",
    ]]
  ) {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", code],
      env: { DENO_WEBGPU_BACKEND: chosen, NO_COLOR: "1" },
    }).output();
    strictEqual(new TextDecoder().decode(stdout).trim(), expected);
  }
});

Deno.test("openDevice() finds an adapter by part of its name and names those there are", async () => {
  using gpu = await openDevice({ adapter: "" });
  const part = gpu.name.slice(0, 4).toUpperCase();
  using same = await openDevice({ adapter: part });
  strictEqual(same.name.slice(0, 4).toUpperCase(), part);
  await rejects(openDevice({ adapter: "no such card" }), (error) => {
    ok(error instanceof GpuError);
    strictEqual(error.message, 'no GPU adapter has "no such card" in its name');
    ok(error.fix?.includes(gpu.name), error.fix);
    return true;
  });
});

Deno.test("createBuffer() counts buffers and bytes until they are destroyed", async () => {
  using gpu = await openDevice();
  const a = gpu.createBuffer({ label: "a", size: 10, usage: STORAGE });
  const b = gpu.createBuffer({ label: "b", size: 256, usage: STORAGE });
  strictEqual(a.size, 12, "rounded up to a multiple of 4");
  deepStrictEqual([gpu.liveBuffers, gpu.liveBytes], [2, 268]);
  gpu.destroyBuffer(a);
  gpu.destroyBuffer(a);
  deepStrictEqual([gpu.liveBuffers, gpu.liveBytes], [1, 256]);
  gpu.destroyBuffer(b);
  deepStrictEqual([gpu.liveBuffers, gpu.liveBytes], [0, 0]);
});

Deno.test("createBuffer() refuses an impossible size with what was needed and what there is", async () => {
  using gpu = await openDevice();
  const binding = gpu.limits.maxStorageBufferBindingSize, buffer = gpu.limits.maxBufferSize;
  throws(() => gpu.createBuffer({ label: "slab 3", size: binding + 4, usage: STORAGE }), (error) => {
    ok(error instanceof GpuError);
    for (const part of ["slab 3", String(binding + 4), `maxStorageBufferBindingSize ${binding}`, gpu.name]) {
      ok(error.message.includes(part), `${part} in: ${error.message}`);
    }
    return true;
  });
  throws(
    () => gpu.createBuffer({ label: "staging", size: 2 ** 50, usage: GPUBufferUsage.COPY_DST }),
    new RegExp(`maxBufferSize ${buffer}`),
  );
  for (const size of [0, -4, 1.5, NaN]) {
    throws(() => gpu.createBuffer({ label: "x", size, usage: STORAGE }), ConfigError);
  }
  strictEqual(gpu.liveBuffers, 0);
  await noEvent();
  gpu.check(); // refused before the device heard of it
});

Deno.test("an uncaptured error is kept, the first one, and check() throws it", async () => {
  using gpu = await openDevice();
  gpu.check();
  gpu.device.createBuffer({ size: 2 ** 50, usage: STORAGE }); // behind our back, so the device complains
  gpu.device.createBuffer({ size: 16, usage: 0 });
  const first = await firstError(gpu);
  ok(/refused a command.*1125899906842624/.test(first.message), first.message);
  throws(() => gpu.check(), (error) => error === first);
  throws(() => gpu.createBuffer({ label: "x", size: 4, usage: STORAGE }), (error) => error === first);
});

Deno.test("when the GPU is out of memory, the flags that need less are named", async () => {
  using gpu = await openDevice();
  const error = new GPUOutOfMemoryError("no room");
  gpu.device.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error })); // as the driver would
  const { message, fix = "" } = await firstError(gpu);
  strictEqual(message, "the GPU is out of memory: no room");
  ok(/--memory recompute.*--memory gradcache/.test(fix), fix);
});

Deno.test("a lost device is recorded; a disposed one is not a loss", async () => {
  using gpu = await openDevice();
  gpu.device.destroy(); // not through dispose: as if the driver had done it
  ok(/was lost/.test((await firstError(gpu)).message));

  const other = await openDevice();
  other[Symbol.dispose]();
  other[Symbol.dispose]();
  await noEvent();
  strictEqual(other.firstError(), undefined);
  throws(() => other.check(), /was disposed/);
});

Deno.test("checkLimits() names each limit that falls short", () => {
  checkLimits(neededLimits, "enough");
  throws(
    () => checkLimits({ ...neededLimits, maxBindGroups: 1, maxStorageBuffersPerShaderStage: 4 }, "old card"),
    {
      name: "GpuError",
      message:
        "old card is too small: maxStorageBuffersPerShaderStage is 4, needed 8; maxBindGroups is 1, needed 2",
    },
  );
});

Deno.test("describeAdapter() has a name where the driver gives none", () => {
  const none = { vendor: "", architecture: "", device: "", description: "" };
  strictEqual(describeAdapter({ ...none, description: "llvmpipe" }), "llvmpipe");
  strictEqual(describeAdapter({ ...none, vendor: "apple", device: "7" }), "apple 7");
  strictEqual(describeAdapter(none), "an adapter without a name");
});
