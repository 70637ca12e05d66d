import { deepStrictEqual } from "node:assert/strict";
import { openDevice } from "../../lib/gpu/device.ts";
import { add, gelu, scale } from "../../lib/ops/elementwise.ts";
import { linear } from "../../lib/ops/linear.ts";
import { reshape } from "../../lib/ops/movement.ts";
import { draw, gradients, launches } from "./fused.ts";

Deno.test("a linear layer stores its gelu beside it, to the same bits, also of odd widths and with gradients", async () => {
  using gpu = await openDevice();
  for (const [R, K, N] of [[6, 8, 12], [5, 7, 9], [130, 33, 67]]) {
    const x = draw("x", 2, R, K), weight = draw("weight", N, K), bias = draw("bias", N);
    const y = () => linear(x, weight, bias, { activation: "gelu" });
    deepStrictEqual(await launches(gpu, () => ({ y: y() })), [2, 1]);
    const [apart, together] = await launches(gpu, () => gradients({ x, weight, bias }, y()));
    deepStrictEqual(together < apart, true);
  }
});

Deno.test("gelu of a view, taken twice, of a kept product: the product is there as well", async () => {
  using gpu = await openDevice();
  const x = draw("x", 4, 3, 8), weight = draw("weight", 8, 8);
  const z = () => linear(x, weight);
  deepStrictEqual(await launches(gpu, () => ({ y: gelu(reshape(z(), [12, 8])) })), [2, 1]);
  deepStrictEqual(
    await launches(gpu, () => {
      const one = z();
      return { z: one, y: gelu(one), twice: gelu(one) };
    }),
    [3, 2],
  );
  // Relu comes first, and what is done with a product in between is no product.
  deepStrictEqual(
    await launches(gpu, () => ({ y: gelu(linear(x, weight, undefined, { activation: "relu" })) })),
    [2, 2],
  );
  deepStrictEqual(await launches(gpu, () => ({ y: gelu(add(scale(z(), 2), x)) })), [4, 2]);
});
