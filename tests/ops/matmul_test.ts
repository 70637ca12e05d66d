import { deepEqual, equal, match, notEqual, ok, throws } from "node:assert/strict";
import { Random } from "../../lib/core/random.ts";
import { GpuError, ShapeError } from "../../lib/core/errors.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { sha256Hex } from "../../lib/io/atomic.ts";
import { gelu } from "../../lib/ops/elementwise.ts";
import { linear } from "../../lib/ops/linear.ts";
import { headScores, headValues, matmul } from "../../lib/ops/matmul.ts";
import { className, classOf, kernelVariants, productOf, shapeClasses } from "../../lib/ops/matmul_classes.ts";
import { launchProduct, launchVariant } from "../../lib/ops/matmul_launch.ts";
import {
  expectedNs,
  type Layout,
  type MatmulTable,
  matmulTable,
  type MatmulVariant,
  matmulVariants,
  pickVariant,
  type Product,
  variantName,
  variantsFor,
  type VariantTimes,
} from "../../lib/ops/matmul_variants.ts";
import { evaluate } from "../../lib/plan/compile.ts";
import { apply, applyNode, defineOp, type Target } from "../../lib/tensor/op.ts";
import { input } from "../../lib/tensor/tensor.ts";

const lanes8: Target = { deviceClass: "software", subgroupLanes: 8 };
const aGpu: Target = { deviceClass: "gpu", subgroupLanes: 32 };

/** A batch of M x N x K products. */
const product = (M: number, N: number, K: number, layout: Layout, count = 1): Product =>
  productOf({ count, M, N, K, layout });

Deno.test("the checked-in table has a kernel for every product, and as many figures as it says", () => {
  for (const [deviceClass, { terms, variants }] of Object.entries(matmulTable)) {
    ok(terms.length > 1 && terms.every((term, i) => i === 0 || term > terms[i - 1]), deviceClass);
    const names = matmulVariants.map(variantName);
    for (const [name, { atOnce, tileNs }] of Object.entries(variants)) {
      ok(names.includes(name) && Number.isInteger(atOnce) && atOnce > 0, name);
      for (const times of Object.values(tileNs)) {
        deepEqual([times.length, times.every((ns) => ns > 0)], [terms.length, true], name);
      }
    }
  }
  for (const layout of ["NN", "NT", "TN", "TT"] as const) {
    for (const deviceClass of ["software", "gpu"] as const) {
      const target = { deviceClass, subgroupLanes: 0 }, odd = product(7, 5, 3, layout);
      ok(expectedNs(odd, pickVariant(odd, target), matmulTable[deviceClass]) < Infinity);
    }
  }
});

Deno.test("expectedNs() goes in straight lines between the terms, and counts tiles that run side by side", () => {
  const [variant] = matmulVariants.filter(({ kernel }) => kernel === "portable"); // 8 x 64
  const times = {
    adapter: "",
    terms: [10, 20, 40],
    variants: { "portable.tile": { atOnce: 4, tileNs: { NN: [100, 200, 300] } } },
  };
  const ns = (M: number, K: number, layout: Layout = "NN") =>
    expectedNs(product(M, 64, K, layout), variant, times);
  deepEqual([5, 10, 15, 20, 30, 40, 60].map((K) => ns(32, K) / 4), [50, 100, 150, 200, 250, 300, 400]);
  deepEqual([8, 32, 33, 64, 65].map((M) => ns(M, 10)), [400, 400, 800, 800, 1200]);
  equal(ns(8, 10, "NT"), Infinity);
});

