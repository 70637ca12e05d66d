/** What the store's f16 changes in cases that PyTorch computed from f32 features: the figures of docs/numerics.md. */
import { ok } from "node:assert/strict";
import { openDevice } from "../../lib/gpu/device.ts";
import { narrowToHalf, widenHalf } from "../../lib/io/floats.ts";
import { readSafetensors, type StoredTensor } from "../../lib/io/safetensors.ts";
import { OracleCase } from "../../tasks/parity/case.ts";
import { runners } from "../../tasks/parity/run.ts";

const FEATURES = /^in\.(\w+_)?visual_embeds$/;

/** A tensor as a store of f16 gives it back. */
function stored(tensor: StoredTensor): StoredTensor {
  if (tensor.dtype !== "F32") return tensor;
  const data = new Float32Array(tensor.data.length);
  widenHalf(narrowToHalf(tensor.data), data);
  return { ...tensor, data };
}

/** Largest difference over the largest magnitude, by output, where the features come from a store of f16. */
async function differences(name: string): Promise<Map<string, number>> {
  using gpu = await openDevice();
  const file = await readSafetensors(new URL(`../oracle/${name}.safetensors`, import.meta.url).pathname);
  const tensors = new Map([...file.tensors].map(([key, t]) => [key, FEATURES.test(key) ? stored(t) : t]));
  const half = new OracleCase({ ...file, tensors });
  const { values } = await runners[half.op](gpu, half);
  const found = new Map<string, number>();
  for (const [key, { data }] of values) {
    if (!key.startsWith("out.") || !half.has(key)) continue;
    const want = Array.from(half.tensor(key).data), largest = Math.max(...want.map(Math.abs));
    found.set(key, Math.max(...want.map((v, i) => Math.abs(v - data[i]))) / largest);
  }
  return found;
}

/** Cases, and the largest relative difference that docs/numerics.md tells of them, rounded up. */
const CASES = [
  ["qformer_image_tiny", /embeds/, 2e-4],
  ["qformer_multimodal_tiny", /embeds/, 1e-4],
  ["train_trajectory_blip2_sum", /losses/, 3e-4],
] as const;

for (const [name, outputs, bound] of CASES) {
  Deno.test(`features stored as f16 change ${name} by at most ${bound} of its largest values`, async () => {
    const all = [...await differences(name)].filter(([key]) => outputs.test(key));
    const worst = Math.max(...all.map(([, difference]) => difference));
    ok(all.length > 0 && worst > 1e-6 && worst <= bound, JSON.stringify(all));
  });
}
