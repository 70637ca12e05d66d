import assert from "node:assert/strict";
import { DataError } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { MultiheadAttention } from "../../lib/nn/attention.ts";
import { Embedding } from "../../lib/nn/embedding.ts";
import { Linear } from "../../lib/nn/linear.ts";
import { loadStateDict, named, params } from "../../lib/nn/module.ts";
import { withZeroGradient } from "../../lib/nn/zero_gradient.ts";
import { mul } from "../../lib/ops/elementwise.ts";
import { grad } from "../../lib/ops/grad.ts";
import { sum } from "../../lib/ops/reduce.ts";
import { evaluate } from "../../lib/plan/compile.ts";
import { param } from "../../lib/tensor/tensor.ts";

const value = (...data: number[]) => ({ shape: [data.length], data: new Float32Array(data) });
const scalar = () => param([1], new Float32Array(1));

Deno.test("named() follows fields, lists and records, in order of declaration, and names the parameters", () => {
  class Block {
    readonly width = 3;
    readonly weight = scalar();
    readonly inner = { 2: scalar(), 0: scalar() };
  }
  const module = {
    first: scalar(),
    layer: [new Block(), new Block()],
    config: { sizes: [1, 2], flag: true, none: null },
  };
  const found = named(module, "clip");
  assert.deepEqual([...found.keys()], [
    "clip.first",
    "clip.layer.0.weight",
    "clip.layer.0.inner.0",
    "clip.layer.0.inner.2",
    "clip.layer.1.weight",
    "clip.layer.1.inner.0",
    "clip.layer.1.inner.2",
  ]);
  for (const [key, p] of found) assert.equal(p.source.name, key);
});

Deno.test("params() names nothing: groups may be made of parts without renaming them", () => {
  const layer = new Linear(2, 2);
  named({ layer }, "model");
  assert.equal(params(layer)[0].source.name, "model.layer.weight");
});

Deno.test("named() refuses a parameter with two keys", () => {
  const shared = scalar();
  assert.throws(() => named({ a: shared, b: { c: shared } }), /one parameter is both "a" and "b\.c"/);
});

Deno.test("loadStateDict() lists missing, unexpected and misshaped keys, and then changes nothing", () => {
  const module = { a: scalar(), b: scalar(), c: scalar() };
  const tensors = new Map([["a", value(1)], ["b", value(1, 2)], ["x", value(1)]]);
  assert.throws(() => loadStateDict(module, tensors), (error: unknown) => {
    assert.ok(error instanceof DataError);
    assert.match(error.message, /1 of another shape \(b: \[2\] instead of \[1\]\)/);
    assert.match(error.message, /1 missing \(c\)/);
    assert.match(error.message, /1 unexpected \(x\)/);
    return true;
  });
  assert.equal(module.a.source.data[0], 0);
});

Deno.test("loadStateDict() without strict reports missing and unexpected keys, and still refuses a shape", () => {
  const module = { a: scalar(), b: scalar() };
  const report = loadStateDict(module, new Map([["a", value(7)], ["x", value(1)]]), { strict: false });
  assert.deepEqual(report, { missing: ["b"], unexpected: ["x"] });
  assert.equal(module.a.source.data[0], 7);
  assert.throws(() => loadStateDict(module, new Map([["a", value(1, 2)]]), { strict: false }), DataError);
});

Deno.test("loadStateDict() reads below a prefix", () => {
  const module = { a: scalar() };
  loadStateDict(module, new Map([["tac.a", value(3)]]), { prefix: "tac" });
  assert.equal(module.a.source.data[0], 3);
});

/** Smallest and largest of the values. */
const range = (
  data: Float32Array,
) => [data.reduce((a, b) => Math.min(a, b)), data.reduce((a, b) => Math.max(a, b))];

Deno.test("new layers start like PyTorch's", () => {
  const random = new Random(1, "test");
  const linear = new Linear(100, 400, { random }), bound = 1 / Math.sqrt(100);
  for (const { source } of [linear.weight, linear.bias]) {
    const [low, high] = range(source.data);
    assert.ok(low >= -bound && low < -0.97 * bound && high <= bound && high > 0.97 * bound, `${low} ${high}`);
  }
  const d = 64, mha = new MultiheadAttention(d, 1, { random }), xavier = Math.sqrt(1.5 / d);
  const [low, high] = range(mha.in_proj_weight.source.data);
  assert.ok(
    low >= -xavier && low < -0.97 * xavier && high <= xavier && high > 0.97 * xavier,
    `${low} ${high}`,
  );
  assert.deepEqual(range(mha.in_proj_bias.source.data), [0, 0]);
  assert.deepEqual(range(mha.out_proj.bias.source.data), [0, 0]);
  const table = new Embedding(500, 20, { random, std: 0.5 }).weight.source.data;
  const std = Math.sqrt(table.reduce((a, x) => a + x * x, 0) / table.length);
  assert.ok(Math.abs(std - 0.5) < 0.02, `${std}`);
});

Deno.test("new layers depend on the random stream alone", () => {
  const make = (seed: number) => new Linear(5, 4, { random: new Random(seed, "x") }).weight.source.data;
  assert.deepEqual(make(1), make(1));
  assert.notDeepEqual(make(1), make(2));
});

Deno.test("selfAttention() is attention of a sequence with itself, causal or not", async () => {
  using gpu = await openDevice();
  const random = new Random(2, "mha"), B = 2, L = 5, D = 12;
  const mha = new MultiheadAttention(D, 3, { random });
  mha.in_proj_bias.source.data = random.normal(3 * D);
  const x = { shape: [B, L, D], data: random.normal(B * L * D) };
  const y = await evaluate(gpu, (t) => ({
    packed: mha.selfAttention(t.x),
    separate: mha.forward(t.x, t.x),
    causal: mha.selfAttention(t.x, { causal: true }),
  }), { x });
  for (let i = 0; i < y.packed.data.length; i++) {
    assert.ok(Math.abs(y.packed.data[i] - y.separate.data[i]) < 1e-5);
  }
  // The last position sees everything: causal or not, it is the same; the first sees itself alone.
  const last = (data: ArrayLike<number>) => Array.from({ length: D }, (_, i) => data[(L - 1) * D + i]);
  last(y.causal.data).forEach((v, i) => assert.ok(Math.abs(v - last(y.packed.data)[i]) < 1e-5));
  assert.ok(Math.abs(y.causal.data[0] - y.packed.data[0]) > 1e-3);
});

Deno.test("withZeroGradient() gives zeros, not nothing, and adds to what is there", async () => {
  using gpu = await openDevice();
  const module = { a: param([2], new Float32Array([1, 2])), b: param([3], new Float32Array(3)), c: scalar() };
  const { a, b, c } = module;
  const y = await evaluate(gpu, (t) => {
    const loss = sum(withZeroGradient(mul(t.x, a), [a, b]));
    const grads = grad(loss, [a, b, c]);
    assert.equal(grads.has(c), false);
    const [da, db] = [grads.get(a), grads.get(b)];
    assert.ok(da && db);
    return { loss, da, db };
  }, { x: { shape: [2], data: new Float32Array([3, 5]) } });
  assert.deepEqual([...y.loss.data], [13]);
  assert.deepEqual([...y.da.data], [3, 5]);
  assert.deepEqual([...y.db.data], [0, 0, 0]);
});
