import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { openDevice } from "../../lib/gpu/device.ts";
import { crossEntropy } from "../../lib/ops/cross_entropy.ts";
import { add, exp, mul, scale } from "../../lib/ops/elementwise.ts";
import { grad } from "../../lib/ops/grad.ts";
import { inspect } from "../../lib/plan/compile.ts";
import { constant, type Tensor } from "../../lib/tensor/tensor.ts";
import { draw, launches } from "./fused.ts";

/** A loss and its gradients, by the names of what they are taken for. */
const withGradients = (loss: Tensor, wrt: Readonly<Record<string, Tensor>>) => {
  const grads = grad(loss, Object.values(wrt));
  return {
    loss,
    ...Object.fromEntries(Object.entries(wrt).map(([name, x]) => [name, grads.get(x) as Tensor])),
  };
};
const opsOf = (build: () => Readonly<Record<string, Tensor>>): string[] =>
  inspect(() => ({ outputs: build() }), {}).lowered.nodes.map(({ op }) => op.name);

Deno.test("a cross entropy and its gradient are one node, for short and long rows, with and without labels", async () => {
  using gpu = await openDevice();
  for (const [R, C] of [[7, 7], [70, 130], [3, 1025]]) {
    const x = draw("x", R, C), labels = constant([R], new Uint32Array(R).map((_, r) => (3 * r + 1) % C));
    deepStrictEqual(await launches(gpu, () => withGradients(crossEntropy(x), { x })), [4, 3], `[${R}, ${C}]`);
    deepStrictEqual(await launches(gpu, () => withGradients(crossEntropy(x, labels), { x })), [4, 3]);
  }
});

Deno.test("each term of a blended loss is merged: its share is made in front of it", async () => {
  using gpu = await openDevice();
  const x = draw("x", 5, 8), z = draw("z", 6, 6);
  const build = () =>
    withGradients(add(scale(crossEntropy(x), 0.3), scale(crossEntropy(mul(z, z)), 0.7)), { x, z });
  strictEqual(opsOf(build).filter((name) => name === "crossEntropyAndGrad").length, 2);
  await launches(gpu, build);
});

Deno.test("a gradient that depends on the loss comes after it", async () => {
  using gpu = await openDevice();
  const x = draw("x", 5, 8), z = draw("z", 6, 6);
  const squared = () => {
    const loss = crossEntropy(x);
    return withGradients(mul(loss, loss), { x });
  };
  deepStrictEqual(opsOf(squared).filter((name) => name.startsWith("cross")), [
    "crossEntropy",
    "crossEntropyGrad",
  ]);
  await launches(gpu, squared);
  // Each loss is the other's share: one of the two is merged.
  const product = () => withGradients(mul(exp(crossEntropy(x)), crossEntropy(z)), { x, z });
  deepStrictEqual(opsOf(product).filter((name) => name.startsWith("cross")).sort(), [
    "crossEntropy",
    "crossEntropyAndGrad",
    "crossEntropyGrad",
  ]);
  await launches(gpu, product);
});
