/** Classes of matrix products by shape: what kernels are timed with, and which kernel each takes on a device. */
import { createHash } from "node:crypto";
import type { Target } from "../tensor/op.ts";
import { type Layout, matmulTable, pickVariant, type Product, variantName } from "./matmul_variants.ts";

/** A shape that stands for those near it. */
export interface ShapeClass {
  /** Matrices. */
  readonly count: number;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly layout: Layout;
}

const shapes = (count: number, M: number, N: number, K: number, ...layouts: Layout[]): ShapeClass[] =>
  layouts.map((layout) => ({ count, M, N, K, layout }));

/** BLIP-2's width 768, the demo's width 64 at batch 128, edges of tiles, and products of single rows. */
export const shapeClasses: readonly ShapeClass[] = [
  ...shapes(1, 2048, 768, 768, "NN", "NT", "TN", "TT"),
  ...shapes(1, 2047, 767, 769, "NN"),
  ...shapes(8, 256, 768, 768, "NN"),
  ...shapes(64, 32, 32, 768, "NT", "NN"),
  ...shapes(1, 4352, 64, 64, "NN", "NT"),
  ...shapes(1, 1280, 64, 64, "NN", "NT"),
  ...shapes(1, 128, 64, 64, "NN", "NT", "TN"),
  ...shapes(1, 4, 64, 64, "NN", "NT"),
  ...shapes(1, 64, 64, 4, "TN"),
  ...shapes(1, 128, 128, 1280, "TN"),
  ...shapes(1, 64, 64, 2176, "TN"),
  ...shapes(1, 256, 64, 1024, "NT"),
  ...shapes(128, 1, 10, 64, "NT"),
  ...shapes(128, 1, 4, 64, "NT"),
  ...shapes(128, 1, 64, 10, "NN"),
  ...shapes(128, 10, 64, 1, "TN"),
];

/** `64 x 32 x 32 x 768 NT`: matrices where there are several, M, N, K, layout. */
export const className = ({ count, M, N, K, layout }: ShapeClass): string =>
  [...(count > 1 ? [count] : []), M, N, K].join(" x ") + ` ${layout}`;

/** A class as a product whose matrices lie without gaps. */
export function productOf({ count, M, N, K, layout }: ShapeClass): Product {
  return {
    ...{ M, N, K, outer: count, inner: 1 },
    a: { outer: M * K, inner: 0, ...(layout[0] === "T" ? { m: 1, k: M } : { m: K, k: 1 }) },
    b: { outer: K * N, inner: 0, ...(layout[1] === "T" ? { n: K, k: 1 } : { n: 1, k: N }) },
    y: { outer: M * N, inner: 0, m: N },
  };
}

/** The class that stands for a shape: of those with its layout, where there are such, the one nearest in proportion. */
export function classOf(shape: ShapeClass): ShapeClass {
  const alike = shapeClasses.filter(({ layout }) => layout === shape.layout);
  const away = (c: ShapeClass) =>
    (["count", "M", "N", "K"] as const).reduce((sum, n) => sum + Math.abs(Math.log(c[n] / shape[n])), 0);
  return alike.reduce((best, c) => away(c) < away(best) ? c : best);
}

/** Which kernel runs which matrix product on a device, for `run.json`. It changes speed alone: all give the same bits. */
export interface KernelVariants {
  readonly deviceClass: Target["deviceClass"];
  readonly subgroupLanes: number;
  /** 16 hex digits of a hash of the device class's whole table. */
  readonly table: string;
  /** The kernel of each shape class. */
  readonly matmul: Readonly<Record<string, string>>;
}

/** The variants of a device. */
export function kernelVariants({ deviceClass, subgroupLanes }: Target): KernelVariants {
  const target = { deviceClass, subgroupLanes };
  const text = JSON.stringify(matmulTable[deviceClass]);
  return {
    ...target,
    table: createHash("sha256").update(text).digest("hex").slice(0, 16),
    matmul: Object.fromEntries(
      shapeClasses.map((c) => [className(c), variantName(pickVariant(productOf(c), target))]),
    ),
  };
}
