import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { openDevice } from "../../lib/gpu/device.ts";
import { dropout } from "../../lib/ops/dropout.ts";
import { add, addN, exp, gelu, scale } from "../../lib/ops/elementwise.ts";
import { layerNorm } from "../../lib/ops/layer_norm.ts";
import { linear } from "../../lib/ops/linear.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { concat, reshape } from "../../lib/ops/movement.ts";
import { inspect } from "../../lib/plan/compile.ts";
import type { Tensor } from "../../lib/tensor/tensor.ts";
import { draw, gradients, launches } from "./fused.ts";

Deno.test("a residual is added by the product that it is added to, on either side", async () => {
  using gpu = await openDevice();
  const x = draw("x", 2, 17, 12), w = draw("w", 12, 12), b = draw("b", 12), r = draw("r", 2, 17, 12);
  deepStrictEqual(await launches(gpu, () => ({ y: add(linear(x, w, b), r) })), [2, 1]);
  deepStrictEqual(await launches(gpu, () => ({ y: add(r, linear(x, w, b, { activation: "relu" })) })), [
    2,
    1,
  ]);
  const y = () => add(r, reshape(matmul(reshape(x, [34, 12]), w, { scale: 0.5 }), [2, 17, 12]));
  deepStrictEqual(await launches(gpu, () => ({ y: y() })), [2, 1]);
});

Deno.test("a product that something else reads, is kept, or is broadcast stays as it is", async () => {
  using gpu = await openDevice();
  const x = draw("x", 5, 8), w = draw("w", 8, 8), r = draw("r", 5, 8);
  deepStrictEqual(
    await launches(gpu, () => {
      const p = matmul(x, w);
      return { y: add(p, r), p };
    }),
    [2, 2],
  );
  deepStrictEqual(
    await launches(gpu, () => {
      const p = matmul(x, w);
      return { y: add(p, exp(p)) };
    }),
    [3, 2],
  );
  deepStrictEqual(
    await launches(gpu, () => ({ y: add(matmul(reshape(x, [1, 5, 8]), w), draw("s", 3, 5, 8)) })),
    [
      2,
      2,
    ],
  );
  deepStrictEqual(
    await launches(gpu, () => {
      const p = matmul(x, w);
      return { y: add(p, p) };
    }),
    [2, 2],
  );
});

Deno.test("sums of several terms are folded from left to right", async () => {
  using gpu = await openDevice();
  const x = draw("x", 5, 8), w = draw("w", 8, 8), r = draw("r", 5, 8), s = draw("s", 5, 8);
  const p = (k: number) => matmul(x, w, { scale: k });
  deepStrictEqual(await launches(gpu, () => ({ y: addN([p(1), p(2), p(3), p(4)]) })), [5, 4]);
  deepStrictEqual(await launches(gpu, () => ({ y: addN([r, s, p(0.3), p(0.7)]) })), [3, 3]);
  deepStrictEqual(await launches(gpu, () => ({ y: addN([p(0.1), r, s, exp(r), p(3)]) })), [4, 3]);
  deepStrictEqual(await launches(gpu, () => ({ y: addN([p(0.1), r, s]) })), [2, 2]);
  deepStrictEqual(await launches(gpu, () => ({ y: add(scale(addN([p(0.1), p(7), r]), 3), p(2)) })), [6, 4]);
  deepStrictEqual(await launches(gpu, () => ({ y: add(add(p(0.1), r), s) })), [3, 2]);
  deepStrictEqual(await launches(gpu, () => ({ y: add(s, add(r, p(0.1))) })), [3, 2]);
  deepStrictEqual(await launches(gpu, () => ({ y: add(add(p(0.1), r), add(s, p(2))) })), [5, 3]);
});

