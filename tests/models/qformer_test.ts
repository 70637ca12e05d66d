/** Shortcuts, keys and gradients of the Q-Former; its numbers are compared with LAVIS's in `parity_test.ts`. */
import assert from "node:assert/strict";
import { ShapeError } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { QFormer, type QFormerConfig } from "../../lib/models/qformer.ts";
import { normalLinear } from "../../lib/nn/init.ts";
import { named } from "../../lib/nn/module.ts";
import { mul } from "../../lib/ops/elementwise.ts";
import { grad } from "../../lib/ops/grad.ts";
import { slice } from "../../lib/ops/movement.ts";
import { sum } from "../../lib/ops/reduce.ts";
import { evaluate, type InputValue } from "../../lib/plan/compile.ts";
import { input, type Tensor } from "../../lib/tensor/tensor.ts";
import { trace } from "../../lib/tensor/trace.ts";

const config: QFormerConfig = {
  hiddenSize: 12,
  numLayers: 3,
  numHeads: 3,
  intermediateSize: 20,
  numQueryTokens: 4,
  crossAttentionFreq: 2,
  encoderWidth: 8,
  vocabSize: 17,
  maxPositions: 9,
  layerNormEps: 1e-12,
  dropout: 0.1,
};
const make = (changes: Partial<QFormerConfig> = {}) =>
  new QFormer({ ...config, ...changes }, {
    random: new Random(3, "qformer"),
    init: { linear: normalLinear(0.3), wordStd: 0.5, positionStd: 0.3, queryStd: 0.5 },
  });

const B = 3, N = 5, L = 6, D = config.hiddenSize;
const random = new Random(5, "inputs");
const inputs: Record<string, InputValue> = {
  image: { shape: [B, N, config.encoderWidth], data: random.normal(B * N * config.encoderWidth) },
  ids: { shape: [B, L], data: Uint32Array.from({ length: B * L }, () => random.nextInt(config.vocabSize)) },
  mask: {
    shape: [B, L],
    data: Float32Array.from({ length: B * L }, (_, i) => i % L < 3 + Math.floor(i / L) ? 1 : 0),
  },
  weights: { shape: [B, 1, D], data: random.normal(B * D) },
};

type Mode = (q: QFormer, t: Record<string, Tensor>, rows?: number) => Tensor;
const modes: Record<string, Mode> = {
  text: (q, t, rows) => q.text(t.ids, t.mask, { rows }),
  image: (q, t, rows) => q.image(t.image, { rows }),
  multimodal: (q, t, rows) => q.multimodal(t.image, t.ids, t.mask, { rows }),
};

for (const [name, encode] of Object.entries(modes)) {
  for (const numLayers of [1, 3]) {
    Deno.test(`${name}, ${numLayers} layers: row 0 alone has the values and the gradients of the whole`, async () => {
      using gpu = await openDevice();
      const qformer = make({ numLayers }), all = named(qformer);
      const y = await evaluate(gpu, (t) => {
        const outputs: Record<string, Tensor> = {};
        const whole = slice(encode(qformer, t), 1, 0, 1), short = encode(qformer, t, 1);
        for (const [way, row] of Object.entries({ whole, short })) {
          outputs[way] = row;
          const grads = grad(sum(mul(row, t.weights)), [...all.values(), t.image]);
          for (const [key, p] of [...all, ["image", t.image] as const]) {
            const dp = grads.get(p);
            if (dp) outputs[`${way} ${key}`] = dp;
          }
        }
        return outputs;
      }, inputs);
      const keysOf = (way: string) =>
        Object.keys(y).flatMap((k) => k.startsWith(`${way} `) ? [k.slice(way.length + 1)] : []);
      assert.deepEqual(keysOf("short"), keysOf("whole"), "the same parameters have a gradient");
      for (const key of ["", ...keysOf("whole").map((k) => ` ${k}`)]) {
        const a = y[`whole${key}`].data, b = y[`short${key}`].data;
        const size = Math.max(1, ...Array.from(a, Math.abs));
        a.forEach((v, i) => assert.ok(Math.abs(v - b[i]) < 1e-5 * size, `${key}[${i}]: ${v} and ${b[i]}`));
      }
    });
  }
}

