/** The backward kernels that the benchmark times, at the demo's shapes and at BLIP-2's. */
import { Random } from "../../lib/core/random.ts";
import { attentionGradOp, attentionOp } from "../../lib/ops/attention.ts";
import { crossEntropyGradOp, crossEntropyOp } from "../../lib/ops/cross_entropy.ts";
import { geluGradOp } from "../../lib/ops/elementwise.ts";
import { embeddingGradOp } from "../../lib/ops/gather.ts";
import { l2NormalizeGradOp } from "../../lib/ops/l2_normalize.ts";
import { layerNormGradOp, layerNormParamGradOp } from "../../lib/ops/layer_norm.ts";
import { weightGradOp } from "../../lib/ops/linear.ts";
import { softmaxGradOp } from "../../lib/ops/softmax.ts";
import { apply, applyNode } from "../../lib/tensor/op.ts";
import { constant, type Tensor } from "../../lib/tensor/tensor.ts";
import { dot, draw, type Expected, gaussCdf, type KernelCase, softmaxAt } from "./case.ts";

/** A gradient over rows of length C from two tensors of one shape: `at` sees both rows. */
function pairs(
  kernel: string,
  [R, C]: readonly [number, number],
  op: (x: Tensor, dy: Tensor) => Tensor,
  at: (x: Float32Array, dy: Float32Array, c: number, row: number) => Expected,
): KernelCase {
  const x = draw("x", [R, C]), dy = draw("dy", [R, C]);
  const rowOf = (data: Float32Array, r: number) => data.subarray(r * C, r * C + C);
  return {
    kernel,
    shape: [R, C],
    build: () => op(constant([R, C], x()), constant([R, C], dy())),
    at: (i) => {
      const r = Math.floor(i / C);
      return at(rowOf(x(), r), rowOf(dy(), r), i % C, r);
    },
  };
}

/** `dy[c] - y[c] * sum y dy`. */
const projected = (y: Float32Array, dy: Float32Array, c: number): Expected =>
  dot(y.length + 1, (k) => k < y.length ? -y[c] * y[k] * dy[k] : dy[c]);

const softmaxGrad = (R: number, C: number): KernelCase =>
  pairs(
    "softmax gradient",
    [R, C],
    (y, dy) => apply(softmaxGradOp, [y, dy], { scale: 1 }),
    (y, dy, c) => dot(C + 1, (k) => k < C ? -y[c] * y[k] * dy[k] : y[c] * dy[c]),
  );

function l2NormalizeGrad(R: number, C: number): KernelCase {
  const norms = draw("norms", [R]), normOf = () => norms().map((n) => 1 + Math.abs(n));
  return pairs(
    "l2Normalize gradient",
    [R, C],
    (y, dy) => apply(l2NormalizeGradOp, [y, constant([R], normOf()), dy], { eps: 1e-12 }),
    (y, dy, c, r) => {
      const { value, size } = projected(y, dy, c), n = normOf()[r];
      return { value: value / n, size: size / n };
    },
  );
}

const geluGrad = (R: number, C: number): KernelCase =>
  pairs("gelu gradient", [R, C], (x, dy) => apply(geluGradOp, [x, dy]), (x, dy, c) => {
    const density = Math.exp(-x[c] * x[c] / 2) / Math.sqrt(2 * Math.PI);
    return { value: dy[c] * (gaussCdf(x[c]) + x[c] * density), size: Math.abs(dy[c]) };
  });

/** Mean and 1 / standard deviation of each row of a layer norm: any numbers do. */
function statistics(R: number) {
  const mean = draw("mean", [R]), rstd = draw("rstd", [R]);
  return {
    of: (r: number) => ({ mean: mean()[r], rstd: rstd()[r] }),
    tensors: () => [constant([R], mean()), constant([R], rstd())],
  };
}

function layerNormGrad(R: number, C: number): KernelCase {
  const weight = draw("weight", [C]), stats = statistics(R);
  return pairs(
    "layerNorm gradient",
    [R, C],
    (x, dy) => apply(layerNormGradOp, [x, constant([C], weight()), ...stats.tensors(), dy]),
    (x, dy, c, r) => {
      const { mean, rstd } = stats.of(r), at = (k: number) => (x[k] - mean) * rstd;
      return dot(2 * C + 1, (k) => {
        const column = k % C, g = rstd * dy[column] * weight()[column];
        return k === 2 * C ? rstd * dy[c] * weight()[c] : k < C ? -g / C : -g * at(column) * at(c) / C;
      });
    },
  );
}

function layerNormParamGrad(R: number, C: number): KernelCase {
  const x = draw("x", [R, C]), dy = draw("dy", [R, C]), stats = statistics(R);
  return {
    kernel: "layerNorm weight gradient",
    shape: [R, C],
    build: () =>
      apply(layerNormParamGradOp, [constant([R, C], x()), ...stats.tensors(), constant([R, C], dy())]),
    at: (c) => dot(R, (r) => dy()[r * C + c] * (x()[r * C + c] - stats.of(r).mean) * stats.of(r).rstd),
  };
}

