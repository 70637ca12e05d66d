/** Ops as graph: what needs no GPU. */
import assert from "node:assert/strict";
import { isUserError, ShapeError } from "../lib/core/errors.ts";
import { type Shape, sizeOf, stridesOf } from "../lib/core/shape.ts";
import { add, addN, mul, ones, scale } from "../lib/ops/elementwise.ts";
import { indexPattern } from "../lib/ops/expression.ts";
import { embedding } from "../lib/ops/gather.ts";
import { grad } from "../lib/ops/grad.ts";
import { concat, expand, permute, reshape, slice } from "../lib/ops/movement.ts";
import { ops } from "../lib/ops/index.ts";
import { mean, sum } from "../lib/ops/reduce.ts";
import type { OpDef } from "../lib/tensor/op.ts";
import { input } from "../lib/tensor/tensor.ts";
import { reachable } from "../lib/tensor/trace.ts";
import { eachIndex } from "./ops_rows/reference.ts";

const f32 = (name: string, shape: Shape) => input(name, { shape, dtype: "f32" });

Deno.test("indexPattern() reads the element that broadcasting means, or says that it cannot", () => {
  const to = [2, 3, 4, 5];
  let covered = 0;
  for (let bits = 0; bits < 16; bits++) {
    const from = to.map((n, i) => bits >> i & 1 ? n : 1), strides = stridesOf(from);
    const pattern = indexPattern(from, to);
    if (!pattern) continue;
    covered++;
    const { p, r, q, m } = pattern;
    eachIndex(to, (index, i) => {
      const want = index.reduce((at, k, axis) => at + (from[axis] === 1 ? 0 : k * strides[axis]), 0);
      assert.equal(Math.floor(i / p) % r * q + i % m, want, `[${from}] element ${i}`);
    });
  }
  // All but [2, 1, 4, 1]: two kept runs, the inner one not innermost.
  assert.equal(covered, 15);
});

Deno.test("grad() has no entry for what the loss does not depend on", () => {
  const x = f32("x", [3]), other = f32("other", [3]);
  const grads = grad(sum(mul(x, x)), [x, other]);
  assert.deepEqual(grads.get(x)?.shape, [3]);
  assert.equal(grads.has(other), false);
});

Deno.test("grad() refuses a loss of more than one element", () => {
  const x = f32("x", [3]);
  assert.throws(() => grad(x, [x]), new ShapeError("a gradient needs a loss of one element, got [3]"));
});

Deno.test("addN() of one term is the term, of twelve takes two launches", () => {
  const x = f32("x", [2]);
  assert.equal(addN([x]), x);
  assert.equal(reachable([addN(new Array(12).fill(x))]).length, 2);
});

Deno.test("grad() joins the gradients of slices that part an axis in any order, and adds all others", () => {
  const x = f32("x", [7, 4]);
  /** The ops of the gradient of a loss that weighs some slices of x. */
  const opsOf = (...parts: readonly [axis: number, start: number, end: number][]) => {
    const terms = parts.map((part, i) => {
      const y = slice(x, ...part);
      return sum(mul(y, f32(`w${i}`, y.shape)));
    });
    const dx = grad(terms.reduce(add), [x]).get(x);
    assert.deepEqual(dx?.shape, [7, 4]);
    return dx ? reachable([dx]).map(({ op }) => op.name) : [];
  };
  for (const parted of [opsOf([0, 4, 7], [0, 0, 4]), opsOf([1, 1, 2], [1, 2, 4], [1, 0, 1])]) {
    assert.equal(parted.at(-1), "concat");
    assert.ok(!parted.includes("pad"));
  }
  assert.equal(opsOf([0, 0, 3], [0, 4, 7]).at(-1), "add"); // a gap
  assert.equal(opsOf([0, 0, 5], [0, 4, 7]).at(-1), "add"); // an overlap
  assert.equal(opsOf([0, 0, 4], [0, 4, 6]).at(-1), "add"); // an end left out
  assert.equal(opsOf([0, 0, 4], [1, 2, 4]).at(-1), "add"); // two axes
  assert.equal(opsOf([0, 0, 4], [0, 4, 7], [0, 0, 4]).at(-1), "addN"); // one part twice
});

