/** What a case of the benchmark is: a kernel at a shape, and each result's elements in f64. */
import { Random } from "../../lib/core/random.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import { constant, type Tensor } from "../../lib/tensor/tensor.ts";

/** An element of the result in f64, and the sum of the absolute values that it is made of. */
export interface Expected {
  readonly value: number;
  readonly size: number;
}

/** A kernel at a shape. */
export interface KernelCase {
  readonly kernel: string;
  /** Of a product: matrices where there are several, M, N, K. Else the input's. */
  readonly shape: readonly number[];
  /** Its values are constants: inputs would be uploaded at each run. */
  build(): Tensor;
  /** False: its launches as the graph says, beside the case whose plan joins them. */
  readonly fused?: boolean;
  /** Element `i` of the result. */
  at(i: number): Expected;
}

/** Normal numbers, drawn when they are first needed. */
export function draw(name: string, shape: readonly number[]): () => Float32Array<ArrayBuffer> {
  let data: Float32Array<ArrayBuffer> | undefined;
  return () => data ??= new Random(1, name).normal(sizeOf(shape));
}
/** A value that is one term. */
export const term = (value: number): Expected => ({ value, size: Math.abs(value) });

/** Sum of `n` products. */
export function dot(n: number, product: (k: number) => number): Expected {
  let value = 0, size = 0;
  for (let k = 0; k < n; k++) {
    const p = product(k);
    value += p;
    size += Math.abs(p);
  }
  return { value, size };
}

/** An op over rows of length C: `at` sees the row and the column. */
export function rows(
  kernel: string,
  shape: readonly number[],
  op: (x: Tensor) => Tensor,
  at: (row: Float32Array, c: number) => Expected,
): KernelCase {
  const x = draw(kernel, shape), C = shape.at(-1) ?? 1;
  return {
    kernel,
    shape,
    build: () => op(constant(shape, x())),
    at: (i) => at(x().subarray(i - i % C, i - i % C + C), i % C),
  };
}

/** The Euclidean norm. */
export const norm = (row: Float32Array): number => Math.sqrt(dot(row.length, (k) => row[k] ** 2).value);
/** An element of the softmax of a row. */
export function softmaxAt(row: ArrayLike<number>, c: number): Expected {
  const e = Array.from(row, (v) => Math.exp(v));
  return term(e[c] / e.reduce((a, b) => a + b));
}
/** Phi by its series: exact to f64 for |x| below 6, which normal numbers are. */
export function gaussCdf(x: number): number {
  let sum = x, next = x;
  for (let n = 1; n < 200; n++) sum += next *= x * x / (2 * n + 1);
  return 0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
}