function weightGrad(R: number, M: number, N: number): KernelCase {
  const dy = draw("dy", [R, M]), x = draw("x", [R, N]);
  return {
    kernel: "linear weight and bias gradient",
    shape: [M, N, R],
    build: () => apply(weightGradOp, [constant([R, M], dy()), constant([R, N], x())], {}),
    at: (i) => {
      const m = Math.floor(i / N), n = i % N;
      return dot(R, (r) => dy()[r * M + m] * x()[r * N + n]);
    },
  };
}

function embeddingGrad(P: number, V: number, D: number): KernelCase {
  const random = new Random(1, "ids"), dy = draw("dy", [P, D]);
  const ids = Uint32Array.from({ length: P }, () => random.nextInt(V));
  return {
    kernel: "embedding gradient",
    shape: [P, V, D],
    build: () => apply(embeddingGradOp, [constant([P], ids), constant([P, D], dy())], { shape: [V, D] }),
    at: (i) => dot(P, (p) => ids[p] === Math.floor(i / D) ? dy()[p * D + i % D] : 0),
  };
}

function crossEntropyBoth(B: number, fused: boolean): KernelCase {
  const x = draw("logits", [B, B]);
  return {
    kernel: `crossEntropy and its gradient${fused ? "" : ", apart"}`,
    shape: [B, B],
    fused,
    build: () => {
      const logits = constant([B, B], x()),
        [, stats] = applyNode(crossEntropyOp, [logits], undefined).outputs;
      return apply(crossEntropyGradOp, [logits, stats, constant([], new Float32Array([1]))]);
    },
    at: (i) => {
      const r = Math.floor(i / B), c = i % B;
      const { value } = softmaxAt(x().subarray(r * B, r * B + B), c), hit = r === c ? 1 : 0;
      return { value: (value - hit) / B, size: (value + hit) / B };
    },
  };
}

/** Of self-attention: the gradient of queries, keys and values in one tensor. */
function attentionBoth(B: number, L: number, D: number, heads: number): KernelCase {
  const W = D / heads, scale = 1 / Math.sqrt(W);
  const qkv = draw("qkv", [B, L, 3 * D]), dy = draw("dy", [B, L, D]);
  return {
    kernel: "attention and its gradient",
    shape: [B, heads, L, L, W],
    build: () => {
      const source = constant([B, L, 3 * D], qkv()), attrs = { heads, scale, causal: false, isSelf: true };
      const [, stats] = applyNode(attentionOp, [source], attrs).outputs;
      return apply(attentionGradOp, [source, stats, constant([B, L, D], dy())], attrs);
    },
    at: (i) => {
      const part = Math.floor(i / D) % 3, d = i % D, head = d - d % W, own = Math.floor(i / (3 * D));
      const first = own - own % L, all = Array.from({ length: L }, (_, j) => first + j);
      const at = (row: number, part: number, w: number) => qkv()[row * 3 * D + part * D + head + w];
      const dyAt = (row: number, w: number) => dy()[row * D + head + w];
      /** A row's probabilities, and the gradients of its scores. */
      const rowOf = (row: number) => {
        const scores = all.map((j) => scale * dot(W, (w) => at(row, 0, w) * at(j, 1, w)).value);
        const p = all.map((_, j) => softmaxAt(scores, j).value);
        const dp = all.map((j) => dot(W, (w) => dyAt(row, w) * at(j, 2, w)).value);
        const mean = dot(L, (j) => p[j] * dp[j]).value;
        return { p, ds: p.map((v, j) => scale * v * (dp[j] - mean)) };
      };
      if (part === 0) {
        const { ds } = rowOf(own);
        return dot(L, (j) => ds[j] * at(all[j], 1, d - head));
      }
      const queries = all.map(rowOf), j = own - first;
      return dot(
        L,
        (q) =>
          part === 1 ? queries[q].ds[j] * at(all[q], 0, d - head) : queries[q].p[j] * dyAt(all[q], d - head),
      );
    },
  };
}

/** Shapes as in `kernelCases`. */
export const gradientCases = (): KernelCase[] => [
  softmaxGrad(4096, 32),
  softmaxGrad(2048, 768),
  layerNormGrad(16_384, 32),
  layerNormGrad(4352, 64),
  layerNormGrad(2048, 768),
  layerNormParamGrad(16_384, 32),
  layerNormParamGrad(2048, 768),
  l2NormalizeGrad(128, 64),
  l2NormalizeGrad(2048, 768),
  geluGrad(16_384, 32),
  geluGrad(2048, 3072),
  weightGrad(4352, 128, 64),
  weightGrad(2048, 768, 768),
  embeddingGrad(1280, 400, 64),
  embeddingGrad(1280, 30_523, 768),
  crossEntropyBoth(128, true),
  crossEntropyBoth(128, false),
  attentionBoth(128, 10, 64, 4),
  attentionBoth(64, 32, 768, 12),
];
