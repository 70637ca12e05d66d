import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { lower } from "../../lib/plan/lower.ts";
import { dropout } from "../../lib/ops/dropout.ts";
import { gelu, mul } from "../../lib/ops/elementwise.ts";
import { grad } from "../../lib/ops/grad.ts";
import { sum } from "../../lib/ops/reduce.ts";
import type { Node } from "../../lib/tensor/op.ts";
import { recompute } from "../../lib/tensor/recompute.ts";
import { param, type Tensor } from "../../lib/tensor/tensor.ts";
import { addEffect, reachable, segment, trace } from "../../lib/tensor/trace.ts";

const N = 1000, DEPTH = 6;
const weights = Array.from({ length: DEPTH }, () => param([N], new Float32Array(N)));

/** Layers `x <- gelu(dropout(gelu(w x)))`, and the gradients of the weights. */
const layers = (wrap: <R>(fn: () => R) => R) =>
  trace(() => {
    const boundaries: Tensor[] = [];
    let x: Tensor = param([N], new Float32Array(N));
    for (const w of weights) {
      const from = x;
      x = wrap(() => gelu(dropout(gelu(mul(w, from)), 0.5)));
      boundaries.push(x);
    }
    const loss = sum(mul(x, x));
    for (const [w, value] of grad(loss, weights)) {
      addEffect({ kind: "assign", param: w as typeof weights[0], buffer: "grad", value });
    }
    return { loss, boundaries };
  }, { isTraining: true });

const values = (effects: ReturnType<typeof recompute>["effects"]) =>
  effects.flatMap((e) => e.kind === "assign" ? [e.value] : []);

Deno.test("recompute() lets no gradient read an inner value of a segment, and keeps what leaves one", () => {
  const traced = layers(segment), { loss, boundaries } = traced.result;
  const forward = new Set(reachable([loss]));
  const { effects, replace } = recompute(traced, [loss]);
  strictEqual(replace(loss), loss);
  const again = reachable(values(effects)).filter((node) => !forward.has(node));
  const outside = again.flatMap(({ inputs }) => inputs).flatMap(({ source }) =>
    source.kind === "op" && forward.has(source.node) ? source.node.outputs : []
  );
  const allowed = new Set([...boundaries, loss]);
  ok(outside.length > 0 && outside.every((x) => allowed.has(x)));
});

Deno.test("recompute() draws the same random numbers again", () => {
  const traced = layers(segment);
  const { effects } = recompute(traced, [traced.result.loss]);
  const sites = (nodes: Node[]) =>
    nodes.flatMap(({ op, attrs }) => op.name === "dropout" ? [JSON.stringify(attrs)] : []).sort();
  const first = sites(reachable([traced.result.loss]));
  strictEqual(new Set(first).size, DEPTH);
  // Each place three times: forwards, again, and in the gradient.
  deepStrictEqual(
    sites(reachable([traced.result.loss, ...values(effects)])),
    [...first, ...first, ...first].sort(),
  );
});

Deno.test("recompute() keeps a layer's values no longer than the layer needs them", () => {
  const peak = (traced: ReturnType<typeof layers>) => {
    const { effects, replace } = recompute(traced, [traced.result.loss]);
    return lower({ effects }, [replace(traced.result.loss)], { grouped: false }).peakBytes; // as compile() does
  };
  const kept = peak(layers((fn) => fn())), again = peak(layers(segment));
  ok(again < 0.6 * kept, `${again} bytes instead of ${kept}`);
});

Deno.test("recompute() of a trace without gradients changes nothing", () => {
  const traced = trace(() => segment(() => gelu(weights[0])));
  const { effects, replace } = recompute(traced, [traced.result]);
  deepStrictEqual(effects, []);
  strictEqual(replace(traced.result), traced.result);
});
