/** Graphs with and without fusing. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { Random } from "../../lib/core/random.ts";
import { type Shape, sizeOf } from "../../lib/core/shape.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { mul } from "../../lib/ops/elementwise.ts";
import { grad } from "../../lib/ops/grad.ts";
import { mean } from "../../lib/ops/reduce.ts";
import { compile } from "../../lib/plan/compile.ts";
import { param, type Tensor } from "../../lib/tensor/tensor.ts";

type Outputs = Readonly<Record<string, Tensor>>;

/** A parameter with values of its own. */
export const draw = (name: string, ...shape: number[]): Tensor =>
  param(shape, new Random(1, name).normal(sizeOf(shape as Shape)));

/** Launches without and with fusing, after checking that both give the same bits. */
export async function launches(gpu: Gpu, build: () => Outputs): Promise<[number, number]> {
  const run = async (fused: boolean) => {
    using plan = await compile(gpu, () => ({ outputs: build() }), {}, {
      fused,
      grouped: false,
      isTraining: true,
    });
    plan.run({});
    return { values: await plan.read(), dispatches: plan.info.dispatches };
  };
  const apart = await run(false), together = await run(true);
  for (const [name, { data }] of Object.entries(apart.values)) {
    ok(data.some((v) => v !== 0), `${name} is computed`);
    const bits = (x: ArrayBufferView) => new Uint32Array(x.buffer, x.byteOffset, x.byteLength / 4);
    deepStrictEqual(bits(together.values[name].data), bits(data), name);
  }
  return [apart.dispatches, together.dispatches];
}

/** The gradients of the mean of what a function gives. */
export const gradients = (wrt: Readonly<Record<string, Tensor>>, y: Tensor): Outputs => {
  const grads = grad(mean(mul(y, y)), Object.values(wrt));
  return Object.fromEntries(
    Object.entries(wrt).flatMap(([name, x]) => grads.has(x) ? [[`d ${name}`, grads.get(x) as Tensor]] : []),
  );
};
