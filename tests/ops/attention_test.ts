/** Attention: the fused kernels and the composition are one function; which of them is taken. */
import assert from "node:assert/strict";
import { ConfigError, ShapeError } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import { type Shape, sizeOf } from "../../lib/core/shape.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { attention, type AttentionOptions } from "../../lib/ops/attention.ts";
import { mul } from "../../lib/ops/elementwise.ts";
import { grad } from "../../lib/ops/grad.ts";
import { sum } from "../../lib/ops/reduce.ts";
import { evaluate, type InputValue } from "../../lib/plan/compile.ts";
import { input, type Tensor } from "../../lib/tensor/tensor.ts";
import { reachable, trace } from "../../lib/tensor/trace.ts";

const gpu = await openDevice();

interface Sizes {
  readonly B: number;
  readonly Lq: number;
  readonly Lk: number;
  readonly D: number;
  readonly isMasked?: boolean;
}

/** y, dq, dk, dv. */
async function run({ B, Lq, Lk, D, isMasked = false }: Sizes, options: AttentionOptions) {
  const normal = (
    name: string,
    shape: Shape,
  ): [string, InputValue] => [name, { shape, data: new Random(3, name).normal(sizeOf(shape)) }];
  const keep = new Random(4, "mask"),
    mask = Float32Array.from({ length: B * Lk }, (_, i) => i < Lk ? 0 : keep.nextInt(2));
  const inputs = Object.fromEntries([
    normal("q", [B, Lq, D]),
    normal("k", [B, Lk, D]),
    normal("v", [B, Lk, D]),
    normal("dy", [B, Lq, D]),
    ["mask", { shape: [B, Lk], data: mask }], // of the first sample nothing is kept
  ]);
  return await evaluate(gpu, ({ q, k, v, dy, mask }) => {
    const y = attention(q, k, v, { ...options, mask: isMasked ? mask : undefined });
    const grads = grad(sum(mul(y, dy)), [q, k, v]);
    const of = (x: Tensor) => grads.get(x) ?? assert.fail("no gradient");
    return { y, dq: of(q), dk: of(k), dv: of(v) };
  }, inputs);
}

const demo: [Sizes, AttentionOptions][] = [
  [{ B: 16, Lq: 14, Lk: 14, D: 64 }, { heads: 4 }],
  [{ B: 32, Lq: 4, Lk: 4, D: 64 }, { heads: 1 }],
  [{ B: 16, Lq: 4, Lk: 17, D: 64 }, { heads: 4 }],
  [{ B: 3, Lq: 9, Lk: 9, D: 24 }, { heads: 2, causal: true }],
  [{ B: 2, Lq: 1, Lk: 32, D: 8 }, { heads: 2, scale: 1 }],
];
for (const [sizes, options] of demo) {
  for (const isMasked of [false, true]) {
    const name = JSON.stringify({ ...sizes, ...options, isMasked });
    Deno.test(`attention() is its composition, fused: ${name}`, async () => {
      const fused = await run({ ...sizes, isMasked }, options);
      const composed = await run({ ...sizes, isMasked }, { ...options, fused: false });
      for (const [key, { data }] of Object.entries(composed)) {
        const scale = Array.from(data).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
        // Where nothing is kept, -10000 leaves the scores with an error of 1e-3 / 2, in both, at different places.
        const digitsLost = (i: number) => isMasked && i < data.length / sizes.B;
        data.forEach((want, i) => {
          const allowed = scale * (digitsLost(i) ? 2e-3 : 4e-6);
          const error = Math.abs(fused[key].data[i] - want);
          assert(
            error <= allowed,
            `${key}[${i}] is ${fused[key].data[i]}, composed ${want}: allowed ${allowed}`,
          );
        });
      }
    });
  }
}

const tensor = (shape: Shape) => input("x", { shape, dtype: "f32" });
const opsOf = (Lq: number, Lk: number, D: number, options: AttentionOptions, isTraining = false) => {
  const build = () => attention(tensor([2, Lq, D]), tensor([2, Lk, D]), tensor([2, Lk, D]), options);
  return reachable([trace(build, { isTraining }).result]).map((node) => node.op.name);
};

Deno.test("attention() is one node where the kernel fits, else its parts", () => {
  const parts = ["headScores", "softmax", "headValues"];
  assert.deepEqual(opsOf(14, 14, 64, { heads: 4 }), ["concat", "attention"]);
  assert.deepEqual(opsOf(14, 14, 64, { heads: 4, dropout: 0.1 }), ["concat", "attention"]); // not training
  assert.deepEqual(opsOf(14, 14, 64, { heads: 4, fused: false }), parts);
  assert.deepEqual(opsOf(4, 33, 64, { heads: 4 }), parts);
  assert.deepEqual(opsOf(33, 4, 64, { heads: 4 }), parts);
  assert.deepEqual(opsOf(4, 4, 24, { heads: 4 }), parts); // 6 is no multiple of 4
  assert.deepEqual(opsOf(14, 14, 64, { heads: 4, dropout: 0.1 }, true), [
    "headScores",
    "softmax",
    "dropout",
    "headValues",
  ]);
});

Deno.test("attention() refuses what does not fit", () => {
  const q = tensor([2, 3, 8]), k = tensor([2, 5, 8]);
  assert.throws(() => attention(q, k, tensor([2, 4, 8]), { heads: 2 }), ShapeError);
  assert.throws(() => attention(tensor([3, 8]), k, k, { heads: 2 }), ShapeError);
  assert.throws(() => attention(q, k, k, { heads: 2, mask: tensor([2, 3]) }), /\[2, 5\], got \[2, 3\]/);
  assert.throws(() => attention(q, k, k, { heads: 3 }), ConfigError);
});
