import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import type { ProfileRow } from "../../lib/gpu/profile.ts";
import { className } from "../../lib/ops/matmul_classes.ts";
import { matmulTable } from "../../lib/ops/matmul_variants.ts";
import { kernelCases } from "../../tasks/bench/cases.ts";
import { type BenchRow, benchRow, median } from "../../tasks/bench/measure.ts";
import { classesOf, productsOf } from "../../tasks/bench/products.ts";
import { benchRows, COPY, MADD, page, section } from "../../tasks/bench/report.ts";
import { roofline } from "../../tasks/bench/roofline.ts";
import { tableText } from "../../tasks/bench/tune.ts";
import { path, run, withFolder } from "./run_task.ts";

const place = { adapter: "an adapter", commit: "0123456789abcdef" };
const line = (kernel: string, gflops: number, gbps: number): BenchRow => ({
  ...{ kernel, shape: [2, 3], ms: 1, gflops, gbps, floorShare: 0.5 },
  ...place,
});

Deno.test("median() of an even count is the lower of the two in the middle", () => {
  strictEqual(median([5]), 5);
  strictEqual(median([9, 1, 5]), 5);
  strictEqual(median([4, 1, 3, 2]), 2);
});

Deno.test("benchRow() gives rates per second and the share of the floor", () => {
  const row = benchRow(
    { kernel: "matmul", shape: [2048, 768, 768] },
    { ms: 100, cost: { flops: 2 * 2048 * 768 * 768, bytes: 1e8 }, floor: 25 },
    place,
  );
  deepStrictEqual(row, {
    kernel: "matmul",
    shape: [2048, 768, 768],
    ms: 100,
    gflops: 24.16,
    gbps: 1,
    floorShare: 0.25,
    ...place,
  });
});

Deno.test("benchRows() refuses a line without its figures, with its place", () => {
  throws(() => benchRows([{ ...line("a", 1, 1) }, { kernel: "b" }], "x.jsonl"), {
    message: "not a result of bench",
    where: "x.jsonl, line 2",
  });
});

Deno.test("section() shows every line, and its picture only what is no ceiling", () => {
  const rows = [line(COPY, 0, 2), line(MADD, 40, 0), line("softmax", 1, 2)];
  const { markdown, svg } = section(rows, "docs/bench/here.jsonl");
  ok(markdown.includes("| softmax | 2 × 3 | 1 | 1 | 2 | 50% |"), markdown);
  ok(markdown.includes("![Roofline](here.svg)"));
  strictEqual(svg.match(/<circle/g)?.length, 1);
  ok(page([{ markdown, svg }]).endsWith(markdown));
  ok(!markdown.includes("load average"));
  const loaded = section(rows.map((row) => ({ ...row, load: 3.5 })), "here.jsonl").markdown;
  match(loaded, /\n\nThe machine had other work: its load average was 3\.5 when/);
  throws(() => section(rows.slice(1), "x.jsonl"), { message: 'no row "copy"' });
});

Deno.test("roofline() puts a dot at the ceiling on the roof and a slower one below it", () => {
  // 10 flops a byte, 2 GB/s and 40 GFLOP/s: the roof is at 20 GFLOP/s.
  const at = (gflops: number) => {
    const svg = roofline([line("dot", gflops, gflops / 10)], { gflops: 40, gbps: 2 });
    const [, cx, cy] = /cx="([\d.]+)" cy="([\d.]+)"/.exec(svg) ?? [];
    const [, x0, y0, x1, y1] =
      /<path d="M([\d.]+),([\d.]+)L([\d.]+),([\d.]+)L[^"]*" stroke="#d55e00"/.exec(svg) ?? [];
    const roof = +y0 + (+cx - +x0) * (+y1 - +y0) / (+x1 - +x0);
    return +cy - roof;
  };
  ok(Math.abs(at(20)) < 0.2, "on the roof");
  ok(at(10) > 10, "below it: y grows downwards");
});

/** A launch of a matrix product, or of several. */
const launch = (kernel: string, products: readonly number[][], ms: number): ProfileRow => {
  const parts = products.map(([M, N, K, count = 1]) => ({
    ...{ shape: "", scope: "", bytes: 8, flops: 2 * count * M * N * K },
    sizes: { M, N, K, aK: 1, bK: N },
  }));
  const flops = parts.reduce((sum, part) => sum + part.flops, 0);
  return { kernel, shape: "", scope: "", ms, bytes: 8 * parts.length, flops, parts };
};

