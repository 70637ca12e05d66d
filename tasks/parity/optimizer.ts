/** Cases of the optimiser and its schedule. */
import { DataError } from "../../lib/core/errors.ts";
import { type Shape, sizeOf } from "../../lib/core/shape.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { named } from "../../lib/nn/module.ts";
import { adamwNodes } from "../../lib/ops/adamw.ts";
import { compile } from "../../lib/plan/compile.ts";
import { State } from "../../lib/plan/state.ts";
import { type Param, param } from "../../lib/tensor/tensor.ts";
import { addEffect } from "../../lib/tensor/trace.ts";
import { cosineLr } from "../../lib/train/schedule.ts";
import { list, type OracleCase, record } from "./case.ts";
import type { Runner } from "./runner.ts";

interface Group {
  readonly params: Param[];
  readonly weightDecay: number;
  lrAt(step: number): number;
}

/** The case's groups, over its parameters by name. */
function groupsOf(oracle: OracleCase, params: ReadonlyMap<string, Param>): Group[] {
  const schedule = oracle.record("lr_schedule");
  return oracle.list("groups").map((value, index) => {
    const group = record(value, "group");
    const lr = "lr" in group ? oracle.number("lr", group) : oracle.number("default_lr");
    const rates = String(index) in schedule ? list(schedule[String(index)]).map(Number) : undefined;
    return {
      params: list(group.params).map((key) => {
        const found = params.get(String(key));
        if (!found) throw new DataError(`${oracle.name}: no parameter "${key}"`);
        return found;
      }),
      weightDecay: "weight_decay" in group
        ? oracle.number("weight_decay", group)
        : oracle.number("default_weight_decay"),
      lrAt: (step) => rates ? rates[step] : lr,
    };
  });
}

/** The nodes that update `groups`; those without parameters have none. */
function updates(state: State, groups: readonly Group[], betas: readonly number[], eps: number) {
  const [beta1, beta2] = betas;
  return adamwNodes(
    groups.flatMap(({ params, weightDecay }, index) => {
      if (params.length === 0) return [];
      const [param, grad, m, v] = (["param", "grad", "m", "v"] as const).map((buffer) =>
        state.shardsOf(index, buffer)
      );
      const shards = param.map((_, s) => ({ param: param[s], grad: grad[s], m: m[s], v: v[s] }));
      return [{ index, shards, steps: state.stepsOf(index), beta1, beta2, eps, weightDecay }];
    }),
    state.status,
  );
}

/** Gradients are inputs here: each step takes its row of `in.grad.NAME [steps, ...]`. */
const adamw: Runner = async (gpu: Gpu, oracle) => {
  const params = named(
    Object.fromEntries([...oracle.stateDict()].map(([key, { shape, data }]) => [key, param(shape, data)])),
  );
  const withGradient = new Set(oracle.names("in.grad."));
  const groups = groupsOf(oracle, params).map((group) => ({
    ...group,
    params: group.params.filter((p) => withGradient.has(p.source.name)),
  }));
  const rest = [...params.values()].filter((p) => !withGradient.has(p.source.name));
  using state = new State(gpu, [
    ...groups.map((group) => ({ params: group.params, isTrained: true })),
    { params: rest, isTrained: false },
  ]);
  const betas = oracle.list("betas").map(Number), eps = oracle.number("eps"), steps = oracle.number("steps");
  const trained = groups.flatMap((group) => group.params);
  using plan = await compile(
    gpu,
    (t) => {
      for (const p of trained) {
        addEffect({ kind: "assign", param: p, buffer: "grad", value: t[p.source.name] });
      }
      for (const node of updates(state, groups, betas, eps)) addEffect({ kind: "node", node });
      return {};
    },
    Object.fromEntries(trained.map((p) => [p.source.name, { shape: p.shape }])),
    { state },
  );

  const histories = new Map([...params].map(([key, p]) => [key, new Float32Array(steps * sizeOf(p.shape))]));
  for (let step = 0; step < steps; step++) {
    plan.run(
      Object.fromEntries(
        trained.map((p) => [p.source.name, rowOf(oracle, `in.grad.${p.source.name}`, step)]),
      ),
      { index: step, learningRates: groups.map((group) => group.lrAt(step)) },
    );
    const values = await state.read([...params.values()]);
    [...params.keys()].forEach((key, i) => histories.get(key)?.set(values[i], step * values[i].length));
  }
  const shapeOf = (key: string): Shape => [steps, ...params.get(key)?.shape ?? []];
  return {
    values: new Map([...histories].map(([key, data]) => [`out.${key}`, { shape: shapeOf(key), data }])),
  };
};

/** Row `step` of a tensor `[steps, ...]`. */
export function rowOf(oracle: OracleCase, key: string, step: number): Float32Array<ArrayBuffer> {
  const { shape, data } = oracle.f32(key), size = sizeOf(shape.slice(1));
  return data.slice(step * size, (step + 1) * size);
}

const cosine: Runner = (_, oracle) => {
  const options = {
    initLr: oracle.number("init_lr"),
    maxEpoch: oracle.number("max_epoch"),
    minLr: oracle.number("min_lr"),
  };
  const { shape, data } = oracle.i32("in.epoch");
  const lr = Array.from(data, (epoch) => cosineLr(epoch, options));
  const exact = oracle.list("lr_float64").map(Number);
  // Two roundings apart at most: cos() may differ in its last bit.
  const problems = lr.flatMap((value, i) =>
    Math.abs(value - exact[i]) <= 4 * Number.EPSILON * options.initLr
      ? []
      : [`epoch ${data[i]}: ${value} is not ${exact[i]}`]
  );
  return Promise.resolve({ values: new Map([["out.lr", { shape, data: lr }]]), problems });
};

export const optimizer = { adamw, cosine_lr: cosine };
