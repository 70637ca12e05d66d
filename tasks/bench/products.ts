/** The matrix products of a step, each beside the bench figure of its shape class. */
import { textTable } from "../../lib/core/format.ts";
import type { ProfilePart, ProfileRow } from "../../lib/gpu/profile.ts";
import { className, classOf, type ShapeClass } from "../../lib/ops/matmul_classes.ts";
import type { BenchRow } from "./measure.ts";

/** Equal products of a step, added up. */
export interface StepProducts {
  readonly shape: ShapeClass;
  readonly launches: number;
  readonly ms: number;
  readonly flops: number;
  readonly bytes: number;
}

/** What a product should reach of its class's figure. */
export const WANTED_SHARE = 0.8;

/** The product that a part of a launch of `kernels/matmul*.wgsl` does, by its sizes. */
function shapeOf({ sizes: { M, N, K, aK, bK }, flops }: ProfilePart): ShapeClass {
  const layout = `${aK === 1 ? "N" : "T"}${bK === 1 ? "T" : "N"}` as const;
  return { count: Math.round(flops / (2 * M * N * K)), M, N, K, layout };
}

/**
 * A step's products by shape, those that take longest first. Where one launch does several, each takes the part of its time
 * that it would take of theirs alone.
 *
 * @param gflopsOf What a product's class reaches alone; before that is known, all are taken for equal.
 */
export function productsOf(
  rows: readonly ProfileRow[],
  gflopsOf: (shape: ShapeClass) => number = () => 1,
): StepProducts[] {
  const launches = rows.filter(({ kernel }) => kernel.startsWith("kernels/matmul"));
  const products = launches.flatMap(({ parts, ms }) => {
    const all = parts.filter((part) => part.flops > 0) // 0: a product's second launch
      .map((part) => ({ part, shape: shapeOf(part), alone: part.flops / gflopsOf(shapeOf(part)) }));
    const together = all.reduce((sum, { alone }) => sum + alone, 0);
    return all.map(({ part, shape, alone }) => ({ shape, row: { ...part, ms: ms * alone / together } }));
  });
  return [...Map.groupBy(products, ({ shape }) => className(shape)).values()].map((group) => {
    const total = (of: (row: ProfilePart & { readonly ms: number }) => number) =>
      group.reduce((sum, { row }) => sum + of(row), 0);
    return {
      shape: group[0].shape,
      launches: group.length,
      ms: total(({ ms }) => ms),
      flops: total(({ flops }) => flops),
      bytes: total(({ bytes }) => bytes),
    };
  }).sort((a, b) => b.ms - a.ms);
}

/** The shape classes of a step's products, each once. */
export const classesOf = (products: readonly StepProducts[]): ShapeClass[] => [
  ...new Set(products.map(({ shape }) => classOf(shape))),
];

/** A result that is a step's product. */
export type ProductRow = BenchRow & { readonly product: NonNullable<BenchRow["product"]> };
export const isProductRow = (row: BenchRow): row is ProductRow => row.product !== undefined;

/** The share of its class's figure that a product reaches. */
export const shareOf = ({ gflops, product }: ProductRow): number => gflops / product.classGflops;

/** `38 of 41 matrix products reach 80% of their class's figure`, and the share of their time that those take. */
export function productSummary(rows: readonly ProductRow[]): string {
  const near = rows.filter((row) => shareOf(row) >= WANTED_SHARE);
  const ms = (some: readonly ProductRow[]) => some.reduce((sum, row) => sum + row.ms, 0);
  return `${near.length} of ${rows.length} matrix products reach ${
    100 * WANTED_SHARE
  }% of their class's figure, ` +
    `with ${(100 * ms(near) / ms(rows)).toFixed(0)}% of the time of all`;
}

/** The products as cells: what, launches, milliseconds of all, GFLOP/s, class, its GFLOP/s, share. */
export const productCells = (rows: readonly ProductRow[]): string[][] =>
  rows.map((row) => [
    row.shape.join(" x ") + ` ${row.product.layout}`,
    String(row.product.launches),
    String(row.ms),
    row.gflops.toFixed(1),
    row.product.shapeClass,
    row.product.classGflops.toFixed(1),
    `${(100 * shareOf(row)).toFixed(0)}%`,
  ]);
export const PRODUCT_HEADER = ["product", "launches", "ms", "GFLOP/s", "shape class", "its GFLOP/s", "share"];

/** A step's products for a terminal. */
export const showProducts = (rows: readonly ProductRow[]): string =>
  `${productSummary(rows)}\n${textTable(productCells(rows), { header: PRODUCT_HEADER, align: "lrrrlrr" })}`;
