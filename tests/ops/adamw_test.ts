/** AdamW over shards: the oracle's steps, skipped steps, and long counts of steps. */
import assert from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { readBuffers } from "../../lib/gpu/readback.ts";
import { readSafetensors, type SafetensorsFile, tensorOf } from "../../lib/io/safetensors.ts";
import { adamwNodes, type AdamwOptions } from "../../lib/ops/adamw.ts";
import { compile } from "../../lib/plan/compile.ts";
import type { Plan } from "../../lib/plan/plan.ts";
import { State } from "../../lib/plan/state.ts";
import { type Param, param } from "../../lib/tensor/tensor.ts";
import { addEffect } from "../../lib/tensor/trace.ts";

const gpu = await openDevice();

interface Group {
  readonly params: Readonly<Record<string, Param>>;
  readonly options: AdamwOptions;
}
const PYTORCH = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 };

/** A plan whose inputs are the gradients by name, and the state that it updates. */
async function optimizer(groups: readonly Group[]): Promise<{ plan: Plan; state: State }> {
  const state = new State(
    gpu,
    groups.map(({ params }) => ({ params: Object.values(params), isTrained: true })),
  );
  const all = groups.flatMap(({ params }) => Object.entries(params));
  const plan = await compile(
    gpu,
    (t) => {
      for (const [name, p] of all) addEffect({ kind: "assign", param: p, buffer: "grad", value: t[name] });
      const nodes = adamwNodes(
        groups.map(({ options }, index) => {
          const [ps, gs, ms, vs] = (["param", "grad", "m", "v"] as const).map((b) =>
            state.shardsOf(index, b)
          );
          const shards = ps.map((param, i) => ({ param, grad: gs[i], m: ms[i], v: vs[i] }));
          return { ...options, index, shards, steps: state.stepsOf(index) };
        }),
        state.status,
      );
      for (const node of nodes) addEffect({ kind: "node", node });
      return {};
    },
    Object.fromEntries(all.map(([name, p]) => [name, { shape: p.shape }])),
    { state, isTraining: true, label: "adamw" },
  );
  return { plan, state };
}

interface OracleConfig {
  readonly steps: number;
  readonly groups: readonly { params: string[]; lr: number; weight_decay?: number }[];
  readonly lr_schedule: Readonly<Record<string, number[]>>;
  readonly params_without_gradient: string[];
  readonly default_weight_decay: number;
}

const paramOf = (file: SafetensorsFile, name: string): Param => {
  const { shape, data } = tensorOf(file, `param.${name}`, "F32");
  return param(shape, Float32Array.from(data));
};

for (const name of ["adamw_groups", "adamw_lr_schedule"]) {
  Deno.test(`adamw agrees with the oracle at each step: ${name}`, async () => {
    const file = await readSafetensors(new URL(`../oracle/${name}.safetensors`, import.meta.url).pathname);
    const config = JSON.parse(file.metadata.config) as OracleConfig;
    const tolerances = JSON.parse(file.metadata.tolerances) as Record<string, { atol: number }>;
    // A parameter without a gradient is in no group here: it is not touched.
    const names = config.groups.map(({ params }) =>
      params.filter((p) => !config.params_without_gradient.includes(p))
    );
    const groups = config.groups.map(({ weight_decay = config.default_weight_decay }, i): Group => ({
      params: Object.fromEntries(names[i].map((key) => [key, paramOf(file, key)])),
      options: { ...PYTORCH, weightDecay: weight_decay },
    }));
    const { plan, state } = await optimizer(groups);
    using _plan = plan, _state = state;
    for (let s = 0; s < config.steps; s++) {
      const at = (key: string) => {
        const { shape, data } = tensorOf(file, key, "F32"), n = sizeOf(shape.slice(1));
        return data.slice(s * n, (s + 1) * n);
      };
      const learningRates = config.groups.map(({ lr }, i) => config.lr_schedule[i]?.[s] ?? lr);
      plan.run(Object.fromEntries(names.flat().map((key) => [key, at(`in.grad.${key}`)])), {
        index: s,
        learningRates,
      });
      const values = await state.read(groups.flatMap(({ params }) => Object.values(params)));
      names.flat().forEach((key, i) =>
        at(`out.${key}`).forEach((want, j) => {
          const error = Math.abs(values[i][j] - want), { atol } = tolerances[`out.${key}`];
          assert(
            error <= atol,
            `step ${s}, ${key}[${j}] is ${values[i][j]}, want ${want}: off by ${error}, allowed ${atol}`,
          );
        })
      );
    }
    assert.deepEqual(await state.readSteps(), names.map(() => config.steps));
  });
}