Deno.test("terms of one size and several shapes: a sum in between has the shape of the whole", async () => {
  using gpu = await openDevice();
  const x = draw("x", 15, 5), w = draw("w", 5, 5), r = draw("r", 3, 5, 5), s = draw("s", 3, 5, 5);
  const p = (k: number) => reshape(matmul(x, w, { scale: k }), [3, 5, 5]);
  deepStrictEqual(await launches(gpu, () => ({ y: addN([p(0.1), p(2), r]) })), [3, 3]);
  deepStrictEqual(await launches(gpu, () => ({ y: addN([p(0.1), r, s, exp(r)]) })), [3, 2]);
  deepStrictEqual(await launches(gpu, () => ({ y: addN([p(0.1), p(2), p(3), r, exp(s)]) })), [5, 4]);
});

Deno.test("the gradient of gelu is taken by the product before it, unless that already adds something", async () => {
  using gpu = await openDevice();
  const x = draw("x", 5, 8), w = draw("w", 8, 8), b = draw("b", 8), v = draw("v", 6, 8), u = draw("u", 3, 8);
  const one = () => gradients({ w, b, v }, linear(gelu(linear(x, w, b)), v));
  const two = () => {
    const h = gelu(linear(x, w, b));
    return gradients({ w, b, v }, concat([linear(h, v), linear(h, u)], 1));
  };
  const [apart, together] = await launches(gpu, one);
  deepStrictEqual(apart - together, 4); // gelu and its gradient, and two of the loss's own ops
  const [apartTwo, togetherTwo] = await launches(gpu, two);
  deepStrictEqual(apartTwo - togetherTwo, 4); // the addition, gelu, and the same two
});

Deno.test("a residual is added by the dropout before it, and gelu's slope is taken there", async () => {
  using gpu = await openDevice();
  for (const shape of [[4, 8], [5, 7]]) { // by fours and one by one
    const x = draw("x", ...shape), r = draw("r", ...shape);
    deepStrictEqual(await launches(gpu, () => ({ y: add(dropout(x, 0.3), r) })), [2, 1]);
    deepStrictEqual(await launches(gpu, () => ({ y: add(r, dropout(x, 0.3)) })), [2, 1]);
    const outputs = () => gradients({ x }, dropout(gelu(x), 0.3));
    const { nodes } = inspect(() => ({ outputs: outputs() }), {}, { isTraining: true }).lowered;
    ok(!nodes.some(({ op }) => op.name === "geluGrad"));
    await launches(gpu, outputs);
  }
});

Deno.test("the gradients of a layer normalisation are one node", async () => {
  using gpu = await openDevice();
  const launchesOf = (wrt: "x" | "all", ...shape: number[]) => {
    const C = shape[1], x = draw("x", ...shape), weight = draw("weight", C), bias = draw("bias", C);
    const y = () => layerNorm(x, weight, bias, 1e-5);
    return launches(gpu, () => gradients(wrt === "x" ? { x } : { x, weight, bias }, y()));
  };
  const [apart, together] = await launchesOf("x", 40, 16), rest = apart - together; // of the loss
  for (const [shape, fewer] of [[[40, 16], 1], [[7, 5], 0], [[130, 64], 1]] as const) {
    const [all, merged] = await launchesOf("all", ...shape);
    strictEqual(all - merged, rest + fewer);
  }
});

Deno.test("the gradients of a residual network are the same bits, in fewer launches", async () => {
  using gpu = await openDevice();
  const w = [0, 1, 2, 3].map((i) => draw(`w${i}`, 16, 16)), b = [0, 1, 2, 3].map((i) => draw(`b${i}`, 16));
  const weight = draw("weight", 16), bias = draw("bias", 16), x = draw("x", 40, 16);
  const [apart, together] = await launches(gpu, () => {
    let h: Tensor = x;
    for (let i = 0; i < 4; i += 2) {
      const inner = gelu(linear(h, w[i], b[i]));
      h = layerNorm(add(linear(inner, w[i + 1], b[i + 1]), h), weight, bias, 1e-5);
    }
    for (let i = 0; i < 3; i++) h = linear(h, w[0], b[0]); // one weight, several uses
    const named = Object.fromEntries([...w, ...b].map((p, i) => [`p${i}`, p]));
    return { h, ...gradients({ x, weight, bias, ...named }, h) };
  });
  ok(together <= apart - 5, `${together} launches instead of ${apart}`);
  strictEqual(gpu.liveBuffers, 0);
});
