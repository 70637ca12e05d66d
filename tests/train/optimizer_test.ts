import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { scale } from "../../lib/ops/elementwise.ts";
import { compile } from "../../lib/plan/compile.ts";
import { AdamW } from "../../lib/train/optimizer.ts";
import { param, type Tensor } from "../../lib/tensor/tensor.ts";

const filled = (n: number, value: number) => param([n], new Float32Array(n).fill(value));

/** PyTorch's first step of AdamW from zero moments: the bias corrections cancel. */
const firstStep = (p: number, g: number, lr: number, decay: number) =>
  p * (1 - lr * decay) - lr * g / (Math.abs(g) + 1e-8);

Deno.test("AdamW refuses rates and options that are out of range", () => {
  const group = { params: [], lr: 1e-3, isScheduled: true };
  throws(() => new AdamW(Array(17).fill(group)), /17 parameter groups, at most 16/);
  throws(() => new AdamW([{ ...group, lr: NaN }]), /learning rate is NaN/);
  throws(() => new AdamW([group], { betas: [0.9, 1] }), /betas are 0.9, 1/);
  throws(() => new AdamW([group], { eps: 0 }), /eps is 0/);
  throws(() => new AdamW([group], { weightDecay: -1 }), /weight decay is -1/);
});

Deno.test("the schedule scales the scheduled groups alone", () => {
  const adamw = new AdamW([
    { params: [], lr: 2, isScheduled: true },
    { params: [], lr: 3, isScheduled: false },
  ]);
  deepStrictEqual(adamw.learningRates(0.5), [1, 3]);
});

Deno.test("a parameter without a gradient keeps its bits, one with a gradient of zero decays", async () => {
  using gpu = await openDevice();
  const moved = filled(3, 2), still = filled(3, 2), zero = filled(3, 2);
  const adamw = new AdamW([{ params: [moved, still, zero], lr: 0.1, isScheduled: true }], {
    weightDecay: 0.5,
  });
  using state = adamw.createState(gpu, [moved, still, zero], (p) => p !== still);
  using plan = await compile(
    gpu,
    () => {
      adamw.update(state, new Map<Tensor, Tensor>([[moved, scale(moved, 3)], [zero, scale(zero, 0)]]));
      return {};
    },
    {},
    { state },
  );
  plan.run({}, { learningRates: adamw.learningRates(1) });
  const [a, b, c] = await state.read([moved, still, zero]);
  ok(Math.abs(a[0] - firstStep(2, 6, 0.1, 0.5)) < 1e-6);
  deepStrictEqual([...b], [2, 2, 2]);
  ok(Math.abs(c[0] - 2 * (1 - 0.1 * 0.5)) < 1e-6);
  deepStrictEqual(await state.readSteps(), [1, 0]);
});

Deno.test("update() refuses a trace in which a trained parameter has no gradient", async () => {
  using gpu = await openDevice();
  const a = filled(1, 1), b = filled(1, 1);
  a.source.name = "a";
  b.source.name = "b";
  const adamw = new AdamW([{ params: [a, b], lr: 1, isScheduled: true }]);
  using state = adamw.createState(gpu, [a, b], () => true);
  await compile(
    gpu,
    () => {
      adamw.update(state, new Map([[a, scale(a, 1)]]));
      return {};
    },
    {},
    { state },
  ).then(
    () => ok(false),
    (e) => ok(e instanceof ConfigError && /"b" is in a trained group/.test(e.message)),
  );
});

Deno.test("a group of several shards is updated whole, and skipped whole for one NaN in its last shard", async () => {
  using gpu = await openDevice();
  // Two of these do not fit one binding of 128 MiB.
  const n = 18 * 2 ** 20, large = filled(n, 2), other = filled(n, -1), small = filled(5, 4);
  const params = [large, other, small];
  const adamw = new AdamW([{ params, lr: 0.1, isScheduled: true }], { weightDecay: 0 });
  using state = adamw.createState(gpu, params, () => true);
  strictEqual(state.shardsOf(0, "param").length, 2);
  using plan = await compile(
    gpu,
    (t) => {
      const grads = new Map<Tensor, Tensor>([[large, scale(large, 1)], [other, scale(other, 1)], [
        small,
        t.g,
      ]]);
      adamw.update(state, grads);
      return { results: { status: state.status } };
    },
    { g: { shape: [5] } },
    { state },
  );
  const step = { learningRates: adamw.learningRates(1) };
  plan.run({ g: new Float32Array([1, 1, 1, 1, NaN]) }, step);
  const untouched = await state.read(params);
  ok(
    untouched[0].every((x) => x === 2) && untouched[1].every((x) => x === -1) &&
      untouched[2].every((x) => x === 4),
  );
  deepStrictEqual((await plan.results())[0].values.status, [0, 1, 1, 0]);
  plan.run({ g: new Float32Array([1, 1, 1, 1, 1]) }, step);
  const [a, b, c] = await state.read(params);
  const near = (x: number, y: number) => Math.abs(x - y) < 1e-6;
  ok(a.every((x) => near(x, firstStep(2, 2, 0.1, 0))), "first shard");
  ok(b.every((x) => near(x, firstStep(-1, -1, 0.1, 0))), "second shard");
  ok(c.every((x) => near(x, firstStep(4, 1, 0.1, 0))), "behind the large one");
  deepStrictEqual((await plan.results())[0].values.status, [0, 1, 0, 0]);
});