Deno.test("pickVariant() takes what the table says is the fastest of those that may run", () => {
  const flat = (ns: number): VariantTimes => ({ atOnce: 1, tileNs: { NN: [ns, ns], NT: [ns, ns] } });
  const table = (variants: Record<string, VariantTimes>): MatmulTable => ({
    ...matmulTable,
    software: { adapter: "", terms: [1, 2], variants },
  });
  const figures = { "portable.tile": flat(5), "subgroup.tileRows": flat(4), "subgroup.small": flat(100) };
  const pick = (p: Product, target: Target, variants: Record<string, VariantTimes> = figures) =>
    variantName(pickVariant(p, target, { table: table(variants) }));
  equal(pick(product(8, 32, 8, "NN"), lanes8), "subgroup.tileRows");
  equal(pick(product(8, 31, 8, "NN"), lanes8), "portable.tile"); // rows of 31 are not read by fours
  equal(pick(product(8, 32, 8, "NT"), lanes8), "portable.tile");
  equal(pick(product(8, 32, 8, "NN"), { ...lanes8, subgroupLanes: 4 }), "portable.tile");
  equal(variantsFor(product(8, 32, 8, "NT"), lanes8, { withSums: true }).some((v) => !v.hasSums), false);
  equal(pick(product(8, 32, 8, "NN"), lanes8, { ...figures, "subgroup.small": flat(1) }), "subgroup.small");
});

Deno.test("variantsFor() reads by fours only what starts at multiples of four", () => {
  const fours = (p: Product) => new Set(variantsFor(p, lanes8).map((v) => v.fours));
  const rows = product(64, 64, 64, "NN");
  ok(fours(rows).has("b along N"));
  ok(!fours({ ...rows, N: 62 }).has("b along N"));
  ok(!fours({ ...rows, b: { ...rows.b, k: 65 } }).has("b along N"));
  ok(!fours({ ...rows, outer: 2, b: { ...rows.b, outer: 4098 } }).has("b along N"));
  const inner = product(64, 64, 1024, "NT");
  ok(fours(inner).has("a and b along K"));
  ok(!fours({ ...inner, K: 1022 }).has("a and b along K"));
  ok(!fours({ ...inner, a: { ...inner.a, m: 1026 } }).has("a and b along K"));
  for (const layout of ["NN", "NT", "TN", "TT"] as const) {
    const lies = (M: number, N: number, K: number) =>
      fours(product(M, N, K, layout)).has("a and b as they lie");
    const [a, b] = layout;
    deepEqual([lies(64, 32, 16), lies(63, 32, 16), lies(64, 31, 16), lies(64, 32, 15)], [
      true,
      a === "N",
      b === "T",
      a === "T" && b === "N",
    ]);
  }
});

Deno.test("kernelVariants() names the kernel of each shape class, by the device's class", () => {
  const { deviceClass, table, matmul } = kernelVariants(lanes8);
  equal(deviceClass, "software");
  match(table, /^[0-9a-f]{16}$/);
  deepEqual(Object.keys(matmul), shapeClasses.map(className));
  equal(new Set(Object.keys(matmul)).size, shapeClasses.length);
  ok(Object.values(matmul).every((name) => matmulVariants.some((v) => variantName(v) === name)));
  notEqual(kernelVariants(aGpu).table, table);
  ok(Object.values(kernelVariants(aGpu).matmul).every((name) => name.startsWith("tiled.")));
});

Deno.test("classOf() finds the class of the same layout that is nearest in proportion", () => {
  const name = (count: number, M: number, N: number, K: number, layout: Layout) =>
    className(classOf({ count, M, N, K, layout }));
  equal(name(1, 2048, 768, 768, "TT"), "2048 x 768 x 768 TT");
  equal(name(1, 4000, 64, 64, "NT"), "4352 x 64 x 64 NT");
  equal(name(1, 100, 50, 64, "TN"), "128 x 64 x 64 TN");
  equal(name(64, 30, 30, 700, "NN"), "64 x 32 x 32 x 768 NN");
});

/** A product by a variant, with all that an epilogue does. */
const variantOp = defineOp<{ variant: MatmulVariant; product: Product }>({
  name: "variant",
  outputs: (_, { product: { outer, M, N } }) => [{ shape: [outer, M, N], dtype: "f32" }],
  dispatch: ([a, b, bias, other], [y], { variant, product }) =>
    launchVariant(variant, product, { a, b, y }, { bias, scale: 0.5, isRelu: true, last: "plus", other }),
  cost: () => ({ flops: 0, bytes: 0 }),
});

