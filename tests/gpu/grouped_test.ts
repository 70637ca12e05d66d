import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { openDevice } from "../../lib/gpu/device.ts";
import { canGroup, groupedWgsl, packMembers } from "../../lib/gpu/grouped.ts";
import { parseKernel } from "../../lib/gpu/kernel.ts";
import { exp, scale } from "../../lib/ops/elementwise.ts";
import { softmax } from "../../lib/ops/softmax.ts";
import { compile } from "../../lib/plan/compile.ts";
import { draw } from "../plan/fused.ts";

const kernel = (body: string, type = "array<f32>") => `
struct Sizes { N: u32 }
@group(1) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(0) var<storage, read> x: ${type};
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
fn at(i: u32) -> f32 { return f32(x[u32(x[i])]); } // twice
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) { ${body} }
`;
const can = (text: string) => canGroup(text, parseKernel({ file: "k.wgsl", wgsl: text }), "main", ["x", "y"]);

Deno.test("a kernel is grouped whose bindings are arrays that are only indexed, by names that nothing hides", () => {
  strictEqual(can(kernel("y[id.x] = at(id.x);")), true);
  strictEqual(can(kernel("y[id.x] = at(id.x);", "array<mat2x2f>")), false);
  strictEqual(can(kernel("if (id.x < arrayLength(&x)) { y[id.x] = at(id.x); }")), false);
  strictEqual(can(kernel("var y = array<f32, 2>(); y[0] = at(id.x);")), false);
});

Deno.test("the text of a grouped kernel reads each binding from the member's first element, written ones by one binding", () => {
  const text = groupedWgsl(kernel("y[id.x] = at(id.x);"), {
    entry: "main",
    names: ["x", "y"],
    shared: { y: "z" },
  });
  ok(text.includes("x[memberBase.x + (u32(x[memberBase.x + (i)]))]"), text);
  ok(text.includes("z[memberBase.y + (id.x)] = at(sizes, memberBase, id.x)"), text);
  match(text, /main\(one\.sizes, one\.base, own \* size \+ local\)/);
  ok(!text.includes("var<uniform> sizes"), text);
});

Deno.test("packMembers() lays the table out: first workgroup, grid, first elements, sizes", () => {
  const member = (grid: [number, number, number], base: number) => ({
    grid,
    bases: [base],
    sizes: new Uint32Array([7, 0, 0, 0]).buffer,
  });
  const { table, workgroups } = packMembers([member([2, 3, 1], 0), member([1, 1, 4], 64)]);
  deepStrictEqual([...new Uint32Array(table)], [
    ...[2, 0, 0, 0],
    ...[0, 2, 3, 1, 0, 0, 0, 0, 7, 0, 0, 0],
    ...[6, 1, 1, 4, 64, 0, 0, 0, 7, 0, 0, 0],
  ]);
  strictEqual(workgroups, 10);
});

Deno.test("a plan shows what one launch does for several; one that keeps its values joins nothing", async () => {
  using gpu = await openDevice();
  const x = draw("x", 5, 7), build = () => ({ a: softmax(exp(scale(x, 1))), b: softmax(exp(scale(x, 2))) });
  const run = async (options: { grouped?: boolean; keepValues?: boolean }) => {
    using plan = await compile(gpu, () => ({ outputs: build() }), {}, { ...options, profile: true });
    plan.run({});
    const rows = await plan.profile();
    return {
      values: await plan.read(),
      launches: plan.info.dispatches,
      parts: rows.map(({ parts }) => parts.length),
    };
  };
  const together = await run({}),
    apart = await run({ grouped: false }),
    kept = await run({ keepValues: true });
  deepStrictEqual([together.launches, apart.launches, kept.launches], [2, 4, 4]);
  ok(together.parts.every((parts) => parts === 2), "or the device has no timestamps");
  deepStrictEqual(together.values, apart.values);
  deepStrictEqual(kept.values, apart.values);
});
