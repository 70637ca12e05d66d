/** The heads compute row 0 only: equal, in values and gradients, to computing all rows. */
import assert from "node:assert/strict";
import { Hca } from "../../lib/cala/hca.ts";
import { Tac } from "../../lib/cala/tac.ts";
import { Random } from "../../lib/core/random.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { named } from "../../lib/nn/module.ts";
import { add, mul, scale } from "../../lib/ops/elementwise.ts";
import { grad } from "../../lib/ops/grad.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { reshape, slice } from "../../lib/ops/movement.ts";
import { sum } from "../../lib/ops/reduce.ts";
import { softmax } from "../../lib/ops/softmax.ts";
import { evaluate, type InputValue } from "../../lib/plan/compile.ts";
import type { Tensor } from "../../lib/tensor/tensor.ts";
import * as f64 from "./naive.ts";

const B = 3, K = 5, L = 7, D = 12, C = 20, H = 2;
const random = new Random(7, "heads");
const normal = (...shape: number[]): InputValue & { data: Float32Array<ArrayBuffer> } => ({
  shape,
  data: random.normal(shape.reduce((a, b) => a * b)),
});
const inputs = {
  reference: normal(B, K, D),
  caption: normal(B, L, D),
  target: normal(B, K, D),
  referenceMap: normal(B, C, H, H),
  targetMap: normal(B, C, H, H),
  clsToken: normal(B, 1, D),
  weights: normal(B, D),
};

const close = (got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string) => {
  assert.equal(got.length, expected.length, what);
  const size = Math.max(1, ...Array.from(expected, Math.abs));
  for (let i = 0; i < got.length; i++) {
    assert.ok(
      Math.abs(got[i] - expected[i]) <= tolerance * size,
      `${what}[${i}]: ${got[i]}, expected ${expected[i]}`,
    );
  }
};

Deno.test("HCA equals the released formula for all rows, of which row 0 is taken", async () => {
  using gpu = await openDevice();
  for (const isMap of [false, true]) {
    const hca = new Hca({ embedDim: D, featureDim: isMap ? C : undefined, random });
    const { o } = await evaluate(gpu, (t) => ({
      o: isMap
        ? hca.forward(t.referenceMap, t.caption, t.targetMap)
        : hca.forward(t.reference, t.caption, t.target),
    }), inputs);
    const s = 1 / Math.sqrt(D);
    const expected = Array.from({ length: B }, (_, b) => {
      const image = (tokens: InputValue, map: InputValue) => {
        if (!hca.fc1) return f64.sample(tokens.data, b, K, D);
        const block = map.data.subarray(b * C * H * H, (b + 1) * C * H * H);
        return f64.relu(f64.linear(hca.fc1, f64.mapTokens(block, C, H * H)));
      };
      const ref = image(inputs.reference, inputs.referenceMap), tar = image(inputs.target, inputs.targetMap);
      const Kc = f64.linear(hca.key_text1, f64.sample(inputs.caption.data, b, L, D));
      const A = f64.scaled(f64.product(f64.linear(hca.query_ref1, ref), f64.transposed(Kc)), s);
      const Bm = f64.scaled(f64.product(Kc, f64.transposed(f64.linear(hca.key_tar1, tar))), s);
      return f64.product(f64.softmax(f64.product(A, Bm)), f64.linear(hca.value1, tar))[0];
    });
    close(o.data, expected.flat(), 2e-6, isMap ? "clip" : "blip2");
  }
});

