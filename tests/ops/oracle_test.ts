/** The oracle's cases of softmax, layer norm, cross entropy and L2 normalisation: PyTorch in f64, its own tolerances. */
import assert from "node:assert/strict";
import { openDevice } from "../../lib/gpu/device.ts";
import { readSafetensors, type SafetensorsFile } from "../../lib/io/safetensors.ts";
import { crossEntropy } from "../../lib/ops/cross_entropy.ts";
import { mul } from "../../lib/ops/elementwise.ts";
import { grad } from "../../lib/ops/grad.ts";
import { l2Normalize } from "../../lib/ops/l2_normalize.ts";
import { layerNorm } from "../../lib/ops/layer_norm.ts";
import { sum } from "../../lib/ops/reduce.ts";
import { softmax } from "../../lib/ops/softmax.ts";
import { evaluate, type InputValue } from "../../lib/plan/compile.ts";
import type { Tensor } from "../../lib/tensor/tensor.ts";

const gpu = await openDevice();

/** The tensors of a case whose key has one of the prefixes, by key. */
function tensorsOf(file: SafetensorsFile, ...prefixes: string[]): Record<string, InputValue> {
  return Object.fromEntries([...file.tensors].flatMap(([key, { shape, data }]) => {
    if (!prefixes.some((prefix) => key.startsWith(prefix))) return [];
    assert(data instanceof Float32Array || data instanceof Int32Array);
    // Labels are u32 here, masks f32; both are small integers.
    const converted = data instanceof Float32Array
      ? data
      : key === "in.labels"
      ? Uint32Array.from(data)
      : Float32Array.from(data);
    return [[key, { shape, data: converted }]];
  }));
}

/** One case: outputs by name, from inputs and parameters by key. */
function oracle(name: string, build: (t: Readonly<Record<string, Tensor>>) => Record<string, Tensor>): void {
  Deno.test(`${name} agrees with the oracle`, async () => {
    const file = await readSafetensors(new URL(`../oracle/${name}.safetensors`, import.meta.url).pathname);
    const inputs = tensorsOf(file, "in.", "param."), expected = tensorsOf(file, "out.", "grad.");
    const wanted = Object.keys(expected).filter((key) => key.startsWith("grad.")).map((key) =>
      key.slice("grad.".length)
    );
    const got = await evaluate(gpu, (t) => {
      const outputs = build(t);
      const [y] = Object.values(outputs), cotangent = t["in.cotangent"];
      const grads = wanted.length > 0
        ? grad(cotangent ? sum(mul(y, cotangent)) : y, wanted.map((key) => t[key]))
        : new Map();
      return { ...outputs, ...Object.fromEntries(wanted.map((key) => [`grad.${key}`, grads.get(t[key])])) };
    }, inputs);
    const tolerances = JSON.parse(file.metadata.tolerances) as Record<string, { atol: number }>;
    assert(Object.keys(expected).length > 0);
    for (const [key, { shape, data }] of Object.entries(expected)) {
      const { atol } = tolerances[key];
      assert.deepEqual(got[key].shape, shape);
      data.forEach((want, i) => {
        const error = Math.abs(got[key].data[i] - want);
        assert(
          error <= atol,
          `${key}[${i}] is ${got[key].data[i]}, want ${want}: off by ${error}, allowed ${atol}`,
        );
      });
    }
  });
}

oracle("softmax_plain", (t) => ({ "out.probs": softmax(t["in.x"]) }));
oracle("softmax_masked", (t) => ({ "out.probs": softmax(t["in.x"], { mask: t["in.mask"] }) }));
for (const [name, eps] of [["layer_norm_bert_small", 1e-12], ["layer_norm_eps_matters", 1e-5]] as const) {
  oracle(name, (t) => ({ "out.y": layerNorm(t["in.x"], t["param.weight"], t["param.bias"], eps) }));
}
oracle("cross_entropy_in_batch", (t) => ({ "out.loss": crossEntropy(t["in.logits"]) }));
oracle("cross_entropy_64_sharp", (t) => ({ "out.loss": crossEntropy(t["in.logits"]) }));
oracle("cross_entropy_labels", (t) => ({ "out.loss": crossEntropy(t["in.logits"], t["in.labels"]) }));
oracle("l2_normalize_f", (t) => ({ "out.y": l2Normalize(t["in.x"]) }));
oracle("l2_normalize_f_zero_row", (t) => ({ "out.y": l2Normalize(t["in.x"]) }));
oracle("l2_normalize_cala", (t) => ({ "out.y": l2Normalize(t["in.x"], { eps: 0 }) }));