Deno.test("productsOf() adds equal products up, those that take longest first, and leaves other kernels out", () => {
  const products = productsOf([
    launch("kernels/matmul_subgroup.wgsl/tile", [[1280, 64, 64]], 1),
    launch("kernels/matmul.wgsl/tile", [[4, 64, 64, 3]], 5),
    launch("kernels/softmax.wgsl/forward", [[4, 4, 4]], 9),
    launch("kernels/matmul_subgroup.wgsl/tileAndSums", [[1280, 64, 64], [128, 64, 64]], 2.2),
    launch("kernels/matmul.wgsl/tile", [[4, 64, 64, 0]], 5), // the second launch of one product
  ]);
  deepStrictEqual(
    products.map(({ shape, launches, ms }) => [className(shape), launches, Number(ms.toFixed(9))]),
    [
      ["3 x 4 x 64 x 64 NN", 1, 5],
      ["1280 x 64 x 64 NN", 2, 3],
      ["128 x 64 x 64 NN", 1, 0.2],
    ],
  );
  deepStrictEqual(classesOf(products).map(className), [
    "4 x 64 x 64 NN",
    "1280 x 64 x 64 NN",
    "128 x 64 x 64 NN",
  ]);
});

Deno.test("productsOf() shares a launch's time by what each product takes alone", () => {
  const both = launch("kernels/matmul_subgroup.wgsl/tile", [[1280, 64, 64], [128, 64, 64]], 3);
  const products = productsOf([both], ({ M }) => M === 1280 ? 20 : 2); // 10 to 1 in flops, 1 to 1 in time
  deepStrictEqual(products.map(({ ms }) => Number(ms.toFixed(9))), [1.5, 1.5]);
});

Deno.test("section() has a step's products beside their classes, apart from the other lines", () => {
  const product = { layout: "NT", launches: 3, shapeClass: "1280 x 64 x 64 NT" };
  const rows = [
    ...[line(COPY, 0, 2), line(MADD, 40, 0), line("step: demo", 10, 2)],
    { ...line("step: demo, product", 9, 2), product: { ...product, classGflops: 10 } },
    { ...line("step: demo, product", 6, 2), product: { ...product, classGflops: 10 } },
  ];
  const { markdown, svg } = section(rows, "here.jsonl");
  ok(
    markdown.includes("### Matrix products of the step of demo\n\n1 of 2 matrix products reach 80%"),
    markdown,
  );
  ok(markdown.includes("| 2 × 3 NT | 3 | 1 | 9.0 | 1280 × 64 × 64 NT | 10.0 | 90% |"), markdown);
  strictEqual(markdown.match(/step: demo/g)?.length, 1);
  strictEqual(svg.match(/<circle/g)?.length, 1);
});

Deno.test("the checked-in table of kernels is as --tune writes it, and only --tune does", async () => {
  const file = await Deno.readTextFile(path("lib/ops/matmul_table.json"));
  strictEqual(tableText(matmulTable), file);
  const { stdout } = await run("bench", ["--help"], ".");
  match(stdout, /--tune +instead: time every kernel.*Nothing else ever does that/);
});

Deno.test("kernelCases() has no kernel twice at one shape", () => {
  const names = kernelCases().map(({ kernel, shape }) => `${kernel} ${shape}`);
  strictEqual(new Set(names).size, names.length);
});

Deno.test("bench checks a kernel, times it, and writes the contract's fields", async () => {
  await withFolder(async (cwd) => {
    const { code, stdout, stderr } = await run(
      "bench",
      ["--only", "sum of rows", "--json", "out.jsonl"],
      cwd,
    );
    strictEqual(code, 0, stderr);
    match(stdout, /sum of rows +4352 x 64 /);
    const lines = (await Deno.readTextFile(`${cwd}/out.jsonl`)).trimEnd().split("\n").map((l) =>
      JSON.parse(l)
    );
    strictEqual(lines.length, 5); // three ceilings, two shapes
    for (const one of lines) {
      deepStrictEqual(Object.keys(one), [
        ...["kernel", "shape", "ms", "gflops", "gbps", "floorShare", "adapter", "commit", "load"],
      ]);
      ok(one.ms > 0);
    }
    const unknown = await run("bench", ["--only", "no such kernel"], cwd);
    strictEqual(unknown.code, 2);
    match(unknown.stderr, /nothing is named "no such kernel"/);
  });
});
