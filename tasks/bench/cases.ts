/** The kernels that the benchmark times, at which shapes, and each result's elements in f64. */
import { philox, Random } from "../../lib/core/random.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import { attention } from "../../lib/ops/attention.ts";
import { crossEntropy } from "../../lib/ops/cross_entropy.ts";
import { dropout } from "../../lib/ops/dropout.ts";
import { add, gelu } from "../../lib/ops/elementwise.ts";
import { embedding } from "../../lib/ops/gather.ts";
import { l2Normalize } from "../../lib/ops/l2_normalize.ts";
import { type ShapeClass, shapeClasses } from "../../lib/ops/matmul_classes.ts";
import { layerNorm } from "../../lib/ops/layer_norm.ts";
import { linear } from "../../lib/ops/linear.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { concat, permute, slice } from "../../lib/ops/movement.ts";
import { sum } from "../../lib/ops/reduce.ts";
import { softmax } from "../../lib/ops/softmax.ts";
import { constant } from "../../lib/tensor/tensor.ts";
import { dot, draw, gaussCdf, type KernelCase, norm, rows, softmaxAt, term } from "./case.ts";
import { gradientCases } from "./gradients.ts";

const STORED = { NN: "", TN: ", a transposed", NT: ", b transposed", TT: ", both transposed" };

/** A product of a shape class. */
export function productCase({ count, M, N, K, layout }: ShapeClass): KernelCase {
  const transposeA = layout[0] === "T", transposeB = layout[1] === "T";
  const batch = count > 1 ? [count] : [];
  const aShape = [...batch, ...(transposeA ? [K, M] : [M, K])];
  const bShape = [...batch, ...(transposeB ? [N, K] : [K, N])];
  const a = draw("a", aShape), b = draw("b", bShape);
  return {
    kernel: `matmul${STORED[layout]}`,
    shape: [...batch, M, N, K],
    build: () => matmul(constant(aShape, a()), constant(bShape, b()), { transposeA, transposeB }),
    at: (i) => {
      const n = i % N, m = Math.floor(i / N) % M, z = Math.floor(i / (M * N));
      return dot(
        K,
        (k) =>
          a()[z * M * K + (transposeA ? k * M + m : m * K + k)] *
          b()[z * K * N + (transposeB ? n * K + k : k * N + n)],
      );
    },
  };
}

function linearCase(M: number, N: number, K: number): KernelCase {
  const x = draw("x", [M, K]), weight = draw("weight", [N, K]), bias = draw("bias", [N]);
  return {
    kernel: "linear",
    shape: [M, N, K],
    build: () => linear(constant([M, K], x()), constant([N, K], weight()), constant([N], bias())),
    at: (i) => {
      const n = i % N, m = Math.floor(i / N);
      return dot(K + 1, (k) => k < K ? x()[m * K + k] * weight()[n * K + k] : bias()[n]);
    },
  };
}

function layerNormCase(R: number, C: number): KernelCase {
  const weight = draw("weight", [C]), bias = draw("bias", [C]);
  return rows(
    "layerNorm",
    [R, C],
    (x) => layerNorm(x, constant([C], weight()), constant([C], bias()), 1e-5),
    (row, c) => {
      const mean = dot(C, (k) => row[k] / C).value;
      const rstd = 1 / Math.sqrt(dot(C, (k) => (row[k] - mean) ** 2 / C).value + 1e-5);
      return dot(2, (k) => k === 0 ? (row[c] - mean) * rstd * weight()[c] : bias()[c]);
    },
  );
}

const geluCase = (R: number, C: number): KernelCase =>
  rows("gelu", [R, C], gelu, (row, c) => ({ value: row[c] * gaussCdf(row[c]), size: Math.abs(row[c]) }));

function attentionCase(B: number, L: number, D: number, heads: number): KernelCase {
  const shape = [B, L, D], [q, k, v] = ["q", "k", "v"].map((name) => draw(name, shape)), W = D / heads;
  return {
    kernel: "attention",
    shape: [B, heads, L, L, W],
    build: () => {
      // As one projection gives them: row by row side by side.
      const rows = Array.from(
        { length: B * L },
        (_, r) => [q, k, v].map((x) => x().subarray(r * D, (r + 1) * D)),
      );
      const packed = new Float32Array(3 * B * L * D);
      rows.flat().forEach((part, i) => packed.set(part, i * D));
      const all = constant([B, L, 3 * D], packed);
      const part = (i: number) => slice(all, -1, i * D, (i + 1) * D);
      return attention(part(0), part(1), part(2), { heads });
    },
    at: (i) => {
      const d = i % D, first = i - i % (L * D), head = d - d % W, row = Math.floor(i / D) * D + head;
      const scores = Array.from(
        { length: L },
        (_, j) => dot(W, (w) => q()[row + w] * k()[first + j * D + head + w]).value / Math.sqrt(W),
      );
      return dot(L, (j) => softmaxAt(scores, j).value * v()[first + j * D + d]);
    },
  };
}

