import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Random } from "../../lib/core/random.ts";
import { type Gpu, openDevice } from "../../lib/gpu/device.ts";
import { add, mul } from "../../lib/ops/elementwise.ts";
import { grad } from "../../lib/ops/grad.ts";
import { linear } from "../../lib/ops/linear.ts";
import { concat, slice } from "../../lib/ops/movement.ts";
import { sum } from "../../lib/ops/reduce.ts";
import { compile } from "../../lib/plan/compile.ts";
import { State } from "../../lib/plan/state.ts";
import { constant, type Param, param, type Tensor } from "../../lib/tensor/tensor.ts";
import { addEffect } from "../../lib/tensor/trace.ts";

const draw = (name: string, ...shape: number[]): Param =>
  param(shape, new Random(1, name).normal(shape.reduce((a, b) => a * b)));
const fixed = (...shape: number[]) => constant(shape, draw("fixed", ...shape).source.data);
const x = fixed(5, 64);
const square = (y: Tensor) => sum(mul(y, y));

/** Launches and gradients of a step whose gradients go to the state; the same as outputs, by a plan without a state. */
async function stepOf(gpu: Gpu, params: readonly Param[], loss: () => Tensor) {
  using state = new State(gpu, [{ params, isTrained: true }]);
  using step = await compile(
    gpu,
    () => {
      for (const [p, value] of grad(loss(), params)) {
        addEffect({ kind: "assign", param: p as Param, buffer: "grad", value });
      }
      return {};
    },
    {},
    { state, grouped: false },
  );
  step.run({});
  const gradients = await state.read(params, "grad");
  using plain = await compile(
    gpu,
    () => ({ outputs: Object.fromEntries([...grad(loss(), params).values()].map((g, i) => [`${i}`, g])) }),
    {},
    { grouped: false },
  );
  plain.run({});
  const want = Object.values(await plain.read()).map(({ data }) => data);
  deepStrictEqual(gradients, want);
  return [plain.info.dispatches, step.info.dispatches];
}

Deno.test("parameters side by side are joined without copies, and take their gradients in place", async () => {
  using gpu = await openDevice();
  const weights = [draw("a", 4, 64), draw("b", 8, 64)], biases = [draw("c", 64), draw("d", 128)];
  const loss = () => square(add(linear(x, concat(weights, 0)), sum(concat(biases, 0), { keepDims: true })));
  // Two copies to join, two to part, for weights and for biases.
  const [plain, step] = await stepOf(gpu, [weights[0], biases[0], weights[1], biases[1]], loss);
  strictEqual(plain - step, 8);
  const [, otherOrder] = await stepOf(gpu, [weights[1], biases[1], weights[0], biases[0]], loss);
  strictEqual(otherOrder, plain, "the other way round they do not lie side by side");
});

Deno.test("parameters with a gap between them are joined by copies", async () => {
  using gpu = await openDevice();
  const odd = [draw("a", 3, 5), draw("b", 8, 5)];
  const [plain, step] = await stepOf(gpu, odd, () => square(concat(odd, 0)));
  strictEqual(plain, step);
});

Deno.test("parts of a parameter are read and take their gradients in place, where they are aligned", async () => {
  using gpu = await openDevice();
  const p = draw("p", 12, 64), parts = (cut: number) => [slice(p, 0, 0, cut), slice(p, 0, cut, 12)];
  const loss = (cut: number) => () => {
    const [first, second] = parts(cut);
    return add(square(linear(x, first)), square(linear(x, second)));
  };
  const [plain, step] = await stepOf(gpu, [p], loss(4));
  strictEqual(plain - step, 2); // without a state parts are read in place too; then nothing joins the gradients
  const odd = param([12, 5], p.source.data.slice(0, 60)), y = fixed(5, 5);
  const [plainOdd, stepOdd] = await stepOf(gpu, [odd], () => {
    const [first, second] = [slice(odd, 0, 0, 3), slice(odd, 0, 3, 12)];
    return add(square(linear(y, first)), square(linear(y, second)));
  });
  strictEqual(plainOdd, stepOdd);
});

Deno.test("a joined gradient that something else reads is not placed in the state", async () => {
  using gpu = await openDevice();
  const weights = [draw("a", 4, 64), draw("b", 8, 64)];
  using state = new State(gpu, [{ params: weights, isTrained: true }]);
  using plan = await compile(
    gpu,
    () => {
      const w = concat(weights, 0), grads = grad(square(linear(x, w)), [w, ...weights]);
      for (const p of weights) {
        addEffect({ kind: "assign", param: p, buffer: "grad", value: grads.get(p) as Tensor });
      }
      return { outputs: { whole: grads.get(w) as Tensor } };
    },
    {},
    { state, grouped: false },
  );
  plan.run({});
  const [a, b] = await state.read(weights, "grad"), { whole } = await plan.read();
  deepStrictEqual(new Float32Array([...a, ...b]), whole.data);
});
