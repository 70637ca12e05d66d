/** From a matrix product to its launches. */
import { GpuError } from "../core/errors.ts";
import { sizeOf } from "../core/shape.ts";
import {
  type Cost,
  type Dispatch,
  type Kernel,
  LAST_STEPS,
  type LastStep,
  MAX_GROUPS,
  type Target,
} from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type MatmulVariant, pickVariant, type Product, tilesOf } from "./matmul_variants.ts";
import portableWgsl from "../../kernels/matmul.wgsl" with { type: "text" };
import subgroupWgsl from "../../kernels/matmul_subgroup.wgsl" with { type: "text" };
import tiledWgsl from "../../kernels/matmul_tiled.wgsl" with { type: "text" };

const kernels: Readonly<Record<MatmulVariant["kernel"], Kernel>> = {
  portable: { file: "kernels/matmul.wgsl", wgsl: portableWgsl },
  subgroup: { file: "kernels/matmul_subgroup.wgsl", wgsl: subgroupWgsl },
  tiled: { file: "kernels/matmul_tiled.wgsl", wgsl: tiledWgsl },
};

/** The same kernels, storing gelu of what they store beside it. */
const withGelu = (kernel: Kernel): Kernel => ({
  ...kernel,
  wgsl: kernel.wgsl.replace("@prelude matmul finish ", "@prelude matmul finish_gelu "),
});
const geluKernels: typeof kernels = {
  portable: withGelu(kernels.portable),
  subgroup: withGelu(kernels.subgroup),
  tiled: withGelu(kernels.tiled),
};

/** What happens to a sum before it is stored. */
export interface Epilogue {
  readonly scale?: number;
  readonly bias?: Tensor;
  readonly isRelu?: boolean;
  /** Taken with `other`, which is like y. */
  readonly last?: LastStep;
  readonly other?: Tensor;
}

/** The tensors of a product. */
export interface Operands {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly y: Tensor;
  /** `[M]`: also the sums of the rows of `a`, of a single matrix. */
  readonly sums?: Tensor;
  /** Like y: also its gelu, without relu or a last step. */
  readonly activated?: Tensor;
}

/** The launches of `y = activation(scale * a b + bias)`, and a last step, by the variant that should be the fastest on a device. */
export const launchProduct = (
  product: Product,
  operands: Operands,
  epilogue: Epilogue,
  target: Target,
): Dispatch[] => {
  const variant = pickVariant(product, target, { withSums: operands.sums !== undefined });
  return launchVariant(variant, product, operands, epilogue);
};

/**
 * The launches by a variant: one, or several where there are more matrices than a grid takes.
 *
 * @throws {GpuError} If a matrix has more tiles than a grid takes.
 */
export function launchVariant(
  variant: MatmulVariant,
  product: Product,
  { a, b, y, sums, activated }: Operands,
  { scale = 1, bias, isRelu = false, last, other }: Epilogue,
): Dispatch[] {
  const { M, N, K, outer, inner } = product;
  const [tilesX, tilesY] = tilesOf(product, variant);
  if (Math.max(tilesX, tilesY) > MAX_GROUPS) {
    throw new GpuError(
      `a matrix product of ${M} x ${N} x ${K} has ${Math.max(tilesX, tilesY)} tiles in a row or column, ` +
        `a grid takes ${MAX_GROUPS}`,
      { fix: "use a smaller batch" },
    );
  }
  const common = {
    kernel: (activated ? geluKernels : kernels)[variant.kernel],
    entry: sums ? `${variant.entry}AndSums` : variant.entry,
    constants: { lastStep: last ? LAST_STEPS[last] : 0 },
    bind: {
      [variant.fours.startsWith("a and b") ? "a4" : "a"]: a,
      [variant.fours === "none" ? "b" : "b4"]: b,
      bias: bias ?? a, // not read without a bias, and one pipeline serves both
      y,
      ...(activated ? {} : { other: other ?? a }),
      ...(sums ? { sums } : {}),
      ...(activated ? { activated } : {}),
    },
  };
  const sizes = {
    ...{ M, N, K, inner, hasBias: bias ? 1 : 0, isRelu: isRelu ? 1 : 0, scale },
    ...{ aOuter: product.a.outer, aInner: product.a.inner, aM: product.a.m, aK: product.a.k },
    ...{ bOuter: product.b.outer, bInner: product.b.inner, bN: product.b.n, bK: product.b.k },
    ...{ yOuter: product.y.outer, yInner: product.y.inner, yM: product.y.m },
  };
  const launches: Dispatch[] = [];
  for (let z0 = 0; z0 < outer * inner; z0 += MAX_GROUPS) {
    const tilesZ = Math.min(MAX_GROUPS, outer * inner - z0);
    launches.push({ ...common, sizes: { ...sizes, z0 }, grid: [tilesX, tilesY, tilesZ] });
  }
  return launches;
}

/** Two flops a term; each operand once. */
export const costOfProduct = ({ M, N, K, outer, inner }: Product, tensors: readonly Tensor[]): Cost => ({
  flops: 2 * M * N * K * outer * inner,
  bytes: tensors.reduce((bytes, x) => bytes + 4 * sizeOf(x.shape), 0),
});