function addCase(shape: readonly number[], kernel: string, other: readonly number[]): KernelCase {
  const a = draw("a", shape), b = draw("b", other);
  return {
    kernel,
    shape,
    build: () => add(constant(shape, a()), constant(other, b())),
    at: (i) => dot(2, (k) => k === 0 ? a()[i] : b()[i % sizeOf(other)]),
  };
}

/** The first random numbers of a plan: site 0, step 0, seed 0. */
function dropoutCase(shape: readonly number[], p: number, fused: boolean): KernelCase {
  const x = draw("x", shape), residual = draw("residual", shape);
  return {
    kernel: `dropout, residual${fused ? "" : ", apart"}`,
    shape,
    fused,
    build: () => add(dropout(constant(shape, x()), p), constant(shape, residual())),
    at: (i) => {
      const isKept = philox([Math.floor(i / 4), 0, 0, 0], [0, 1])[i % 4] >= p * 2 ** 32;
      return dot(2, (k) => k === 1 ? residual()[i] : isKept ? x()[i] / (1 - p) : 0);
    },
  };
}

function embeddingCase(N: number, V: number, D: number): KernelCase {
  const random = new Random(1, "ids"), weight = draw("weight", [V, D]);
  const ids = Uint32Array.from({ length: N }, () => random.nextInt(V));
  return {
    kernel: "embedding",
    shape: [N, V, D],
    build: () => embedding(constant([N], ids), constant([V, D], weight())),
    at: (i) => term(weight()[ids[Math.floor(i / D)] * D + i % D]),
  };
}

function columnSums(R: number, C: number): KernelCase {
  const x = draw("x", [R, C]);
  return {
    kernel: "sum of rows",
    shape: [R, C],
    build: () => sum(constant([R, C], x()), { axis: 0 }),
    at: (c) => dot(R, (r) => x()[r * C + c]),
  };
}

function permuteCase(B: number, L: number, H: number, W: number): KernelCase {
  const shape = [B, L, H, W], x = draw("x", shape);
  return {
    kernel: "permute",
    shape,
    build: () => permute(constant(shape, x()), [0, 2, 1, 3]),
    at: (i) => {
      const w = i % W, l = Math.floor(i / W) % L, h = Math.floor(i / (W * L)) % H;
      return term(x()[((Math.floor(i / (W * L * H)) * L + l) * H + h) * W + w]);
    },
  };
}

function concatCase(B: number, L: number, D: number): KernelCase {
  const a = draw("a", [B, 1, D]), b = draw("b", [B, L, D]);
  return {
    kernel: "concat",
    shape: [B, L + 1, D],
    build: () => concat([constant([B, 1, D], a()), constant([B, L, D], b())], 1),
    at: (i) => {
      const d = i % D, l = Math.floor(i / D) % (L + 1), s = Math.floor(i / (D * (L + 1)));
      return term(l === 0 ? a()[s * D + d] : b()[(s * L + l - 1) * D + d]);
    },
  };
}

function crossEntropyCase(B: number): KernelCase {
  const x = draw("logits", [B, B]);
  return {
    kernel: "crossEntropy",
    shape: [B, B],
    build: () => crossEntropy(constant([B, B], x())),
    at: () => dot(B, (r) => -Math.log(softmaxAt(x().subarray(r * B, r * B + B), r).value) / B),
  };
}

/** All cases: the demo's shapes (batch 128, width 64), BLIP-2's (width 768), edges of tiles. */
export const kernelCases = (): KernelCase[] => [
  ...shapeClasses.map(productCase),
  linearCase(2048, 3072, 768),
  linearCase(4352, 64, 64),
  attentionCase(128, 17, 64, 4),
  attentionCase(64, 32, 768, 12),
  rows("softmax", [4096, 32], softmax, softmaxAt),
  rows("softmax", [2048, 768], softmax, softmaxAt),
  layerNormCase(16_384, 32),
  layerNormCase(4352, 64),
  layerNormCase(2048, 768),
  rows("l2Normalize", [128, 64], l2Normalize, (row, c) => term(row[c] / norm(row))),
  rows("l2Normalize", [2048, 768], l2Normalize, (row, c) => term(row[c] / norm(row))),
  geluCase(16_384, 32),
  geluCase(2048, 3072),
  addCase([2048, 768], "add", [2048, 768]),
  addCase([2048, 768], "add, row broadcast", [768]),
  dropoutCase([2048, 768], 0.1, true),
  dropoutCase([2048, 768], 0.1, false),
  columnSums(2048, 768),
  columnSums(4352, 64),
  permuteCase(1024, 4, 2, 64),
  concatCase(256, 16, 64),
  embeddingCase(1280, 400, 64),
  embeddingCase(1280, 30_523, 768),
  crossEntropyCase(128),
  ...gradientCases(),
];