Deno.test("every kernel gives the same bits, whatever the layout and edges: the table changes speed alone", async () => {
  using gpu = await openDevice();
  const used = new Set<string>();
  for (const layout of ["NN", "NT", "TN", "TT"] as const) {
    const products = [
      product(1, 1, 1, layout),
      product(33, 31, 17, layout, 2),
      product(64, 96, 40, layout),
      product(68, 36, 20, layout, 3), // by fours, over the edge of a tile and of a step of eight terms
      product(47, 60, 256, layout),
      product(65, 63, 29, layout, 9),
      product(5, 68, 1300, layout),
    ];
    for (const one of products) {
      const { M, N, K, outer } = one, random = new Random(1, `${M} ${N} ${K} ${outer}`);
      const data = (...shape: number[]) => ({ shape, data: random.normal(sizeOf(shape)) });
      const variants = variantsFor(one, gpu);
      const results = await evaluate(
        gpu,
        ({ a, b, bias, other }) =>
          Object.fromEntries(
            variants.map((
              v,
            ) => [variantName(v), apply(variantOp, [a, b, bias, other], { variant: v, product: one })]),
          ),
        { a: data(outer, M, K), b: data(outer, K, N), bias: data(N), other: data(outer, M, N) },
        { guard: true },
      );
      const bits = Object.values(results).map(({ data }) => sha256Hex(new Uint8Array(data.buffer)));
      ok(M * N === 1 || Object.values(results)[0].data.some((v) => v > 0), "something is computed"); // relu may leave one element at 0
      deepEqual(
        new Set(bits).size,
        1,
        `${className({ ...one, count: outer, layout })}: ${Object.keys(results)}`,
      );
      variants.forEach((v) => used.add(variantName(v)));
    }
  }
  equal(used.size, gpu.subgroupLanes < 8 ? 4 : matmulVariants.length);
});

/** A product with its gelu beside it, by a given variant. */
const besideGeluOp = defineOp<{ variant: MatmulVariant; product: Product }>({
  name: "besideGelu",
  outputs: (_, { product: { outer, M, N } }) => {
    const y = { shape: [outer, M, N], dtype: "f32" } as const;
    return [y, y];
  },
  dispatch: ([a, b, bias], [y, activated], { variant, product }) =>
    launchVariant(variant, product, { a, b, y, activated }, { bias, scale: 0.5 }),
  cost: () => ({ flops: 0, bytes: 0 }),
});

Deno.test("every kernel stores gelu beside a product: the bits of gelu apart, within its edges", async () => {
  using gpu = await openDevice();
  for (const one of [product(33, 31, 17, "NT", 2), product(68, 36, 20, "NT"), product(5, 68, 1300, "NT")]) {
    const { M, N, K, outer } = one, random = new Random(1, `${M} ${N} ${K}`);
    const data = (...shape: number[]) => ({ shape, data: random.normal(sizeOf(shape)) });
    const variants = variantsFor(one, gpu);
    ok(variants.length > 1);
    const values = await evaluate(
      gpu,
      (t) =>
        Object.fromEntries(variants.flatMap((variant) => {
          const [y, activated] =
            applyNode(besideGeluOp, [t.a, t.b, t.bias], { variant, product: one }).outputs;
          const name = variantName(variant);
          return [[`${name} y`, y], [`${name} gelu`, activated], [`${name} apart`, gelu(y)]];
        })),
      { a: data(outer, M, K), b: data(outer, N, K), bias: data(N) },
      { guard: true },
    );
    for (const variant of variants.map(variantName)) {
      deepEqual(values[`${variant} gelu`].data, values[`${variant} apart`].data, variant);
      deepEqual(values[`${variant} y`].data, values[`${variantName(variants[0])} y`].data, variant);
    }
  }
});