Deno.test("ops that change nothing make no node", () => {
  const x = f32("x", [2, 3]);
  for (
    const y of [reshape(x, [2, -1]), permute(x, [0, 1]), slice(x, 1, 0, 3), expand(x, [2, 3]), concat([x], 0)]
  ) {
    assert.equal(y, x);
  }
});

Deno.test("sum() over neighbouring axes is one launch, also round an axis of size 1", () => {
  const x = f32("x", [2, 3, 1, 5]);
  assert.equal(reachable([sum(x, { axis: [1, 3], keepDims: true })]).length, 1);
  assert.equal(reachable([sum(x, { axis: [0, 3], keepDims: true })]).length, 2);
});

Deno.test("shape errors name the op and the received shapes", () => {
  const x = f32("x", [2, 3]);
  const cases: [() => unknown, string][] = [
    [() => add(x, f32("y", [4])), "add: shapes [2, 3] and [4] do not broadcast"],
    [() => addN([x, x, f32("y", [3, 2])]), "addN: shapes [2, 3] and [3, 2] differ"],
    [() => reshape(x, [4]), "reshape: [2, 3] does not fill [4]"],
    [() => reshape(x, [-1, -1]), "reshape: [2, 3] does not fill [-1, -1]"],
    [() => permute(x, [0, 0]), "permute: [0, 0] is no order of the axes of [2, 3]"],
    [() => slice(x, 1, 2, 5), "slice: 2 to 5 is no part of axis 1 of [2, 3]"],
    [() => concat([x, ones([2, 2, 1])], 0), "concat: f32 [2, 3] and f32 [2, 2, 1] do not join along axis 0"],
    [() => expand(x, [3]), "expand: [2, 3] does not expand to [3]"],
    [() => mean(x, { axis: 2 }), "axis 2 is outside a tensor of rank 2"],
    [() => embedding(x, x), "embedding: expected u32, got f32 [2, 3]"],
    [() => scale(input("ids", { shape: [1], dtype: "u32" }), 2), "scale: expected f32, got u32 [1]"],
  ];
  for (const [make, message] of cases) {
    assert.throws(
      make,
      (error) => isUserError(error) && error instanceof ShapeError && error.message === message,
      message,
    );
  }
});

/** Those that work on the optimiser's shards, and what only a plan makes: tests/plan/fuse_elementwise_test.ts. */
const NOT_IN_TABLE = ["adamw.ts", "accumulate.ts", "formula.ts"];
Deno.test("every op of lib/ops is in the table, but those that nobody calls in a graph", async () => {
  const isOp = (x: unknown): x is OpDef<unknown> =>
    typeof x === "object" && x !== null && "dispatch" in x && "outputs" in x;
  const known = new Set<unknown>(Object.values(ops));
  const missing: string[] = [];
  for (const { name } of Deno.readDirSync(new URL("../lib/ops/", import.meta.url))) {
    if (NOT_IN_TABLE.includes(name) || !name.endsWith(".ts")) continue;
    const module: Record<string, unknown> = await import(`../lib/ops/${name}`);
    for (const x of Object.values(module)) if (isOp(x) && !known.has(x)) missing.push(`${name}: ${x.name}`);
  }
  assert.deepEqual(missing, []);
});

Deno.test("every element of a full tensor is counted in its cost", () => {
  const y = ones([3, 7]);
  if (y.source.kind !== "op") throw new Error("not an op");
  const { op, inputs, outputs, attrs } = y.source.node;
  assert.deepEqual(op.cost(inputs, outputs, attrs), { flops: 0, bytes: 4 * sizeOf([3, 7]) });
});
