import assert from "node:assert/strict";
import { artemisFrame } from "../../lib/cala/frames/artemis.ts";
import { combinerFrame } from "../../lib/cala/frames/combiner.ts";
import type { CalaFrame, FrameOptions } from "../../lib/cala/frames/frame.ts";
import { sumFrame } from "../../lib/cala/frames/sum.ts";
import { type CalaHeads, calaHeads } from "../../lib/cala/heads.ts";
import { calaLoss } from "../../lib/cala/loss.ts";
import { ConfigError } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { Blip2 } from "../../lib/models/blip2.ts";
import { Clip } from "../../lib/models/clip.ts";
import { ClipText } from "../../lib/models/clip_text.ts";
import type { Encoders, ParamGroup } from "../../lib/models/encoders.ts";
import type { QFormerConfig } from "../../lib/models/qformer.ts";
import { Stem } from "../../lib/models/stem.ts";
import type { ImageBatch, TripletBatch } from "../../lib/nn/frame.ts";
import { normalLinear, xavierNormalLinear } from "../../lib/nn/init.ts";
import { grad } from "../../lib/ops/grad.ts";
import { evaluate, type InputValue, inspect } from "../../lib/plan/compile.ts";
import type { Tensor } from "../../lib/tensor/tensor.ts";
import * as f64 from "./naive.ts";