Deno.test("TAC equals four whole applications on each side, of which row 0 is taken", async () => {
  using gpu = await openDevice();
  for (const isMap of [false, true]) {
    const tac = new Tac({ embedDim: D, featureDim: isMap ? C : undefined, random });
    for (const mha of [tac.reference_as_query_attention, tac.target_as_query_attention]) {
      mha.in_proj_bias.source.data = random.normal(3 * D);
    }
    const { g } = await evaluate(gpu, (t) => ({
      g: isMap
        ? tac.forward(t.referenceMap, t.targetMap, { clsToken: t.clsToken })
        : tac.forward(t.reference, t.target),
    }), inputs);
    const expected = Array.from({ length: B }, (_, b) => {
      const image = (tokens: InputValue, map: InputValue) => {
        if (!tac.fc) return f64.sample(tokens.data, b, K, D);
        const block = map.data.subarray(b * C * H * H, (b + 1) * C * H * H);
        const cls = f64.sample(inputs.clsToken.data, b, 1, D);
        return [...cls, ...f64.relu(f64.linear(tac.fc, f64.mapTokens(block, C, H * H)))];
      };
      const ref = image(inputs.reference, inputs.referenceMap), tar = image(inputs.target, inputs.targetMap);
      const chain = (mha: typeof tac.reference_as_query_attention, from: f64.Matrix, to: f64.Matrix) => {
        let o = to;
        for (let i = 0; i < 4; i++) o = f64.attention(mha, from, o);
        return o[0];
      };
      const left = chain(tac.reference_as_query_attention, ref, tar);
      const right = chain(tac.target_as_query_attention, tar, ref);
      return left.map((x, i) => (x + right[i]) / 2);
    });
    close(g.data, expected.flat(), 2e-6, isMap ? "clip" : "blip2");
  }
});

/** Outputs and all gradients of two ways to the same `[B, D]`. */
async function compareWays(
  module: object,
  ways: Record<"short" | "whole", (t: Record<string, Tensor>) => Tensor>,
  wrt: readonly string[],
) {
  using gpu = await openDevice();
  const all = named(module);
  const y = await evaluate(gpu, (t) => {
    const outputs: Record<string, Tensor> = {};
    for (const [way, forward] of Object.entries(ways)) {
      const o = forward(t);
      outputs[`${way} output`] = o;
      const sources = [...all, ...wrt.map((name) => [name, t[name]] as const)];
      const grads = grad(sum(mul(o, t.weights)), sources.map(([, x]) => x));
      for (const [key, x] of sources) {
        const dx = grads.get(x);
        if (dx) outputs[`${way} ${key}`] = dx;
      }
    }
    return outputs;
  }, inputs);
  const keysOf = (way: string) =>
    Object.keys(y).flatMap((k) => k.startsWith(`${way} `) ? [k.slice(way.length + 1)] : []);
  assert.deepEqual(keysOf("short").sort(), keysOf("whole").sort());
  for (const key of keysOf("whole")) close(y[`short ${key}`].data, y[`whole ${key}`].data, 1e-5, key);
  return y;
}

Deno.test("HCA's gradients are those of the whole; the second set of layers has none", async () => {
  const hca = new Hca({ embedDim: D, random }), s = 1 / Math.sqrt(D);
  const y = await compareWays(hca, {
    short: (t) => hca.forward(t.reference, t.caption, t.target),
    whole(t) {
      const keyText = hca.key_text1.forward(t.caption);
      const A = matmul(hca.query_ref1.forward(t.reference), keyText, { transposeB: true, scale: s });
      const Bm = matmul(keyText, hca.key_tar1.forward(t.target), { transposeB: true, scale: s });
      const o = matmul(softmax(matmul(A, Bm)), hca.value1.forward(t.target));
      return reshape(slice(o, 1, 0, 1), [B, D]);
    },
  }, ["reference", "caption", "target"]);
  assert.deepEqual(Object.keys(y).filter((key) => /(ref|text|tar|value)2/.test(key)), []);
});

Deno.test("TAC's gradients are those of the whole", async () => {
  const tac = new Tac({ embedDim: D, random });
  const chain = (mha: typeof tac.reference_as_query_attention, from: Tensor, to: Tensor) => {
    let o = to;
    for (let i = 0; i < 4; i++) o = mha.forward(from, o);
    return reshape(slice(o, 1, 0, 1), [B, D]);
  };
  await compareWays(tac, {
    short: (t) => tac.forward(t.reference, t.target),
    whole: (t) =>
      scale(
        add(
          chain(tac.reference_as_query_attention, t.reference, t.target),
          chain(tac.target_as_query_attention, t.target, t.reference),
        ),
        0.5,
      ),
  }, ["reference", "target"]);
});

