/** Values of the f64 reference, and loops over them. */
import { broadcastShapes, type Shape, sizeOf, stridesOf } from "../../lib/core/shape.ts";

/** Numbers of a tensor: f64, or as they came: parameters f32, ids u32. */
export type Numbers = Float64Array | Float32Array | Uint32Array | Int32Array;

/** A value: row major. */
export interface Value {
  readonly shape: Shape;
  readonly data: Numbers;
}

/** Where the elements of a value lie: offset and strides over some axes. */
interface Walk {
  readonly offset: number;
  readonly strides: readonly number[];
}

/** Calls `visit` with the places that two walks over `shape` come to, row major. */
export function walk2(shape: Shape, a: Walk, b: Walk, visit: (a: number, b: number) => void): void {
  const index = shape.map(() => 0), n = sizeOf(shape);
  let i = a.offset, j = b.offset;
  for (let count = 0; count < n; count++) {
    visit(i, j);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      i += a.strides[axis];
      j += b.strides[axis];
      if (++index[axis] < shape[axis]) break;
      i -= a.strides[axis] * shape[axis];
      j -= b.strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

const whole = (shape: Shape): Walk => ({ offset: 0, strides: stridesOf(shape) });

/** Strides that repeat the axes that `x` lacks or has once. */
const broadcastStrides = (x: Shape, shape: Shape): number[] => {
  const own = stridesOf(x), skip = shape.length - x.length;
  return shape.map((_, i) => i < skip || x[i - skip] === 1 ? 0 : own[i - skip]);
};

/** `x` repeated to `shape`. */
export function broadcastTo(x: Value, shape: Shape): Float64Array {
  const y = new Float64Array(sizeOf(shape));
  walk2(shape, { offset: 0, strides: broadcastStrides(x.shape, shape) }, whole(shape), (i, j) => {
    y[j] = x.data[i];
  });
  return y;
}

/** `map` over the elements of values that broadcast. */
export function mapElements(inputs: readonly Value[], map: (...elements: number[]) => number): Value {
  const shape = inputs.reduce((s: Shape, x) => broadcastShapes(s, x.shape), []);
  const [a, b = a, c = a] = inputs.map((x) =>
    sizeOf(x.shape) === sizeOf(shape) ? x.data : broadcastTo(x, shape)
  );
  const data = new Float64Array(sizeOf(shape));
  for (let i = 0; i < data.length; i++) data[i] = map(a[i], b[i], c[i]);
  return { shape, data };
}

/** Copies a part of `x`, the block of `shape` at `from` with its strides, into a new value at `to`. */
export function copied(x: Value, shape: Shape, from: Walk, y: Value, to: Walk): Value {
  walk2(shape, from, to, (i, j) => {
    y.data[j] = x.data[i];
  });
  return y;
}

/** Zeros. */
export const zerosOf = (shape: Shape): Value => ({ shape, data: new Float64Array(sizeOf(shape)) });

/** Where a part of a value that starts at `start` of an axis lies. */
export const partOf = (shape: Shape, axis: number, start: number): Walk => {
  const strides = stridesOf(shape);
  return { offset: start * strides[axis], strides };
};

/** A matrix stored somewhere: rows `m`, columns `k`. */
export interface Matrix {
  readonly data: Numbers;
  readonly offset: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

/** The rows of a matrix, one after another, as f64. */
function packed(
  { data, offset, rowStride, columnStride }: Matrix,
  rows: number,
  columns: number,
): Float64Array {
  const y = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) y[r * columns + c] = data[offset + r * rowStride + c * columnStride];
  }
  return y;
}

/** `scale * a bᵀ`, a `[M, K]` and b `[N, K]`, into `y` at `offset` with rows `rowStride` apart. */
export function addProduct(
  [M, N, K]: readonly [number, number, number],
  a: Matrix,
  b: Matrix,
  y: { readonly data: Float64Array; readonly offset: number; readonly rowStride: number },
  scale = 1,
): void {
  const A = packed(a, M, K), B = packed(b, N, K);
  for (let n = 0; n < N; n++) {
    const bn = n * K;
    let m = 0;
    for (; m + 4 <= M; m += 4) { // four sums side by side: four times as fast
      const m0 = m * K, m1 = m0 + K, m2 = m1 + K, m3 = m2 + K;
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
      for (let k = 0; k < K; k++) {
        const v = B[bn + k];
        s0 += A[m0 + k] * v;
        s1 += A[m1 + k] * v;
        s2 += A[m2 + k] * v;
        s3 += A[m3 + k] * v;
      }
      const at = y.offset + m * y.rowStride + n;
      y.data[at] = scale * s0;
      y.data[at + y.rowStride] = scale * s1;
      y.data[at + 2 * y.rowStride] = scale * s2;
      y.data[at + 3 * y.rowStride] = scale * s3;
    }
    for (; m < M; m++) {
      let s = 0;
      for (let k = 0; k < K; k++) s += A[m * K + k] * B[bn + k];
      y.data[y.offset + m * y.rowStride + n] = scale * s;
    }
  }
}

/** Complementary error function to about 1e-15: Taylor series below 2.5, continued fraction above. */
export function erfc(t: number): number {
  if (t < 0) return 2 - erfc(-t);
  if (t < 2.5) {
    let sum = t, power = t;
    for (let k = 1; k < 100 && Math.abs(power) > 1e-18; k++) sum += (power *= -t * t / k) / (2 * k + 1);
    return 1 - 2 / Math.sqrt(Math.PI) * sum;
  }
  let f = t;
  for (let k = 60; k > 0; k--) f = t + k / 2 / f;
  return Math.exp(-t * t) / Math.sqrt(Math.PI) / f;
}
