/** Multi-head attention: of short sequences in one launch, else composed of its parts. */
import { ConfigError, ShapeError } from "../core/errors.ts";
import { sameShape, showShape, type TensorSpec } from "../core/shape.ts";
import { applyNode, defineOp, type Dispatch, type Kernel } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { isTraining } from "../tensor/trace.ts";
import wgsl from "../../kernels/attention.wgsl" with { type: "text" };
import { dropout as dropoutOf } from "./dropout.ts";
import { headScores, headValues } from "./matmul.ts";
import { concat, joined } from "./movement.ts";
import { invocations } from "./rows.ts";
import { softmax } from "./softmax.ts";

const kernel: Kernel = { file: "kernels/attention.wgsl", wgsl };

/** Longest sequence of the fused kernels: LONGEST in the WGSL. */
const LONGEST = 32;

interface AttentionAttrs {
  readonly heads: number;
  readonly scale: number;
  readonly causal: boolean;
  /** True: q, k and v lie in one tensor. False: q is one, k and v are another. */
  readonly isSelf: boolean;
}

/** Inputs of an op: qkv `[B, L, 3D]`, or q `[B, Lq, D]` and kv `[B, Lk, 2D]`; then others. */
const split = (inputs: readonly Tensor[], { isSelf }: AttentionAttrs): [Tensor, Tensor, ...Tensor[]] =>
  isSelf ? [inputs[0], inputs[0], ...inputs.slice(1)] : [inputs[0], inputs[1], ...inputs.slice(2)];
/** `B, Lq, D` of an op. */
const queriesOf = ([{ shape: [B, Lq, C] }]: readonly Tensor[], { isSelf }: AttentionAttrs) =>
  [B, Lq, isSelf ? C / 3 : C] as const;
const statsOf = (inputs: readonly Tensor[], attrs: AttentionAttrs, count: number): TensorSpec => {
  const [B, Lq] = queriesOf(inputs, attrs);
  return { shape: [count, B, attrs.heads, Lq], dtype: "f32" };
};

function sizesOf(inputs: readonly Tensor[], mask: Tensor | undefined, attrs: AttentionAttrs) {
  const [q, kv] = split(inputs, attrs), { heads, scale, causal, isSelf } = attrs;
  const [B, Q, D] = queriesOf(inputs, attrs), row = D / 4, kAt = isSelf ? row : 0;
  return {
    ...{ B, H: heads, Q, K: kv.shape[1], W: row / heads },
    ...{ qRow: q.shape[2] / 4, kvRow: kv.shape[2] / 4, kAt, vAt: kAt + row },
    ...{ hasMask: mask ? 1 : 0, isCausal: causal ? 1 : 0, scale },
  };
}
/** One invocation four rows of a head. */
const tiles = ({ B, H }: { B: number; H: number }, length: number) =>
  invocations(B * H * Math.ceil(length / 4));
const costOf = (inputs: readonly Tensor[], attrs: AttentionAttrs, products: number, tensors: number) => {
  const [B, Q, D] = queriesOf(inputs, attrs), K = split(inputs, attrs)[1].shape[1];
  return { flops: B * Q * K * (2 * products * D + 5 * attrs.heads), bytes: 4 * tensors * B * D * (Q + K) };
};

/** Inputs qkv, or q and kv; mask?. Outputs: y, and of each row of scores maximum and sum `[2, B, H, Lq]`. */
export const attentionOp = defineOp<AttentionAttrs>({
  name: "attention",
  outputs: (inputs, attrs) => [
    { shape: queriesOf(inputs, attrs), dtype: "f32" },
    statsOf(inputs, attrs, 2),
  ],
  dispatch: (inputs, [y, stats], attrs) => {
    const [q, kv, mask] = split(inputs, attrs), sizes = sizesOf(inputs, mask, attrs);
    const bind = { q, kv, mask: mask ?? q, y, stats };
    return [{ kernel, entry: "forward", sizes, grid: tiles(sizes, sizes.Q), bind }];
  },
  backward: ({ inputs, outputs: [, stats], dy, attrs }) => {
    const [q, kv, ...mask] = split(inputs, attrs), sources = attrs.isSelf ? [q] : [q, kv];
    return applyNode(attentionGradOp, [...sources, stats, dy, ...mask], attrs).outputs.slice(
      0,
      sources.length,
    );
  },
  cost: (inputs, _, attrs) => costOf(inputs, attrs, 2, 2),
});

/** Inputs qkv, or q and kv; stats, dy, mask?. Outputs: their gradients, and stats with delta `[3, B, H, Lq]`. */
export const attentionGradOp = defineOp<AttentionAttrs>({
  name: "attentionGrad",
  outputs: (inputs, attrs) => [...inputs.slice(0, attrs.isSelf ? 1 : 2), statsOf(inputs, attrs, 3)],
  dispatch: (inputs, outputs, attrs) => {
    const [q, kv, statsIn, dy, mask] = split(inputs, attrs), sizes = sizesOf(inputs, mask, attrs);
    const [dq, dkv, deltas] = split(outputs, attrs), shared = { q, kv, mask: mask ?? q, dy };
    const toQ: Dispatch["bind"] = { ...shared, statsIn, dq, deltas };
    const toKV = { ...shared, statsIn: deltas, dkv };
    return [
      { kernel, entry: "gradientQ", sizes, grid: tiles(sizes, sizes.Q), bind: toQ },
      { kernel, entry: "gradientKV", sizes, grid: tiles(sizes, sizes.K), bind: toKV },
    ];
  },
  cost: (inputs, _, attrs) => costOf(inputs, attrs, 5, 5),
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

/** True where `attention` is one launch, which reads its inputs from slices of one tensor without copying them. */
export const isOneLaunch = (
  { Lq, Lk, D }: { readonly Lq: number; readonly Lk: number; readonly D: number },
  { heads, dropout = 0 }: Pick<AttentionOptions, "heads" | "dropout">,
): boolean => Math.max(Lq, Lk) <= LONGEST && D % (4 * heads) === 0 && !(isTraining() && dropout > 0);

/** What the fused kernels read: the tensor of which q, k and v are the parts, or q and the tensor of k and v. */
function sourcesOf(q: Tensor, k: Tensor, v: Tensor): Tensor[] {
  const all = joined([q, k, v], 2);
  return all ? [all] : [q, concat([k, v], 2)];
}

/**
 * Multi-head attention: `softmax(scale * q kᵀ + mask) v` for each of `heads` slices of the last axis.
 * q `[B, Lq, D]`, k and v `[B, Lk, D]`, to `[B, Lq, D]`. Projections are the caller's; the fused kernels read k and v, or
 * all three, from the one tensor of which they are slices, without a copy.
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
  if (fused && isOneLaunch({ Lq, Lk, D }, options)) {
    const sources = sourcesOf(q, k, v), attrs = { heads, scale, causal, isSelf: sources.length === 1 };
    return applyNode(attentionOp, mask ? [...sources, mask] : sources, attrs).outputs[0];
  }
  const p = softmax(headScores(q, k, { heads }), { scale, mask, causal });
  return headValues(dropoutOf(p, dropout), v);
}