Deno.test("multimodal: the last text feed-forward has gradients of exact zeros, others have more", async () => {
  using gpu = await openDevice();
  const qformer = make(), all = named(qformer);
  const isTextBlock = (layer: number) => (key: string) =>
    new RegExp(`layer\\.${layer}\\.(intermediate|output)\\.`).test(key);
  const y = await evaluate(gpu, (t) => {
    const grads = grad(
      sum(mul(qformer.multimodal(t.image, t.ids, t.mask, { rows: 1 }), t.weights)),
      all.values(),
    );
    return Object.fromEntries([...all].flatMap(([key, p]) => {
      const dp = grads.get(p);
      return dp ? [[key, dp]] : [];
    }));
  }, inputs);
  const last = Object.keys(y).filter(isTextBlock(2)), before = Object.keys(y).filter(isTextBlock(1));
  assert.equal(last.length, 6);
  assert.equal(before.length, 6);
  for (const key of last) assert.ok(y[key].data.every((v) => v === 0), key);
  for (const key of before) assert.ok(y[key].data.some((v) => v !== 0), key);
});

Deno.test("the keys are those of LAVIS", () => {
  const keys = new Set(named(make({ projDim: 4 })).keys());
  const both = (path: string) => [`${path}.weight`, `${path}.bias`];
  const expected = [
    "query_tokens",
    ...both("ln_vision"),
    ...both("vision_proj"),
    ...both("text_proj"),
    "Qformer.bert.embeddings.word_embeddings.weight",
    "Qformer.bert.embeddings.position_embeddings.weight",
    ...both("Qformer.bert.embeddings.LayerNorm"),
    ...[0, 1, 2].flatMap((i) => {
      const layer = `Qformer.bert.encoder.layer.${i}`;
      const block = (name: string) => [
        ...["query", "key", "value"].flatMap((part) => both(`${layer}.${name}.self.${part}`)),
        ...both(`${layer}.${name}.output.dense`),
        ...both(`${layer}.${name}.output.LayerNorm`),
      ];
      const feedForward = (suffix: string) => [
        ...both(`${layer}.intermediate${suffix}.dense`),
        ...both(`${layer}.output${suffix}.dense`),
        ...both(`${layer}.output${suffix}.LayerNorm`),
      ];
      return [
        ...block("attention"),
        ...(i % 2 === 0 ? block("crossattention") : []),
        ...feedForward(""),
        ...feedForward("_query"),
      ];
    }),
  ];
  assert.deepEqual([...keys].sort(), expected.sort());
});

Deno.test("dropout is active in training only, and differs from sample to sample in mode image", async () => {
  using gpu = await openDevice();
  const qformer = make();
  const same = { image: { ...inputs.image, data: inputs.image.data.slice() as Float32Array<ArrayBuffer> } };
  const size = N * config.encoderWidth;
  for (let b = 1; b < B; b++) same.image.data.set(same.image.data.subarray(0, size), b * size); // one image three times
  const run = async (isTraining: boolean) => {
    const { y } = await evaluate(gpu, (t) => ({ y: qformer.image(t.image) }), same, { isTraining, seed: 1 });
    return [0, 1].map((b) => Array.from(y.data).slice(b * 4 * D, (b + 1) * 4 * D));
  };
  const [a, b] = await run(false);
  assert.deepEqual(a, b);
  const [c, d] = await run(true);
  assert.notDeepEqual(c, d);
});

Deno.test("text longer than the position table is refused", () => {
  const qformer = make();
  const ids = input("ids", { shape: [1, 10], dtype: "u32" }),
    mask = input("mask", { shape: [1, 10], dtype: "f32" });
  assert.throws(() => trace(() => qformer.text(ids, mask)), ShapeError);
});