/** `aᵀ b`, and by the way the sums of the columns of `a`, by a variant. */
const sumsOp = defineOp<{ variant: MatmulVariant; product: Product }>({
  name: "sums",
  outputs: (_, { product: { M, N } }) => [{ shape: [M, N], dtype: "f32" }, { shape: [M], dtype: "f32" }],
  dispatch: ([a, b], [y, sums], { variant, product }) =>
    launchVariant(variant, product, { a, b, y, sums }, {}),
  cost: () => ({ flops: 0, bytes: 0 }),
});

Deno.test("every kernel that also sums the rows of a gives the same sums", async () => {
  using gpu = await openDevice();
  for (const [K, M, N] of [[7, 1, 1], [29, 70, 33], [40, 36, 128], [17, 1100, 700]]) {
    const random = new Random(1, `${K}`), a = random.normal(K * M), b = random.normal(K * N);
    const want = Float32Array.from({ length: M }, (_, m) => {
      let sum = Math.fround(0);
      for (let k = 0; k < K; k++) sum = Math.fround(sum + a[k * M + m]);
      return sum;
    });
    const one = product(M, N, K, "TN"), variants = variantsFor(one, gpu, { withSums: true });
    const fours = M % 4 === 0 && N % 4 === 0 ? 1 : 0;
    equal(variants.length, fours + (gpu.subgroupLanes < 8 ? 3 : N % 4 === 0 ? 5 : 4));
    const values = await evaluate(
      gpu,
      (t) =>
        Object.fromEntries(
          variants.flatMap((variant, i) => {
            const [y, sums] = applyNode(sumsOp, [t.a, t.b], { variant, product: one }).outputs;
            return [[`y${i}`, y], [`sums${i}`, sums]];
          }),
        ),
      { a: { shape: [K, M], data: a }, b: { shape: [K, N], data: b } },
      { guard: true },
    );
    variants.forEach((v, i) => {
      deepEqual(values[`sums${i}`].data, want, variantName(v));
      deepEqual(values[`y${i}`].data, values.y0.data, variantName(v));
    });
  }
});

Deno.test("the matrix products name the shapes that do not fit", () => {
  const t = (...shape: number[]) => input("x", { shape, dtype: "f32" });
  const shows = (run: () => unknown, message: RegExp) => throws(run, { name: ShapeError.name, message });
  shows(() => matmul(t(2, 3), t(4, 5)), /^matmul: inner sizes differ: a is \[2, 3\], b is \[4, 5\]$/);
  shows(() => matmul(t(2, 3, 4), t(3, 4, 5)), /batches differ/);
  shows(() => matmul(t(3), t(3, 4)), /two matrices are needed/);
  shows(() => linear(t(2, 3), t(5, 4)), /^linear: inner sizes differ: x is \[2, 3\], weight is \[5, 4\]$/);
  shows(() => linear(t(2, 3), t(5, 3), t(4)), /bias is \[4\], weight is \[5, 3\]/);
  shows(() => headScores(t(2, 3, 8), t(2, 5, 8), { heads: 3 }), /3 heads do not divide \[2, 3, 8\]/);
  shows(() => headScores(t(2, 3, 8), t(3, 5, 8), { heads: 2 }), /two sequences/);
  shows(() => headValues(t(2, 2, 3, 5), t(2, 3, 8)), /weights \[2, 2, 3, 5\] do not fit values \[2, 3, 8\]/);
});

Deno.test("a product with more tiles in a row than a grid takes says what to do", () => {
  const x = input("x", { shape: [1], dtype: "f32" });
  const launch = (M: number) => launchProduct(product(M, 1, 1, "NT"), { a: x, b: x, y: x }, {}, lanes8);
  equal(launch(8 * 65_535 + 1)[0].grid[1], 16_384); // tiles of 8 rows, which are faster, would be too many
  throws(() => launch(2 ** 22 + 1), (error) => {
    ok(error instanceof GpuError && error.fix === "use a smaller batch");
    match(error.message, /^a matrix product of 4194305 x 1 x 1 has 131073 tiles in a row or column/);
    return true;
  });
});
