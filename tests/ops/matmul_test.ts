import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { Random } from "../../lib/core/random.ts";
import { ShapeError } from "../../lib/core/errors.ts";
import { type Gpu, openDevice } from "../../lib/gpu/device.ts";
import { sha256Hex } from "../../lib/io/atomic.ts";
import { linear, weightGradOp } from "../../lib/ops/linear.ts";
import { headScores, headValues, matmul } from "../../lib/ops/matmul.ts";
import { launchProduct } from "../../lib/ops/matmul_launch.ts";
import { pickVariant, type Product } from "../../lib/ops/matmul_variants.ts";
import { evaluate } from "../../lib/plan/compile.ts";
import { anyDevice, apply, applyNode, defineOp, type Target } from "../../lib/tensor/op.ts";
import { input } from "../../lib/tensor/tensor.ts";

const lanes8: Target = { deviceClass: "software", subgroupLanes: 8 };
const aGpu: Target = { deviceClass: "gpu", subgroupLanes: 32 };

/** A batch of M x N x K products, operands stored as the two letters say. */
function productOf(M: number, N: number, K: number, layout: "NN" | "NT" | "TN", outer = 1): Product {
  return {
    ...{ M, N, K, outer, inner: 1 },
    a: { outer: M * K, inner: 0, ...(layout === "TN" ? { m: 1, k: M } : { m: K, k: 1 }) },
    b: { outer: K * N, inner: 0, ...(layout === "NT" ? { n: K, k: 1 } : { n: 1, k: N }) },
    y: { outer: M * N, inner: 0, m: N },
  };
}

/** A product for each entry of `matmul_subgroup.wgsl`, with edges that do not fill a tile. */
const examples: Record<string, Product> = {
  tile: productOf(63, 61, 29, "NT"),
  tileRows: productOf(63, 60, 29, "TN"),
  tileInner: productOf(47, 61, 256, "NT"),
  small: productOf(5, 17, 9, "NN", 3),
  smallInner: productOf(5, 17, 16, "NT", 3),
  smallRows: productOf(5, 68, 9, "NN", 3),
};

Deno.test("pickVariant() takes the portable kernel where subgroups are missing or narrow", () => {
  for (const product of Object.values(examples)) {
    equal(pickVariant(product, anyDevice).kernel, "portable");
    equal(pickVariant(product, { ...lanes8, subgroupLanes: 4 }).kernel, "portable");
  }
});

Deno.test("pickVariant() finds a use for every entry point", () => {
  for (const [entry, product] of Object.entries(examples)) equal(pickVariant(product, lanes8).entry, entry);
});

Deno.test("pickVariant() reads by fours only what starts at multiples of four", () => {
  const rows = productOf(64, 64, 64, "NN");
  equal(pickVariant(rows, lanes8).fours, "b along N");
  equal(pickVariant({ ...rows, N: 62 }, lanes8).fours, "none");
  equal(pickVariant({ ...rows, b: { ...rows.b, k: 65 } }, lanes8).fours, "none");
  equal(pickVariant({ ...rows, outer: 2, b: { ...rows.b, outer: 4098 } }, lanes8).fours, "none");
  const inner = productOf(64, 64, 1024, "NT");
  equal(pickVariant(inner, lanes8).fours, "a and b along K");
  equal(pickVariant({ ...inner, K: 1022 }, lanes8).fours, "none");
  equal(pickVariant({ ...inner, a: { ...inner.a, m: 1026 } }, lanes8).fours, "none");
});

/** The product itself as an op, on a target of our choice. */
const productOp = defineOp<{ product: Product; target: Target }>({
  name: "product",
  outputs: (_, { product: { outer, M, N } }) => [{ shape: [outer, M, N], dtype: "f32" }],
  dispatch: ([a, b, bias, plus], [y], { product, target }) =>
    launchProduct(product, { a, b, y }, { bias, scale: 0.5, isRelu: true, plus }, target),
  cost: () => ({ flops: 0, bytes: 0 }),
});

