import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Random } from "../../lib/core/random.ts";
import { type Shape, sizeOf } from "../../lib/core/shape.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { crossEntropyAndGradOp, crossEntropyOp } from "../../lib/ops/cross_entropy.ts";
import { l2NormalizeGradOp, l2NormalizeOp } from "../../lib/ops/l2_normalize.ts";
import { layerNormGradOp, layerNormOp } from "../../lib/ops/layer_norm.ts";
import { softmaxGradOp, softmaxOp } from "../../lib/ops/softmax.ts";
import { overRows, together } from "../../lib/ops/rows.ts";
import { compile } from "../../lib/plan/compile.ts";
import { apply, type OpDef, type Target } from "../../lib/tensor/op.ts";
import { constant, type Tensor } from "../../lib/tensor/tensor.ts";

const kernel = { file: "kernels/some.wgsl", wgsl: "// some\n// @prelude grid reduce\nfn f() {}" };
const lanes = (subgroupLanes: number): Target => ({ deviceClass: "gpu", subgroupLanes });

Deno.test("a workgroup's sums go by subgroups where there are at least 8 lanes", () => {
  deepStrictEqual(together(kernel, lanes(0)), { kernel });
  deepStrictEqual(together(kernel, lanes(4)), { kernel });
  for (const [has, taken] of [[8, 8], [32, 32], [64, 64], [128, 64]]) {
    const { kernel: other, constants } = together(kernel, lanes(has));
    deepStrictEqual(constants, { LANES: taken });
    strictEqual(other.wgsl, "// some\n// @prelude grid reduce_subgroup\nfn f() {}");
    strictEqual(together(kernel, lanes(has)).kernel, other); // one kernel, one pipeline
  }
  deepStrictEqual(overRows(kernel, "forward", 3, true, lanes(32)), {
    kernel,
    entry: "forwardRows",
    grid: [1, 1, 1],
  });
});

const draw = (name: string, ...shape: number[]): Tensor =>
  constant(shape as Shape, new Random(1, name).normal(sizeOf(shape as Shape)));

Deno.test("the kernels of rows give the same bits with subgroups and without", async () => {
  using gpu = await openDevice();
  const bitsOf = async (
    one: OpDef<unknown>,
    inputs: readonly Tensor[],
    attrs: unknown,
    subgroupLanes: number,
  ) => {
    // As on a GPU: its rows of 257 elements have a workgroup each.
    const op: OpDef<unknown> = { ...one, dispatch: (i, o, a) => one.dispatch(i, o, a, lanes(subgroupLanes)) };
    using plan = await compile(gpu, () => ({ outputs: { y: apply(op, inputs, attrs) } }), {});
    ok(plan.info.dispatches > 0);
    plan.run({});
    const { y: { data } } = await plan.read();
    ok(data.some((v) => v !== 0 && Number.isFinite(v)), one.name);
    return new Uint32Array(data.buffer, data.byteOffset, data.length);
  };
  for (const [R, C] of [[5, 257], [70, 513]]) {
    const x = draw("x", R, C), y = draw("y", R, C), weight = draw("weight", C), bias = draw("bias", C);
    const mean = draw("mean", R), rstd = draw("rstd", R), dy = draw("dy");
    const cases: (readonly [OpDef<unknown>, readonly Tensor[], unknown])[] = [
      [softmaxOp as OpDef<unknown>, [x], { scale: 0.5, causal: false }],
      [softmaxOp as OpDef<unknown>, [x], { scale: 1, causal: true }],
      [softmaxGradOp as OpDef<unknown>, [x, y], { scale: 2 }],
      [layerNormOp as OpDef<unknown>, [x, weight, bias], { eps: 1e-5 }],
      [layerNormGradOp as OpDef<unknown>, [x, weight, mean, rstd, y], undefined],
      [l2NormalizeOp as OpDef<unknown>, [x], { eps: 1e-12 }],
      [l2NormalizeGradOp as OpDef<unknown>, [x, mean, y], { eps: 1e-12 }],
      [crossEntropyOp as OpDef<unknown>, [x], undefined],
      [crossEntropyAndGradOp as OpDef<unknown>, [x, dy], undefined],
    ];
    for (const [op, inputs, attrs] of cases) {
      const apart = await bitsOf(op, inputs, attrs, 0);
      deepStrictEqual(await bitsOf(op, inputs, attrs, gpu.subgroupLanes), apart, `${op.name} [${R}, ${C}]`);
    }
  }
});
