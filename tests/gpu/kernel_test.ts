import { ok, rejects, strictEqual } from "node:assert/strict";
import { GpuError } from "../../lib/core/errors.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { pipelinesOf, type Variant } from "../../lib/gpu/kernel.ts";

/** An entry that writes to `count` storage buffers. */
function wide(count: number): Variant {
  const names = Array.from({ length: count }, (_, i) => `b${i}`);
  const wgsl = [
    ...names.map((name, i) => `@group(0) @binding(${i}) var<storage, read_write> ${name}: array<f32>;`),
    `@compute @workgroup_size(1) fn forward() { ${names.map((name) => `${name}[0] = 1;`).join(" ")} }`,
  ].join("\n");
  return { kernel: { file: "kernels/wide.wgsl", wgsl }, entry: "forward", names };
}

Deno.test("PipelineCache refuses an entry of more storage buffers than every adapter has", async () => {
  using gpu = await openDevice();
  const cache = pipelinesOf(gpu);
  strictEqual((await cache.get(wide(8))).bindings.length, 8);
  await rejects(cache.get(wide(9)), (error) => {
    ok(error instanceof GpuError);
    strictEqual(error.message, "kernels/wide.wgsl: forward binds 9 storage buffers, at most 8");
    return true;
  });
  strictEqual(gpu.liveBuffers, 0);
});
