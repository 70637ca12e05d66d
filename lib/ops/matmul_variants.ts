/** Which kernel runs a matrix product: a checked-in table of times and arithmetic, never timing at run time. */
import { MAX_GROUPS, type Target } from "../tensor/op.ts";
import checkedIn from "./matmul_table.json" with { type: "json" };

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

/** An entry point. All of them sum in the order of K: the same bits. */
export interface MatmulVariant {
  /** `matmul.wgsl`, `matmul_subgroup.wgsl` or `matmul_tiled.wgsl`. */
  readonly kernel: "portable" | "subgroup" | "tiled";
  readonly entry: string;
  /** Rows and columns of a tile, one a workgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Which operands are read four elements at a time. */
  readonly fours: "none" | "b along N" | "a and b along K" | "a and b as they lie";
  /** True if there is an entry `...AndSums`, which also sums the rows of a. */
  readonly hasSums: boolean;
}

const variant = (
  kernel: MatmulVariant["kernel"],
  entry: string,
  [rows, columns]: readonly [number, number],
  fours: MatmulVariant["fours"],
  hasSums: boolean,
): MatmulVariant => ({ kernel, entry, rows, columns, fours, hasSums });

/** All there are. Where two are equally fast, the first is taken. */
export const matmulVariants: readonly MatmulVariant[] = [
  variant("subgroup", "tileRows", [32, 32], "b along N", true),
  variant("subgroup", "tile", [32, 32], "none", true),
  variant("subgroup", "tileInner", [16, 32], "a and b along K", false),
  variant("subgroup", "smallRows", [8, 32], "b along N", false),
  variant("subgroup", "small", [8, 16], "none", false),
  variant("subgroup", "smallInner", [8, 16], "a and b along K", false),
  variant("tiled", "tile64Fours", [64, 64], "a and b as they lie", true),
  variant("tiled", "tile64", [64, 64], "none", true),
  variant("tiled", "tile32", [32, 32], "none", true),
  variant("portable", "tile", [8, 64], "none", true),
];

/** `subgroup.tileRows`. */
export const variantName = ({ kernel, entry }: MatmulVariant): string => `${kernel}.${entry}`;

/** How the operands lie: the first letter is T where `a` has its gaps along K, the second where `b` has none there. */
export type Layout = "NN" | "NT" | "TN" | "TT";
export const layoutOf = ({ a, b }: Pick<Product, "a" | "b">): Layout =>
  `${a.k === 1 ? "N" : "T"}${b.k === 1 ? "T" : "N"}`;

/** What was measured of one variant. */
export interface VariantTimes {
  /** So many tiles take about as long as one: they run side by side. */
  readonly atOnce: number;
  /** Nanoseconds of a tile, in a product of many, at each of the table's `terms`. */
  readonly tileNs: Readonly<Partial<Record<Layout, readonly number[]>>>;
}

/** The measurements of one class of devices. */
export interface DeviceTimes {
  /** Where they were made. */
  readonly adapter: string;
  /** The K at which tiles were timed, ascending. */
  readonly terms: readonly number[];
  /** By `variantName`; a variant that is absent is not used. */
  readonly variants: Readonly<Record<string, VariantTimes>>;
}

/** `deno task bench --tune` measures it anew, for the class of the device that it runs on. */
export type MatmulTable = Readonly<Record<Target["deviceClass"], DeviceTimes>>;

/** The table in `matmul_table.json`. */
export const matmulTable: MatmulTable = checkedIn;

/** Tiles of a product along N and along M. */
export const tilesOf = ({ M, N }: Pick<Product, "M" | "N">, { rows, columns }: MatmulVariant) =>
  [Math.ceil(N / columns), Math.ceil(M / rows)] as const;

/** Nanoseconds at K terms: straight lines between the measured points, and on behind the last. */
function timeAt(K: number, terms: readonly number[], times: readonly number[]): number {
  const next = terms.findIndex((term, i) => i > 0 && term >= K), i = next < 0 ? terms.length - 1 : next;
  const slope = (times[i] - times[i - 1]) / (terms[i] - terms[i - 1]);
  return times[i] + slope * (K - terms[i]);
}

/**
 * What a variant is expected to take for a product, in nanoseconds; infinity where the table does not have it, or a grid
 * has no room for its tiles.
 */
export function expectedNs(product: Product, v: MatmulVariant, { terms, variants }: DeviceTimes): number {
  const times = variants[variantName(v)], tileNs = times?.tileNs[layoutOf(product)];
  if (!tileNs) return Infinity;
  const [x, y] = tilesOf(product, v), tiles = x * y * product.outer * product.inner;
  if (Math.max(x, y) > MAX_GROUPS) return Infinity;
  return Math.ceil(tiles / times.atOnce) * times.atOnce * timeAt(product.K, terms, tileNs);
}

/** The variants that a device runs and that may read the product's operands; `withSums`, those that also sum rows. */
export const variantsFor = (
  product: Product,
  { subgroupLanes }: Target,
  { withSums = false }: { readonly withSums?: boolean } = {},
): MatmulVariant[] =>
  matmulVariants.filter((v) =>
    (v.kernel !== "subgroup" || subgroupLanes >= 8) && (v.hasSums || !withSums) && fits(product, v)
  );

/** The variant with the least time on this target, by the table. Same shape, same variant. */
export function pickVariant(
  product: Product,
  target: Target,
  { table = matmulTable, ...needs }: { readonly table?: MatmulTable; readonly withSums?: boolean } = {},
): MatmulVariant {
  const times = table[target.deviceClass], ns = (v: MatmulVariant) => expectedNs(product, v, times);
  return variantsFor(product, target, needs).reduce((best, v) => ns(v) < ns(best) ? v : best);
}

/** True where every vec4 that the variant reads starts at a multiple of four elements. */
function fits({ M, N, K, a, b }: Product, { fours }: MatmulVariant): boolean {
  const divides = (...n: number[]) => n.every((v) => v % 4 === 0);
  switch (fours) {
    case "none":
      return true;
    case "b along N":
      return b.n === 1 && divides(N, b.k, b.inner, b.outer);
    case "a and b along K":
      return a.k === 1 && b.k === 1 && divides(K, a.m, a.inner, a.outer, b.n, b.inner, b.outer);
    case "a and b as they lie":
      return (a.k === 1 ? divides(K, a.m) : a.m === 1 && divides(M, a.k)) &&
        (b.k === 1 ? divides(K, b.n) : b.n === 1 && divides(N, b.k)) &&
        divides(a.inner, a.outer, b.inner, b.outer);
  }
}