/** One update in f64. */
function reference(
  p: number,
  g: number,
  lr: number,
  { beta1, beta2, eps, weightDecay }: AdamwOptions,
  t: number,
) {
  const m = (1 - beta1) * g, v = (1 - beta2) * g * g; // the moments start at 0
  const mHat = m / (1 - beta1 ** t), vHat = v / (1 - beta2 ** t);
  return { m, v, p: p * (1 - lr * weightDecay) - lr * mHat / (Math.sqrt(vHat) + eps) };
}

Deno.test("adamw corrects the bias to f32's digits after any number of steps", async () => {
  const n = 70; // over one row of 256 bytes
  const start = Float32Array.from({ length: n }, (_, i) => 1 + i / n);
  const g = Float32Array.from({ length: n }, (_, i) => (i - 30) / 10);
  const p = param([n], start), lr = 0.01;
  const { plan, state } = await optimizer([{ params: { p }, options: PYTORCH }]);
  using _plan = plan, _state = state;
  for (const t of [1, 2, 5, 6, 100, 499, 501, 10_000, 1_000_000]) {
    for (const buffer of ["m", "v"] as const) state.write(p, buffer, new Float32Array(n));
    state.write(p, "param", start);
    state.writeSteps(0, t - 1);
    plan.run({ p: g }, { index: t, learningRates: [lr] });
    const [values] = await state.read([p]),
      [m] = await state.read([p], "m"),
      [v] = await state.read([p], "v");
    for (let i = 0; i < n; i++) {
      const want = reference(start[i], g[i], Math.fround(lr), PYTORCH, t);
      const moved = Math.abs(want.p - start[i]);
      // The new p is rounded to f32; what it moved by is good to a few epsilons.
      assert(
        Math.abs(values[i] - want.p) <= 2 ** -24 * 2 + 1e-6 * moved,
        `t = ${t}: p[${i}] is ${values[i]}, want ${want.p}`,
      );
      assert(Math.abs(m[i] - want.m) <= 2 ** -22 * Math.abs(want.m), `t = ${t}: m[${i}]`);
      assert(Math.abs(v[i] - want.v) <= 2 ** -22 * want.v, `t = ${t}: v[${i}]`);
    }
    assert.deepEqual(await state.readSteps(), [t]);
  }
});

Deno.test("adamw skips a whole step where any gradient is not finite", async () => {
  const p = param([100], new Float32Array(100).fill(1)), q = param([3], new Float32Array(3).fill(2));
  const { plan, state } = await optimizer([{ params: { p }, options: PYTORCH }, {
    params: { q },
    options: PYTORCH,
  }]);
  using _plan = plan, _state = state;
  const good = { p: new Float32Array(100).fill(0.5), q: new Float32Array(3).fill(-0.5) };
  const look = async () => {
    const buffers = (["param", "m", "v"] as const).map((buffer) => state.read([p, q], buffer));
    const [status] = await readBuffers(gpu, [state.shardRange("status", 0)]);
    return {
      values: (await Promise.all(buffers)).map((pair) => pair.map((x) => Array.from(x))),
      steps: await state.readSteps(),
      status: Array.from(new Uint32Array(status)),
    };
  };
  const step = async (grads: typeof good) => {
    plan.run(grads, { learningRates: [0.1, 0.2] });
    return await look();
  };
  const first = await step(good);
  assert.deepEqual([first.steps, first.status], [[1, 1], [0, 0, 0, 0]]);
  let skipped = 0;
  for (const bad of [NaN, Infinity, -Infinity]) {
    skipped++;
    const after = await step({ ...good, p: good.p.with(99, bad) });
    assert.deepEqual(after, { ...first, status: [0, skipped, skipped, 0] }, `${bad} in p also leaves q`);
  }
  const last = await step({ ...good, p: good.p.with(0, 3e38).with(1, -1e-45) }); // large and tiny numbers are finite
  assert.deepEqual([last.steps, last.status], [[2, 2], [0, 3, 0, 0]]);
  assert.notDeepEqual(last.values, first.values);
});

Deno.test("adamw refuses betas outside (0, 1) and a seventeenth learning rate", () => {
  const p = param([1], new Float32Array(1));
  using state = new State(gpu, [{ params: [p], isTrained: true }]);
  const group = { ...PYTORCH, index: 0, shards: [], steps: state.stepsOf(0) };
  assert.throws(() => adamwNodes([{ ...group, beta2: 1 }], state.status), ConfigError);
  assert.throws(() => adamwNodes([{ ...group, index: 16 }], state.status), ConfigError);
});