/** Hashes of a product's bits on two targets. */
async function onBoth(gpu: Gpu, product: Product, target: Target) {
  const { M, N, K, outer } = product;
  const random = new Random(1, `${M} ${N} ${K} ${outer}`);
  const data = (shape: number[]) => ({ shape, data: random.normal(shape.reduce((p, n) => p * n)) });
  const { wide, portable } = await evaluate(
    gpu,
    ({ a, b, bias, plus }) => ({
      wide: apply(productOp, [a, b, bias, plus], { product, target }),
      portable: apply(productOp, [a, b, bias, plus], { product, target: anyDevice }),
    }),
    { a: data([outer, M, K]), b: data([outer, K, N]), bias: data([N]), plus: data([outer, M, N]) },
    { guard: true },
  );
  ok(M * N === 1 || wide.data.some((v) => v > 0), "something is computed"); // relu may leave one element at 0
  return [wide, portable].map(({ data }) => sha256Hex(new Uint8Array(data.buffer)));
}

Deno.test("the subgroup kernels give the bits of the portable one", async () => {
  using gpu = await openDevice();
  if (gpu.subgroupLanes < 8) return;
  for (const [entry, product] of Object.entries(examples)) {
    const [wide, portable] = await onBoth(gpu, product, lanes8);
    equal(wide, portable, entry);
  }
});

Deno.test("the tiled kernels give the bits of the portable one, whatever the strides and edges", async () => {
  using gpu = await openDevice();
  for (const layout of ["NN", "NT", "TN"] as const) {
    const products = [
      productOf(1, 1, 1, layout),
      productOf(33, 31, 17, layout, 2),
      productOf(64, 96, 40, layout),
      productOf(65, 63, 29, layout, 128),
    ];
    deepEqual(products.map((p) => pickVariant(p, aGpu).entry), ["tile32", "tile32", "tile32", "tile64"]);
    for (const product of products) {
      const [tiled, portable] = await onBoth(gpu, product, aGpu);
      equal(tiled, portable, `${layout} ${product.M} ${product.N} ${product.K}`);
    }
  }
});

/** The gradient of a weight and, by the way, of its bias, on a target of our choice. */
const sumsOp = defineOp<{ target: Target }>({
  name: "sums",
  outputs: (
    [a, b],
  ) => [{ shape: [a.shape[1], b.shape[1]], dtype: "f32" }, { shape: [a.shape[1]], dtype: "f32" }],
  dispatch: (inputs, outputs, { target }) =>
    weightGradOp.dispatch(inputs, outputs, { hasPlus: false }, target),
  cost: () => ({ flops: 0, bytes: 0 }),
});

Deno.test("every kernel that also sums the rows of a gives the same sums", async () => {
  using gpu = await openDevice();
  const targets = [anyDevice, aGpu, ...gpu.subgroupLanes < 8 ? [] : [lanes8]];
  for (const [K, M, N] of [[7, 1, 1], [29, 70, 33], [40, 36, 128], [17, 1100, 700]]) {
    const random = new Random(1, `${K}`), a = random.normal(K * M), b = random.normal(K * N);
    const want = Float32Array.from({ length: M }, (_, m) => {
      let sum = Math.fround(0);
      for (let k = 0; k < K; k++) sum = Math.fround(sum + a[k * M + m]);
      return sum;
    });
    const values = await evaluate(
      gpu,
      (t) =>
        Object.fromEntries(
          targets.flatMap((target, i) => {
            const [y, sums] = applyNode(sumsOp, [t.a, t.b], { target }).outputs;
            return [[`y${i}`, y], [`sums${i}`, sums]];
          }),
        ),
      { a: { shape: [K, M], data: a }, b: { shape: [K, N], data: b } },
      { guard: true },
    );
    targets.forEach((_, i) => {
      deepEqual(values[`sums${i}`].data, want);
      deepEqual(values[`y${i}`].data, values.y0.data);
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
