/** Which kernel runs a matrix product: checked-in figures and arithmetic, never timing at run time. */
import { createHash } from "node:crypto";
import type { Target } from "../tensor/op.ts";

/**
 * A batch of matrix products `y[z] = a[z] b[z]`, `z = (outer, inner)`: sizes and strides, in elements.
 * `y` has no gaps along N.
 */
export interface Product {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly outer: number;
  readonly inner: number;
  readonly a: { readonly outer: number; readonly inner: number; readonly m: number; readonly k: number };
  readonly b: { readonly outer: number; readonly inner: number; readonly n: number; readonly k: number };
  readonly y: { readonly outer: number; readonly inner: number; readonly m: number };
}

/** An entry point and what it costs. */
export interface MatmulVariant {
  /** `matmul.wgsl`, `matmul_subgroup.wgsl` or `matmul_tiled.wgsl`. */
  readonly kernel: "portable" | "subgroup" | "tiled";
  readonly entry: string;
  /** Rows and columns of a tile, one a workgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Which operands are read four elements at a time. */
  readonly fours: "none" | "b along N" | "a and b along K";
  /** True if there is an entry `...AndSums`, which also sums the rows of a. */
  readonly hasSums: boolean;
  /** Nanoseconds of a tile beside its steps along K. */
  readonly tileNs: number;
  /** Nanoseconds of a step along K. */
  readonly stepNs: number;
  /** The same where both operands lie along K and their rows no longer share a first-level cache: `LONG_K`. */
  readonly longStepNs: number;
}

/** llvmpipe (Mesa 25.0.7, AVX-512, 256-bit vectors), one core of an EPYC 9004, at 2176 x 64 x {64, 128}, 256 x 768 x 768,
 * 64 x 64 x 2176 and attention products of 4 to 17 rows. */
const PORTABLE: MatmulVariant = {
  kernel: "portable",
  entry: "tile",
  rows: 8,
  columns: 64,
  fours: "none",
  hasSums: true,
  tileNs: 500,
  stepNs: 115,
  longStepNs: 140,
};
const subgroup = { kernel: "subgroup" } as const;
const SUBGROUP: readonly MatmulVariant[] = [
  {
    ...subgroup,
    entry: "tileRows",
    rows: 32,
    columns: 32,
    fours: "b along N",
    hasSums: true,
    tileNs: 1900,
    stepNs: 82,
    longStepNs: 82,
  },
  {
    ...subgroup,
    entry: "tile",
    rows: 32,
    columns: 32,
    fours: "none",
    hasSums: true,
    tileNs: 1750,
    stepNs: 88,
    longStepNs: 115,
  },
  {
    ...subgroup,
    entry: "tileInner",
    rows: 16,
    columns: 32,
    fours: "a and b along K",
    hasSums: false,
    tileNs: 800,
    stepNs: 58,
    longStepNs: 54,
  },
  {
    ...subgroup,
    entry: "smallRows",
    rows: 8,
    columns: 32,
    fours: "b along N",
    hasSums: false,
    tileNs: 330,
    stepNs: 37,
    longStepNs: 37,
  },
  {
    ...subgroup,
    entry: "small",
    rows: 8,
    columns: 16,
    fours: "none",
    hasSums: false,
    tileNs: 270,
    stepNs: 25,
    longStepNs: 32,
  },
  {
    ...subgroup,
    entry: "smallInner",
    rows: 8,
    columns: 16,
    fours: "a and b along K",
    hasSums: false,
    tileNs: 340,
    stepNs: 16,
    longStepNs: 16,
  },
];

/** For GPUs. Not tuned: no hardware GPU was at hand; sizes and threshold are the usual ones. */
const TILED = { kernel: "tiled", fours: "none", hasSums: true, tileNs: 0, stepNs: 0, longStepNs: 0 } as const;
const TILE_64: MatmulVariant = { ...TILED, entry: "tile64", rows: 64, columns: 64 };
const TILE_32: MatmulVariant = { ...TILED, entry: "tile32", rows: 32, columns: 32 };
/** Large tiles below which small ones keep more of a GPU busy. */
const MANY_TILES = 128;

/** Above this, 64 rows of K elements fill a first-level cache of 32 KiB. */
const LONG_K = 128;

/** Tiles of a product. */
export const tilesOf = ({ M, N }: Product, { rows, columns }: MatmulVariant): [number, number] => [
  Math.ceil(N / columns),
  Math.ceil(M / rows),
];

/** The variant with the least work on this target; among equals the first of the table. Same shape, same variant. */
export function pickVariant(
  product: Product,
  { deviceClass, subgroupLanes }: Target,
  { withSums = false }: { readonly withSums?: boolean } = {},
): MatmulVariant {
  if (deviceClass === "gpu") {
    const [x, y] = tilesOf(product, TILE_64);
    return x * y * product.outer * product.inner >= MANY_TILES ? TILE_64 : TILE_32;
  }
  if (subgroupLanes < 8) return PORTABLE;
  const isLong = product.K > LONG_K && product.a.k === 1 && product.b.k === 1;
  const work = (v: MatmulVariant): number => {
    const [x, y] = tilesOf(product, v);
    return x * y * (v.tileNs + product.K * (isLong ? v.longStepNs : v.stepNs));
  };
  return SUBGROUP.filter((v) => fits(product, v) && (v.hasSums || !withSums)).reduce((best, v) =>
    work(v) < work(best) ? v : best
  );
}

/** True where every vec4 that the variant reads starts at a multiple of four elements. */
function fits({ N, K, a, b }: Product, { fours }: MatmulVariant): boolean {
  const divides = (...n: number[]) => n.every((v) => v % 4 === 0);
  switch (fours) {
    case "none":
      return true;
    case "b along N":
      return b.n === 1 && divides(N, b.k, b.inner, b.outer);
    case "a and b along K":
      return a.k === 1 && b.k === 1 && divides(K, a.m, a.inner, a.outer, b.n, b.inner, b.outer);
  }
}

/** Names the table: 16 hex digits of a hash of all that decides which kernel runs a product. */
export const variantTableId = (): string =>
  createHash("sha256").update(JSON.stringify([PORTABLE, SUBGROUP, TILE_64, TILE_32, MANY_TILES, LONG_K]))
    .digest("hex").slice(0, 16);