Deno.test("HCA with `keep` does not see positions behind the longest caption", async () => {
  using gpu = await openDevice();
  const hca = new Hca({ embedDim: D, random });
  const keep = { shape: [B, L], data: Float32Array.from({ length: B * L }, (_, i) => i % L < 4 ? 1 : 0) };
  const { bucket, exact, all } = await evaluate(gpu, (t) => ({
    bucket: hca.forward(t.reference, t.caption, t.target, { keep: t.keep }),
    exact: hca.forward(t.reference, slice(t.caption, 1, 0, 4), t.target),
    all: hca.forward(t.reference, t.caption, t.target),
  }), { ...inputs, keep });
  close(bucket.data, exact.data, 1e-6, "keep");
  assert.ok(Array.from(all.data).some((x, i) => Math.abs(x - exact.data[i]) > 1e-3));
});

Deno.test("TAC draws its class token anew at every step, from the seed", async () => {
  using gpu = await openDevice();
  const tac = new Tac({ embedDim: D, featureDim: C, random });
  const at = async (seed: number, index: number) => {
    const { g } = await evaluate(
      gpu,
      (t) => ({ g: tac.forward(t.referenceMap, t.targetMap) }),
      inputs,
      { seed, step: { index } },
    );
    return Array.from(g.data);
  };
  const first = await at(1, 0);
  assert.deepEqual(await at(1, 0), first);
  assert.notDeepEqual(await at(1, 1), first);
  assert.notDeepEqual(await at(2, 0), first);
});

Deno.test("spatial tokens of a map are the released tokens of its transpose", async () => {
  using gpu = await openDevice();
  const spatial = { embedDim: D, featureDim: C, hasSpatialTokens: true };
  const { data } = inputs.targetMap, places = H * H;
  const transposed = new Float32Array(data.length); // [B, places, C], read as [B, C, H, H]
  data.forEach((v, i) => {
    const b = Math.floor(i / (C * places)), c = Math.floor(i / places) % C, p = i % places;
    transposed[b * C * places + p * C + c] = v;
  });
  const one = new Hca({ ...spatial, random: new Random(2, "hca") });
  const other = new Hca({ embedDim: D, featureDim: C, random: new Random(2, "hca") });
  const { a, b, released } = await evaluate(gpu, (t) => ({
    a: one.forward(t.targetMap, t.caption, t.targetMap),
    b: other.forward(t.turned, t.caption, t.turned),
    released: other.forward(t.targetMap, t.caption, t.targetMap),
  }), { ...inputs, turned: { shape: inputs.targetMap.shape, data: transposed } });
  assert.deepEqual(a.data, b.data);
  assert.notDeepEqual(a.data, released.data);
});

Deno.test("TAC's learned token is a parameter with a gradient, in front of both sequences", async () => {
  using gpu = await openDevice();
  const options = { embedDim: D, featureDim: C };
  const learned = new Tac({ ...options, hasLearnedToken: true, random: new Random(3, "tac") });
  const drawn = new Tac({ ...options, random: new Random(3, "tac") });
  assert.deepEqual([...named(learned).keys()].filter((key) => !named(drawn).has(key)), ["cls_token"]);
  const token = learned.cls_token;
  assert.ok(token);
  const { a, b, d } = await evaluate(gpu, (t) => {
    const a = learned.forward(t.referenceMap, t.targetMap);
    const d = grad(sum(mul(a, t.weights)), [token]).get(token);
    assert.ok(d);
    return { a, b: drawn.forward(t.referenceMap, t.targetMap, { clsToken: t.token }), d };
  }, {
    ...inputs,
    token: {
      shape: [B, 1, D],
      data: Float32Array.from({ length: B * D }, (_, i) => token.source.data[i % D]),
    },
  });
  assert.deepEqual(a.data, b.data);
  assert.ok(d.data.some((v) => v !== 0));
});
