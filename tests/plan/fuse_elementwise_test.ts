import { deepStrictEqual } from "node:assert/strict";
import { openDevice } from "../../lib/gpu/device.ts";
import {
  add,
  addN,
  addScalar,
  castF32,
  div,
  exp,
  gelu,
  mul,
  neg,
  quickGelu,
  relu,
  scale,
  sigmoid,
  sqrt,
  square,
  sub,
} from "../../lib/ops/elementwise.ts";
import { reshape } from "../../lib/ops/movement.ts";
import { constant, type Tensor } from "../../lib/tensor/tensor.ts";
import { draw, gradients, launches } from "./fused.ts";

Deno.test("trees of elementwise ops are one launch, to the same bits", async () => {
  using gpu = await openDevice();
  const x = draw("x", 3, 5, 8),
    r = draw("r", 3, 5, 8),
    row = draw("row", 8),
    column = draw("column", 3, 1, 8);
  const check = async (y: () => Tensor, want: [number, number]) =>
    deepStrictEqual(await launches(gpu, () => ({ y: y() })), want);
  await check(() => gelu(scale(add(x, r), 2)), [3, 1]);
  await check(() => mul(sub(exp(x), row), div(sigmoid(r), square(column))), [6, 2]); // square(column) is smaller
  await check(() => scale(addScalar(scale(addScalar(x, 3), 5), 7), 11), [4, 1]); // each constant is its own
  await check(() => addN([x, relu(r), neg(x)]), [3, 1]);
  await check(() => quickGelu(reshape(add(x, row), [15, 8])), [2, 1]);
  const odd = draw("odd", 7), ids = constant([7], Uint32Array.from([0, 1, 2, 3, 4, 5, 6]));
  await check(() => mul(sqrt(square(odd)), castF32(ids)), [4, 1]); // not by fours; integers
});

Deno.test("what is read twice, kept, or too much for one launch stays apart", async () => {
  using gpu = await openDevice();
  const x = draw("x", 5, 8), many = Array.from({ length: 8 }, (_, i) => draw(`x${i}`, 5, 8));
  deepStrictEqual(
    await launches(gpu, () => {
      const y = exp(x);
      return { y: add(scale(y, 2), y) };
    }),
    [3, 2],
  );
  deepStrictEqual(
    await launches(gpu, () => {
      const y = exp(x);
      return { y, z: scale(y, 2) };
    }),
    [2, 2],
  );
  const sum = () => many.reduce((a, b) => add(a, b));
  deepStrictEqual(await launches(gpu, () => ({ y: sum() })), [7, 2]); // seven inputs a launch
  const chain = () => Array.from({ length: 14 }).reduce((y: Tensor) => addScalar(y, 0.1), x);
  deepStrictEqual(await launches(gpu, () => ({ y: chain() })), [14, 2]); // twelve ops a launch
});

Deno.test("gradients of elementwise graphs are the same bits", async () => {
  using gpu = await openDevice();
  const x = draw("x", 6, 8), row = draw("row", 8);
  const [apart, together] = await launches(gpu, () => {
    const y = mul(sigmoid(add(x, row)), gelu(scale(x, 0.7)));
    return { y, ...gradients({ x, row }, y) };
  });
  deepStrictEqual(together < apart, true);
});