const config: QFormerConfig = {
  hiddenSize: 12,
  numLayers: 2,
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
const init = { linear: normalLinear(0.3), wordStd: 0.5, positionStd: 0.3, queryStd: 0.5 };
const B = 3, L = 6, D = 12, C = 20, S = 32;
const random = new Random(11, "frames");

/** What a kind of encoders reads of an image, and how it is made. */
interface Kind {
  readonly fields: Readonly<Record<string, readonly number[]>>;
  make(): Encoders;
  readonly featureDim?: number;
}
const kinds = {
  blip2: { fields: { tokens: [5, 8] }, make: () => new Blip2({ config, seed: 1, init }) },
  "blip2 multi": {
    fields: { tokens: [5, 8] },
    make: () => new Blip2({ config, train: "multi", seed: 1, init }),
  },
  demo: {
    fields: { pixels: [S, S, 3] },
    make: () =>
      new Blip2({
        config: { ...config, numLayers: 1, crossAttentionFreq: 1, hasLnVision: false, dropout: 0 },
        stem: new Stem({ patchWidth: 6, width: 8, random: new Random(2, "stem") }),
        seed: 1,
        init: { ...init, linear: xavierNormalLinear },
      }),
  },
  clip: {
    fields: { pooled: [D], map: [C, 2, 2] },
    featureDim: C,
    make: () =>
      new Clip(
        new ClipText(
          { width: D, numHeads: 3, numLayers: 2, contextLength: L, vocabSize: 17, embedDim: D },
          { random: new Random(3, "clip") },
        ),
      ),
  },
} satisfies Record<string, Kind>;

function inputsOf({ fields }: Kind): Record<string, InputValue> {
  const inputs: Record<string, InputValue> = {
    ids: { shape: [B, L], data: Uint32Array.from({ length: B * L }, () => random.nextInt(17)) },
    mask: {
      shape: [B, L],
      data: Float32Array.from({ length: B * L }, (_, i) => i % L < 2 + Math.floor(i / L) ? 1 : 0),
    },
    longest: { shape: [1], data: new Uint32Array([4]) },
  };
  for (const side of ["reference", "target"]) {
    for (const [field, shape] of Object.entries(fields)) {
      inputs[`${side}.${field}`] = {
        shape: [B, ...shape],
        data: random.normal(B * shape.reduce((a, b) => a * b)),
      };
    }
  }
  return inputs;
}
const sideOf = (t: Record<string, Tensor>, side: string): ImageBatch =>
  Object.fromEntries(
    Object.entries(t).flatMap(([k, x]) => k.startsWith(`${side}.`) ? [[k.slice(side.length + 1), x]] : []),
  );
const batchOf = (t: Record<string, Tensor>): TripletBatch => ({
  inputIds: t.ids,
  attentionMask: t.mask,
  longest: t.longest,
  reference: sideOf(t, "reference"),
  target: sideOf(t, "target"),
});

const frames: Record<string, (encoders: Encoders, options?: FrameOptions) => CalaFrame> = {
  sum: sumFrame,
  artemis: (encoders, options) => artemisFrame(encoders, { seed: 5, ...options }),
  combiner: (encoders, options) =>
    combinerFrame(encoders, { seed: 6, projectionDim: 9, hiddenDim: 14, ...options }),
};
const scaleOf: Record<string, number> = { sum: 100, artemis: 1, combiner: 100 };

const close = (got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string) => {
  assert.equal(got.length, expected.length, what);
  for (let i = 0; i < got.length; i++) {
    assert.ok(
      Math.abs(got[i] - expected[i]) <= tolerance,
      `${what}[${i}]: ${got[i]}, expected ${expected[i]}`,
    );
  }
};

for (const [kindName, kind] of Object.entries(kinds) as [string, Kind][]) {
  for (const [frameName, makeFrame] of Object.entries(frames)) {
    Deno.test(`${frameName} over ${kindName}: evaluation gives the scores that training's logits are made of`, async () => {
      using gpu = await openDevice();
      const frame = makeFrame(kind.make(), { tac: false, hca: false });
      const y = await evaluate(gpu, (t) => {
        const batch = batchOf(t), gallery = frame.encodeGallery(batch.target);
        const query = frame.queries.composed.encode(batch);
        const alone = (name: "image" | "text"): Record<string, Tensor> => {
          const queries = frame.queries[name];
          assert.ok(queries);
          return { [name]: queries.scores(queries.encode(batch), gallery) };
        };
        return {
          logits: frame.logits(frame.encode(batch)),
          scores: frame.queries.composed.scores(query, gallery),
          ...alone("image"),
          ...alone("text"),
        };
      }, inputsOf(kind));
      assert.deepEqual(y.scores.shape, [B, B]);
      const scale = scaleOf[frameName];
      close(y.logits.data, Array.from(y.scores.data, (x) => scale * x), 1e-5 * scale, "logits");
      for (const name of ["image", "text"]) {
        assert.ok(y[name].data.every((x) => Math.abs(x) <= 1 + 1e-6), `${name}: cosines`);
        assert.notDeepEqual([...y[name].data], [...y.scores.data]);
      }
    });
  }

  Deno.test(`${kindName}: what a head does not read changes nothing`, async () => {
    using gpu = await openDevice();
    const encoders = kind.make();
    const y = await evaluate(gpu, (t) => {
      const outputs: Record<string, Tensor> = {};
      for (const tac of [false, true]) {
        for (const hca of [false, true]) {
          const { referenceFeats, textFeats, targetFeats } = encoders.encode(batchOf(t), { tac, hca });
          Object.assign(outputs, {
            [`${tac} ${hca} reference`]: referenceFeats,
            [`${tac} ${hca} text`]: textFeats,
            [`${tac} ${hca} target`]: targetFeats,
          });
        }
      }
      return outputs;
    }, inputsOf(kind));
    for (const [key, { data }] of Object.entries(y)) {
      const name = key.split(" ")[2];
      close(data, y[`true true ${name}`].data, 2e-6, key);
    }
  });
}

Deno.test("a head that the frame was made without says so", () => {
  const frame = sumFrame(kinds.demo.make(), { tac: false }), heads = calaHeads({ embedDim: D });
  inspectBatch(kinds.demo, (t) => {
    const encoded = frame.encode(batchOf(t));
    assert.throws(() => heads.tac(encoded), ConfigError);
    return heads.hca(encoded);
  });
});

/** Traces `build` on a batch; runs nothing. */
const inspectBatch = (kind: Kind, build: (t: Record<string, Tensor>) => Tensor) =>
  inspect(
    (t) => ({ outputs: { y: build(t) } }),
    Object.fromEntries(
      Object.entries(inputsOf(kind)).map(([name, { shape, data }]) => [
        name,
        { shape, dtype: data instanceof Uint32Array ? "u32" as const : "f32" as const },
      ]),
    ),
    { isTraining: true },
  );

const show = (groups: readonly ParamGroup[]) =>
  groups.map((g) => `${g.name} x${g.lrMultiplier}${g.isScheduled ? " scheduled" : ""}`);
const released = (frame: CalaFrame, heads: CalaHeads) => show([...frame.paramGroups, ...heads.paramGroups]);

Deno.test("the groups are the released ones", () => {
  const heads = calaHeads({ embedDim: D }), T = "tac x2", H = "hca x2";
  const multi = [
    "multimodal.Qformer.bert x1 scheduled",
    "multimodal.query_tokens x1",
    "textual.Qformer.bert x1",
  ];
  const both = [...multi, "visual.Qformer.bert x1", "visual.query_tokens x1"];
  assert.deepEqual(released(sumFrame(kinds.blip2.make()), heads), [...both, T, H]);
  assert.deepEqual(released(sumFrame(kinds["blip2 multi"].make()), heads), [...multi, T, H]);
  assert.deepEqual(released(artemisFrame(kinds.blip2.make()), heads), [...both, "artemis x10", T, H]);
  assert.deepEqual(released(sumFrame(kinds.demo.make()), heads), [...both, "stem x1", T, H]);
  assert.deepEqual(released(sumFrame(kinds.clip.make()), heads), ["clip x1 scheduled", T, H]);
  assert.deepEqual(show(combinerFrame(kinds.clip.make()).paramGroups), ["combiner x1 scheduled"]);
});

Deno.test("the keys have the checkpoint's prefixes, and each group holds the parameters of its name", () => {
  for (const kind of Object.values(kinds)) {
    const encoders = kind.make(), frame = artemisFrame(encoders);
    for (const [key, p] of frame.params) assert.equal(p.source.name, key);
    const prefixes = new Set([...frame.params.keys()].map((key) => key.split(".")[0]));
    assert.deepEqual([...prefixes].sort(), [...Object.keys(encoders.modules), "artemis"].sort());
    for (const { name, params } of frame.paramGroups) {
      assert.ok(params.length > 0);
      for (const p of params) assert.ok(p.source.name.startsWith(name), `${p.source.name} in ${name}`);
    }
    assert.deepEqual(
      new Set([...frame.groups.scheduled, ...frame.groups.constant]),
      new Set(frame.paramGroups.flatMap((group) => group.params)),
    );
  }
});

/** Prefixes, to the last dot of the pattern, of the parameters that the loss reaches. */
function reachedKeys(
  kind: Kind,
  frame: CalaFrame,
  heads: CalaHeads,
  tacWeight: number,
  hcaWeight: number,
): string[] {
  const all = new Map([...frame.params, ...heads.params]);
  const reached: string[] = [];
  inspectBatch(kind, (t) => {
    const encoded = frame.encode(batchOf(t));
    const { loss } = calaLoss({
      matching: frame.logits(encoded),
      ...(tacWeight ? { tac: heads.tac(encoded) } : {}),
      ...(hcaWeight ? { hca: heads.hca(encoded) } : {}),
    }, { tacWeight, hcaWeight });
    const grads = grad(loss, all.values());
    for (const [key, p] of all) if (grads.has(p)) reached.push(key);
    return loss;
  });
  return reached;
}

Deno.test("which parameters get a gradient is the released table", () => {
  const heads = calaHeads({ embedDim: D });
  for (const [tacWeight, hcaWeight] of [[0.45, 0.1], [0, 0]]) {
    const frame = sumFrame(kinds.blip2.make(), { tac: tacWeight > 0, hca: hcaWeight > 0 });
    const reached = new Set(reachedKeys(kinds.blip2, frame, heads, tacWeight, hcaWeight));
    const never = [
      /^(textual|multimodal|visual)\.ln_vision/,
      /^textual\.query_tokens/,
      /^textual\..*(crossattention|_query)\./,
      /^visual\..*(word_embeddings|position_embeddings|layer\.\d\.(intermediate|output)\.)/,
      /^hca\..*2\./,
      ...(tacWeight ? [] : [/^tac\./]),
      ...(hcaWeight ? [] : [/^hca\./]),
    ];
    for (const key of [...frame.params.keys(), ...heads.params.keys()]) {
      assert.equal(reached.has(key), !never.some((pattern) => pattern.test(key)), key);
    }
  }
});

Deno.test("the three copies start alike; the visual one has no dropout in `multi`", () => {
  const { textual, multimodal, visual } = new Blip2({ config, train: "multi", seed: 1, init });
  assert.deepEqual(textual.query_tokens.source.data, visual.query_tokens.source.data);
  assert.notEqual(textual.query_tokens, visual.query_tokens);
  assert.deepEqual([textual, multimodal, visual].map((copy) => copy.config.dropout), [0.1, 0.1, 0]);
});

Deno.test("`multi` takes the visual copy's stored output instead of computing it", async () => {
  using gpu = await openDevice();
  const frame = sumFrame(new Blip2({ config, train: "multi", seed: 1, init }));
  const inputs = inputsOf(kinds.blip2), embeds = { shape: [B, 4, D], data: random.normal(B * 4 * D) };
  const y = await evaluate(gpu, (t) => {
    const batch = batchOf(t);
    return { feats: frame.encodeGallery({ ...batch.target, embeds: t.embeds }).feats };
  }, { ...inputs, embeds });
  const expected = Array.from({ length: B }, (_, b) => f64.unit(f64.sample(embeds.data, b, 4, D)[0])).flat();
  close(y.feats.data, expected, 1e-6, "feats");
});

Deno.test("ARTEMIS as matrix products equals the released formula pair by pair", async () => {
  using gpu = await openDevice();
  const frame = artemisFrame(kinds.clip.make(), { seed: 5 }), N = 7;
  const values = (rows: number) => ({ shape: [rows, D], data: random.normal(rows * D) });
  const inputs = { r: values(B), m: values(B), g: values(N) };
  for (const { data } of [inputs.g]) { // unit rows, as a gallery has them
    for (let n = 0; n < N; n++) data.set(f64.unit([...data.subarray(n * D, (n + 1) * D)]), n * D);
  }
  const { scores } = await evaluate(
    gpu,
    (t) => ({
      scores: frame.queries.composed.scores({ referenceFeats: t.r, textFeats: t.m }, { feats: t.g }),
    }),
    inputs,
  );
  const artemis = frame.modules.artemis as import("../../lib/cala/frames/artemis.ts").Artemis;
  const [r, m, t] = [inputs.r, inputs.m, inputs.g].map(({ data, shape }) => f64.sample(data, 0, shape[0], D));
  const attended = (block: typeof artemis.Attention_EM, row: number[]) =>
    f64.softmax(f64.linear(block.attention[2], f64.relu(f64.linear(block.attention[0], [row]))))[0];
  const times = (a: number[], b: number[]) => a.map((x, i) => x * b[i]);
  const expected = m.flatMap((mi, i) => {
    const em = attended(artemis.Attention_EM, mi), is = attended(artemis.Attention_IS, mi);
    const transformed = f64.unit(f64.linear(artemis.Transform_m[0], [mi])[0]);
    return t.map((tj) =>
      f64.dot(transformed, f64.unit(times(em, tj))) +
      f64.dot(f64.unit(times(is, r[i])), f64.unit(times(is, tj)))
    );
  });
  close(scores.data, expected, 2e-6, "scores");
});

Deno.test("with masked caption padding HCA reads each caption up to its own end, else up to the released one (Q19)", async () => {
  using gpu = await openDevice();
  const masked = {
    blip2: new Blip2({ config, seed: 1, init, masksCaptionPadding: true }),
    clip: new Clip(kinds.clip.make().clip, { masksCaptionPadding: true }),
  };
  for (const [name, encoders] of Object.entries(masked)) {
    const kind: Kind = name === "clip" ? kinds.clip : kinds.blip2, inputs = inputsOf(kind);
    const keepOf = async (encoders: Encoders) => {
      const outputs = await evaluate(gpu, (t): Record<string, Tensor> => {
        const { textKeep, textFeats } = encoders.encode(batchOf(t), { tac: false, hca: true });
        return textKeep ? { textKeep } : { textFeats };
      }, inputs);
      return outputs.textKeep?.data;
    };
    assert.deepEqual(await keepOf(encoders), inputs.mask.data);
    const longest = Float32Array.from({ length: B * L }, (_, i) => i % L < 4 ? 1 : 0);
    assert.deepEqual(await keepOf(kind.make()), name === "clip" ? undefined : longest); // CLIP: all positions
  }
});
