import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { ConfigError, GpuError, ShapeError } from "../../lib/core/errors.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { compile, evaluate, Program } from "../../lib/plan/compile.ts";
import { RING_SLOTS } from "../../lib/plan/results.ts";
import { State } from "../../lib/plan/state.ts";
import { apply, defineOp } from "../../lib/tensor/op.ts";
import { constant, param, type Tensor } from "../../lib/tensor/tensor.ts";
import { addEffect, assign } from "../../lib/tensor/trace.ts";
import { axpy, view } from "../toy_op.ts";

const floats = (...values: number[]) => new Float32Array(values);

Deno.test("evaluate() runs a graph with parameters, constants and views", async () => {
  using gpu = await openDevice();
  const p = param([2], floats(10, 20)), c = constant([2], floats(100, 200));
  const { y, z } = await evaluate(gpu, (t) => {
    const y = axpy(axpy(t.x, p, 2), c, 1);
    return { y, z: axpy(view(y, [1, 2]), view(p, [1, 2]), 1) };
  }, { x: { shape: [2], data: floats(1, 2) } });
  deepStrictEqual([...y.data], [121, 242]);
  deepStrictEqual([...z.data], [131, 262]);
  deepStrictEqual(z.shape, [1, 2]);
  strictEqual(gpu.liveBuffers, 0);
});

Deno.test("a plan replays, keeps its ring, and reuses slabs", async () => {
  using gpu = await openDevice();
  using plan = await compile(gpu, (t) => {
    let y: Tensor = t.x;
    for (let i = 0; i < 50; i++) y = axpy(y, t.x, 1);
    return { results: { y } };
  }, { x: { shape: [1] } });
  for (let i = 0; i < 5; i++) plan.run({ x: floats(i) }, { index: 10 + i });
  const rows = await plan.results();
  deepStrictEqual(rows.map((r) => [r.index, r.values.y[0]]), [0, 1, 2, 3, 4].map((i) => [10 + i, 51 * i]));
  deepStrictEqual(await plan.results(), []);
  strictEqual(plan.info.slabBytes, 512);
  strictEqual(plan.info.pipelines, 1);
});

Deno.test("a plan refuses a missing input, a wrong length, a wrong type and a full ring", async () => {
  using gpu = await openDevice();
  using plan = await compile(gpu, (t) => ({ results: { y: axpy(t.x, t.x, 1) } }), { x: { shape: [2] } });
  throws(() => plan.run({}), /input "x" \[2\] is missing/);
  throws(() => plan.run({ x: floats(1) }), ShapeError);
  throws(() => plan.run({ x: new Uint32Array(2) }), /"x" is f32, got u32/);
  for (let i = 0; i < RING_SLOTS; i++) plan.run({ x: floats(1, 2) });
  throws(() => plan.run({ x: floats(1, 2) }), ConfigError);
  await rejects(plan.read("z"), /no output "z"/);
});

Deno.test("gradients land in their shard, in place where nothing else reads them", async () => {
  using gpu = await openDevice();
  const a = param([2], floats(1, 2)), b = param([2], floats(3, 4)), c = param([2], floats(5, 6));
  using state = new State(gpu, [{ params: [a, b, c], isTrained: true }]);
  using plan = await compile(
    gpu,
    (t) => {
      const shared = axpy(t.x, t.x, 1);
      addEffect({ kind: "assign", param: a, buffer: "grad", value: axpy(t.x, a, 1) }); // placed
      addEffect({ kind: "assign", param: b, buffer: "grad", value: shared }); // read below: copied
      addEffect({ kind: "assign", param: c, buffer: "grad", value: axpy(shared, c, 1) });
      return {};
    },
    { x: { shape: [2] } },
    { state },
  );
  plan.run({ x: floats(10, 20) });
  deepStrictEqual((await state.read([a, b, c], "grad")).map((g) => [...g]), [[11, 22], [20, 40], [25, 46]]);
  deepStrictEqual((await state.read([a, b, c])).map((p) => [...p]), [[1, 2], [3, 4], [5, 6]]);
});

Deno.test("assign() changes a parameter after everything has read it", async () => {
  using gpu = await openDevice();
  const p = param([1], floats(1));
  using state = new State(gpu, [{ params: [p], isTrained: false }]);
  using plan = await compile(
    gpu,
    () => {
      assign(p, axpy(p, p, 1));
      return { results: { before: axpy(p, p, 0) } };
    },
    {},
    { state },
  );
  for (let i = 0; i < 3; i++) plan.run({});
  deepStrictEqual((await plan.results()).map((r) => r.values.before[0]), [1, 2, 4]);
  deepStrictEqual([...(await state.read([p]))[0]], [8]);
});

Deno.test("a program compiles each signature once and refuses the fifth by the input's name", async () => {
  using gpu = await openDevice();
  using program = new Program(gpu, (t) => ({ outputs: { y: axpy(t.ids, t.ids, 1) } }));
  for (const n of [1, 2, 3, 4]) {
    const plan = await program.plan({ ids: { shape: [n] } });
    strictEqual(plan, await program.plan({ ids: { shape: [n] } }));
  }
  await rejects(
    program.plan({ ids: { shape: [5] } }),
    /fifth input signature; "ids" varies: \[5\] after \[1\]/,
  );
});

Deno.test("a kernel that does not compile is reported with file, line and column", async () => {
  using gpu = await openDevice();
  const wgsl = "struct Sizes { N: u32 }\n@group(1) @binding(0) var<uniform> sizes: Sizes;\n" +
    "@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n" +
    "@compute @workgroup_size(1)\nfn forward() { y[0] = expp(1.0); }";
  const bad = defineOp({
    name: "bad",
    outputs: () => [{ shape: [1], dtype: "f32" }],
    dispatch: (_, [y]) => [{
      kernel: { file: "kernels/bad.wgsl", wgsl },
      entry: "forward",
      sizes: { N: 1 },
      grid: [1, 1, 1],
      bind: { y },
    }],
    cost: () => ({ flops: 0, bytes: 0 }),
  });
  await rejects(
    evaluate(gpu, () => ({ y: apply(bad, []) }), {}),
    (e: unknown) => e instanceof GpuError && /^kernels\/bad\.wgsl:5:\d+: .*expp/.test(e.message),
  );
  strictEqual(gpu.liveBuffers, 0);
});

Deno.test("a profiled plan tells time and cost of each launch", async () => {
  using gpu = await openDevice();
  if (!gpu.features.has("timestamp-query")) return;
  using plan = await compile(gpu, (t) => ({ outputs: { y: axpy(axpy(t.x, t.x, 1), t.x, 1) } }), {
    x: { shape: [4096] },
  }, {
    profile: true,
  });
  plan.run({ x: new Float32Array(4096).fill(1) });
  const rows = await plan.profile();
  strictEqual(rows.length, 2);
  ok(rows.every((r) => r.ms >= 0 && r.flops === 8192 && r.kernel === "tests/axpy.wgsl/forward"));
  deepStrictEqual([...(await plan.read()).y.data].slice(0, 2), [3, 3]);
});
