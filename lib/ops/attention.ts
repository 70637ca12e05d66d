/** Multi-head attention: of short sequences in one launch, else composed of its parts. */
import { ConfigError, ShapeError } from "../core/errors.ts";
import { sameShape, type Shape, showShape } from "../core/shape.ts";
import { applyNode, defineOp, type Dispatch, type Kernel } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { isTraining } from "../tensor/trace.ts";
import wgsl from "../../kernels/attention.wgsl" with { type: "text" };
import { dropout as dropoutOf } from "./dropout.ts";
import { headScores, headValues } from "./matmul.ts";
import { invocations } from "./rows.ts";
import { softmax } from "./softmax.ts";

const kernel: Kernel = { file: "kernels/attention.wgsl", wgsl };

/** Longest sequence of the fused kernels: LONGEST in the WGSL. */
const LONGEST = 32;

interface AttentionAttrs {
  readonly heads: number;
  readonly scale: number;
  readonly causal: boolean;
}

const sizesOf = (q: Shape, k: Shape, mask: Tensor | undefined, { heads, scale, causal }: AttentionAttrs) => ({
  B: q[0],
  H: heads,
  Q: q[1],
  K: k[1],
  W: q[2] / heads / 4,
  hasMask: mask ? 1 : 0,
  isCausal: causal ? 1 : 0,
  scale,
});
/** One invocation four rows of a head. */
const tiles = ({ B, H }: { B: number; H: number }, length: number) =>
  invocations(B * H * Math.ceil(length / 4));
const costOf = (q: Tensor, k: Tensor, { heads }: AttentionAttrs, products: number, tensors: number) => {
  const [B, Q, D] = q.shape, K = k.shape[1];
  return { flops: B * Q * K * (2 * products * D + 5 * heads), bytes: 4 * tensors * B * D * (Q + K) };
};

/** Inputs q, k, v, mask?. Outputs: y, and of each row of scores maximum and sum `[2, B, H, Lq]`. */
export const attentionOp = defineOp<AttentionAttrs>({
  name: "attention",
  outputs: ([q], { heads }) => [q, { shape: [2, q.shape[0], heads, q.shape[1]], dtype: "f32" }],
  dispatch: ([q, k, v, mask], [y, stats], attrs) => {
    const sizes = sizesOf(q.shape, k.shape, mask, attrs);
    const bind = { q, k, v, mask: mask ?? q, y, stats };
    return [{ kernel, entry: "forward", sizes, grid: tiles(sizes, sizes.Q), bind }];
  },
  backward: ({ inputs: [q, k, v, mask], outputs: [, stats], dy, attrs }) => {
    const inputs = mask ? [q, k, v, stats, dy, mask] : [q, k, v, stats, dy];
    return applyNode(attentionGradOp, inputs, attrs).outputs.slice(0, 3);
  },
  cost: ([q, k], _, attrs) => costOf(q, k, attrs, 2, 2),
});

/** Inputs q, k, v, stats, dy, mask?. Outputs: dq, dk, dv, and stats with delta `[3, B, H, Lq]`. */
export const attentionGradOp = defineOp<AttentionAttrs>({
  name: "attentionGrad",
  outputs: ([q, k, v], { heads }) => [q, k, v, { shape: [3, q.shape[0], heads, q.shape[1]], dtype: "f32" }],
  dispatch: ([q, k, v, statsIn, dy, mask], [dq, dk, dv, deltas], attrs) => {
    const sizes = sizesOf(q.shape, k.shape, mask, attrs);
    const shared = { q, k, v, mask: mask ?? q, dy };
    const toQ: Dispatch["bind"] = { ...shared, statsIn, dq, deltas };
    const toKV = { ...shared, statsIn: deltas, dk, dv };
    return [
      { kernel, entry: "gradientQ", sizes, grid: tiles(sizes, sizes.Q), bind: toQ },
      { kernel, entry: "gradientKV", sizes, grid: tiles(sizes, sizes.K), bind: toKV },
    ];
  },
  cost: ([q, k], _, attrs) => costOf(q, k, attrs, 5, 5),
});

/** Options of `attention`. */
export interface AttentionOptions {
  /** Divides D. */
  readonly heads: number;
  /** Default `1 / sqrt(D / heads)`. */
  readonly scale?: number;
  /** `[B, Lk]`, f32: 1 keeps, 0 adds -10000 to the scaled scores. */
  readonly mask?: Tensor;
  /** True: query i sees the keys 0 to i. */
  readonly causal?: boolean;
  /** Share of the probabilities that training drops. */
  readonly dropout?: number;
  /** False: always the composition. */
  readonly fused?: boolean;
}

/**
 * Multi-head attention: `softmax(scale * q kᵀ + mask) v` for each of `heads` slices of the last axis.
 * q `[B, Lq, D]`, k and v `[B, Lk, D]`, to `[B, Lq, D]`. Projections are the caller's.
 *
 * Source: LAVIS lavis/models/blip2_models/Qformer.py, BertSelfAttention; torch.nn.MultiheadAttention.
 *
 * @throws {ShapeError} If the shapes do not fit.
 * @throws {ConfigError} If `heads` does not divide D.
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { heads, mask, causal = false, dropout = 0, fused = true } = options;
  const [B, Lq, D] = q.shape, Lk = k.shape[1];
  const fits = (x: Tensor) =>
    x.shape.length === 3 && x.shape[0] === B && x.shape[1] === Lk && x.shape[2] === D;
  if (q.shape.length !== 3 || !fits(k) || !fits(v)) {
    const shapes = [q, k, v].map((x) => showShape(x.shape)).join(", ");
    throw new ShapeError(`attention: q, k, v are [B, Lq, D], [B, Lk, D], [B, Lk, D], got ${shapes}`);
  }
  if (mask && !sameShape(mask.shape, [B, Lk])) {
    throw new ShapeError(
      `attention: a mask for ${B} samples of ${Lk} keys is [${B}, ${Lk}], got ${showShape(mask.shape)}`,
    );
  }
  const width = D / heads;
  if (!Number.isInteger(width)) throw new ConfigError(`attention: ${heads} heads do not divide D = ${D}`);
  const { scale = 1 / Math.sqrt(width) } = options;
  const fitsKernel = Math.max(Lq, Lk) <= LONGEST && width % 4 === 0;
  if (fused && fitsKernel && !(isTraining() && dropout > 0)) {
    return applyNode(attentionOp, mask ? [q, k, v, mask] : [q, k, v], { heads, scale, causal }).outputs[0];
  }
  const p = softmax(headScores(q, k, { heads }), { scale, mask, causal });
  return headValues(dropoutOf(p, dropout), v);
}
