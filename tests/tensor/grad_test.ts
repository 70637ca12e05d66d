import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import { ShapeError } from "../../lib/core/errors.ts";
import { backward, type GradBuilders } from "../../lib/tensor/grad.ts";
import { applyNode, defineOp, foldGrid } from "../../lib/tensor/op.ts";
import { printGraph } from "../../lib/tensor/print.ts";
import { constant, input, param } from "../../lib/tensor/tensor.ts";
import { isTraining, nextSite, reachable, scope, trace } from "../../lib/tensor/trace.ts";
import { axpy, view } from "../toy_op.ts";

const builders: GradBuilders = {
  sum: (terms) => terms.slice(1).reduce((a, b) => axpy(a, b, 1), terms[0]),
  ones: (like) => constant(like.shape, new Float32Array(like.shape.reduce((a, b) => a * b, 1)).fill(1)),
};
const scalar = () => input("x", { shape: [1], dtype: "f32" });

Deno.test("backward() leaves out what the loss does not depend on", () => {
  const a = param([1], new Float32Array(1)), b = param([1], new Float32Array(1));
  const grads = backward(axpy(a, scalar(), 2), [a, b], builders);
  ok(grads.has(a));
  ok(!grads.has(b), "absent, not zero");
});

Deno.test("backward() adds up the uses of a tensor", () => {
  const x = scalar();
  const dx = backward(axpy(axpy(x, x, 2), x, 3), [x], builders).get(x);
  ok(dx);
  match(printGraph([dx]), /axpy/);
});

Deno.test("backward() needs a loss of one element", () => {
  const x = input("x", { shape: [2], dtype: "f32" });
  throws(() => backward(axpy(x, x, 1), [x], builders), /loss of one element, got \[2\]/);
});

Deno.test("backward() names the op without a gradient", () => {
  const x = scalar();
  throws(() => backward(view(x, [1]), [x], builders), /view has no gradient/);
});

Deno.test("reachable() gives nodes in order of creation, once", () => {
  const x = scalar(), y = axpy(x, x, 1), z = axpy(y, y, 1);
  const ids = reachable([z, y]).map((node) => node.id);
  deepStrictEqual(ids, ids.toSorted((a, b) => a - b));
  strictEqual(ids.length, 2);
});

Deno.test("trace() counts random sites from zero and knows its mode", () => {
  for (const mode of [true, false]) {
    const t = trace(() => [nextSite(), nextSite(), isTraining()], { isTraining: mode });
    deepStrictEqual(t.result, [0, 1, mode]);
  }
  strictEqual(isTraining(), false);
  throws(() => nextSite(), /compile or evaluate/);
});

Deno.test("a shape error names the op and the module path", () => {
  const bad = defineOp({
    name: "bad",
    outputs: () => {
      throw new ShapeError("inner sizes differ");
    },
    dispatch: () => [],
    cost: () => ({ flops: 0, bytes: 0 }),
  });
  throws(
    () => scope("qformer", () => scope("layer", () => applyNode(bad, [], undefined))),
    (e: unknown) =>
      e instanceof ShapeError && e.message === "bad: inner sizes differ" && e.where === "qformer.layer",
  );
});

Deno.test("foldGrid() folds into y above 65,535 groups and never loses one", () => {
  for (const n of [0, 1, 65_535, 65_536, 1_000_003, 4_000_000_000]) {
    const [x, y, z] = foldGrid(n);
    ok(x * y * z >= n && x <= 65_535 && y <= 65_535);
    ok(x * y - n < x + y);
  }
  throws(() => foldGrid(65_536 ** 2), /limit/);
});
