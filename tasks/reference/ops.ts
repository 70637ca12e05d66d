/** The formula of each op that a forward pass takes, in f64: naive loops, none of the kernels' tricks. */
import { philox } from "../../lib/core/random.ts";
import { rowsCols, type Shape, sizeOf, stridesOf } from "../../lib/core/shape.ts";
import {
  addProduct,
  broadcastTo,
  copied,
  erfc,
  mapElements,
  type Matrix,
  partOf,
  type Value,
  walk2,
  zerosOf,
} from "./values.ts";

/** What random numbers are functions of. */
export interface Draw {
  readonly seed: number;
  readonly step: number;
}

/** A node's attributes, read by name. */
export type Attrs = Readonly<Record<string, unknown>>;

/** The op's first output. */
export type Formula = (inputs: readonly Value[], attrs: Attrs, draw: Draw, output: Shape) => Value;

const number = (attrs: Attrs, name: string): number => {
  const value = attrs[name];
  if (typeof value !== "number") throw new Error(`attribute "${name}" is ${value}`);
  return value;
};

const elementwise = (map: (...elements: number[]) => number): Formula => (inputs) => mapElements(inputs, map);
/** An op whose attributes are a number: its constant, which the kernel has as f32. */
const withConstant = (map: (a: number, k: number) => number): Formula => ([x], attrs) => {
  const k = Math.fround(attrs as unknown as number); // `scale` and `addScalar` have nothing else
  return mapElements([x], (a) => map(a, k));
};

/** Calls `row` with each row's start, of a copy in f64 that it changes. */
function byRows(x: Value, row: (data: Float64Array, start: number, index: number) => void): Value {
  const data = Float64Array.from(x.data), [R, C] = rowsCols(x.shape);
  for (let r = 0; r < R; r++) row(data, r * C, r);
  return { shape: x.shape, data };
}

/** In place: `exp(z) / sum exp(z)` over the first `seen` of `C` numbers, zeros behind them. */
function softmaxRow(z: Float64Array, start: number, C: number, seen = C): void {
  let max = -Infinity, sum = 0;
  for (let c = 0; c < seen; c++) max = Math.max(max, z[start + c]);
  for (let c = 0; c < seen; c++) sum += z[start + c] = Math.exp(z[start + c] - max);
  for (let c = 0; c < C; c++) z[start + c] = c < seen ? z[start + c] / sum : 0;
}

const MASKED = -10_000;

const softmax: Formula = ([x, mask], attrs) => {
  const [R, C] = rowsCols(x.shape), scale = number(attrs, "scale"), Q = x.shape.at(-2) ?? 1;
  return byRows(x, (z, start, r) => {
    for (let c = 0; c < C; c++) {
      const hidden = mask ? 1 - mask.data[Math.floor(r / (R / mask.shape[0])) * C + c] : 0;
      z[start + c] = scale * z[start + c] + MASKED * hidden;
    }
    softmaxRow(z, start, C, attrs.causal ? Math.min(C, r % Q + 1) : C);
  });
};

/** Column strips of packed sequences: `heads` of `[B, L, D]`. */
const head = ({ shape: [, L, D], data }: Value, b: number, h: number, heads: number): Matrix => ({
  data,
  offset: b * L * D + h * D / heads,
  rowStride: D,
  columnStride: 1,
});
const transposed = ({ data, offset, rowStride, columnStride }: Matrix): Matrix => ({
  data,
  offset,
  rowStride: columnStride,
  columnStride: rowStride,
});

const headScores: Formula = ([q, k], attrs) => {
  const heads = number(attrs, "heads"), [B, M, D] = q.shape, N = k.shape[1];
  const y = { shape: [B, heads, M, N], data: new Float64Array(B * heads * M * N) };
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < heads; h++) {
      const to = { data: y.data, offset: (b * heads + h) * M * N, rowStride: N };
      addProduct([M, N, D / heads], head(q, b, h, heads), head(k, b, h, heads), to, number(attrs, "scale"));
    }
  }
  return y;
};

const headValues: Formula = ([p, v], attrs) => {
  const [B, heads, rows, columns] = p.shape, D = v.shape[2];
  const [M, K] = attrs.transpose ? [columns, rows] : [rows, columns];
  const y = { shape: [B, M, D], data: new Float64Array(B * M * D) };
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < heads; h++) {
      const weights: Matrix = {
        data: p.data,
        offset: (b * heads + h) * rows * columns,
        rowStride: columns,
        columnStride: 1,
      };
      const to = { data: y.data, offset: b * M * D + h * D / heads, rowStride: D };
      const values = transposed(head(v, b, h, heads));
      addProduct(
        [M, D / heads, K],
        attrs.transpose ? transposed(weights) : weights,
        values,
        to,
        number(attrs, "scale"),
      );
    }
  }
  return y;
};

/** Columns `start` to `start + D` of a sequence. */
const columns = ({ shape: [B, L, C], data }: Value, start: number, D: number): Value => {
  const y = new Float64Array(B * L * D);
  for (let row = 0; row < B * L; row++) {
    for (let d = 0; d < D; d++) y[row * D + d] = data[row * C + start + d];
  }
  return { shape: [B, L, D], data: y };
};

/** q, k and v side by side in one value; or q, then k and v side by side. */
const attention: Formula = ([x, ...rest], attrs, draw, shape) => {
  const D = shape[2],
    kv = attrs.isSelf ? x : rest[0],
    kAt = attrs.isSelf ? D : 0,
    mask = attrs.isSelf ? rest[0] : rest[1];
  const scores = headScores([columns(x, 0, D), columns(kv, kAt, D)], attrs, draw, shape);
  const p = softmax(mask ? [scores, mask] : [scores], { scale: 1, causal: attrs.causal }, draw, shape);
  return headValues([p, columns(kv, kAt + D, D)], { transpose: false, scale: 1 }, draw, shape);
};

const linear: Formula = ([x, weight, bias], attrs, _, shape) => {
  const [M, K] = rowsCols(x.shape), N = weight.shape[0];
  const data = new Float64Array(M * N), rows = { offset: 0, rowStride: K, columnStride: 1 };
  addProduct([M, N, K], { data: x.data, ...rows }, { data: weight.data, ...rows }, {
    data,
    offset: 0,
    rowStride: N,
  });
  for (let i = 0; i < data.length; i++) {
    if (bias) data[i] += bias.data[i % N];
    if (attrs.isRelu) data[i] = Math.max(data[i], 0);
  }
  return { shape, data };
};

const matmul: Formula = ([a, b], attrs, _, shape) => {
  const [M, N] = shape.slice(-2), K = a.shape.at(attrs.transposeA ? -2 : -1) ?? 1;
  const count = sizeOf(shape) / (M * N), data = new Float64Array(sizeOf(shape));
  const matrix = (x: Value, rows: number, columns: number, isTransposed: unknown, batch: number): Matrix => ({
    data: x.data,
    offset: x.shape.length > 2 ? batch * rows * columns : 0,
    rowStride: isTransposed ? 1 : columns,
    columnStride: isTransposed ? rows : 1,
  });
  for (let batch = 0; batch < count; batch++) {
    addProduct(
      [M, N, K],
      matrix(a, M, K, attrs.transposeA, batch),
      matrix(b, N, K, !attrs.transposeB, batch),
      { data, offset: batch * M * N, rowStride: N },
      number(attrs, "scale"),
    );
  }
  return { shape, data };
};

const layerNorm: Formula = ([x, weight, bias], attrs) => {
  const C = x.shape.at(-1) ?? 1;
  return byRows(x, (data, start) => {
    let mean = 0, variance = 0;
    for (let c = 0; c < C; c++) mean += data[start + c] / C;
    for (let c = 0; c < C; c++) variance += (data[start + c] - mean) ** 2 / C;
    const deviation = Math.sqrt(variance + number(attrs, "eps"));
    for (let c = 0; c < C; c++) {
      data[start + c] = (data[start + c] - mean) / deviation * weight.data[c] + bias.data[c];
    }
  });
};

const l2Normalize: Formula = ([x], attrs) => {
  const C = x.shape.at(-1) ?? 1;
  return byRows(x, (data, start) => {
    let square = 0;
    for (let c = 0; c < C; c++) square += data[start + c] ** 2;
    const norm = Math.max(Math.sqrt(square), number(attrs, "eps"));
    for (let c = 0; c < C; c++) data[start + c] /= norm;
  });
};

const crossEntropy: Formula = ([x, labels]) => {
  const [R, C] = x.shape;
  let loss = 0;
  byRows(x, (z, start, r) => {
    const right = z[start + (labels ? labels.data[r] : r)];
    let max = -Infinity, sum = 0;
    for (let c = 0; c < C; c++) max = Math.max(max, z[start + c]);
    for (let c = 0; c < C; c++) sum += Math.exp(z[start + c] - max);
    loss += (Math.log(sum) + max - right) / R;
  });
  return { shape: [], data: Float64Array.of(loss) };
};

const dropout: Formula = ([x], attrs, { seed, step }) => {
  const p = number(attrs, "p"), site = number(attrs, "site"), data = Float64Array.from(x.data);
  const threshold = Math.min(Math.round(p * 2 ** 32), 2 ** 32 - 1);
  for (let block = 0; 4 * block < data.length; block++) {
    const random = philox([block, site, step, 0], [seed, 1]);
    for (let i = 4 * block; i < Math.min(4 * block + 4, data.length); i++) {
      data[i] = random[i % 4] >= threshold ? data[i] / (1 - p) : 0;
    }
  }
  return { shape: x.shape, data };
};

const embedding: Formula = ([ids, weight], _, __, shape) => {
  const D = weight.shape[1], data = new Float64Array(sizeOf(shape));
  for (let i = 0; i < ids.data.length; i++) {
    data.set(weight.data.subarray(ids.data[i] * D, (ids.data[i] + 1) * D), i * D);
  }
  return { shape, data };
};

const slice: Formula = ([x], attrs, _, shape) => {
  const from = partOf(x.shape, number(attrs, "axis"), number(attrs, "start"));
  return copied(x, shape, from, zerosOf(shape), { offset: 0, strides: stridesOf(shape) });
};

const concat: Formula = (xs, attrs, _, shape) => {
  const y = zerosOf(shape), axis = number(attrs, "axis");
  let start = 0;
  for (const x of xs) {
    copied(x, x.shape, { offset: 0, strides: stridesOf(x.shape) }, y, partOf(shape, axis, start));
    start += x.shape[axis];
  }
  return y;
};

const permute: Formula = ([x], attrs, _, shape) => {
  const axes = attrs as unknown as readonly number[], own = stridesOf(x.shape); // its only attribute
  const from = { offset: 0, strides: axes.map((axis) => own[axis]) };
  return copied(x, shape, from, zerosOf(shape), { offset: 0, strides: stridesOf(shape) });
};

const sum: Formula = ([x], attrs, _, shape) => {
  const y = zerosOf(shape),
    strides = stridesOf(shape).map((stride, i) => shape[i] === x.shape[i] ? stride : 0);
  walk2(x.shape, { offset: 0, strides: stridesOf(x.shape) }, { offset: 0, strides }, (i, j) => {
    y.data[j] += x.data[i];
  });
  return mapElements([y], (v) => v * number(attrs, "scale"));
};

/** By the op's name. Ops of the reverse pass are not there: gradients are checked against differences. */
export const formulas: Readonly<Record<string, Formula>> = {
  add: elementwise((a, b) => a + b),
  sub: elementwise((a, b) => a - b),
  mul: elementwise((a, b) => a * b),
  div: elementwise((a, b) => a / b),
  scale: withConstant((a, k) => a * k),
  addScalar: withConstant((a, k) => a + k),
  neg: elementwise((a) => -a),
  exp: elementwise(Math.exp),
  log: elementwise(Math.log),
  sqrt: elementwise(Math.sqrt),
  square: elementwise((a) => a * a),
  relu: elementwise((a) => Math.max(a, 0)),
  gelu: elementwise((a) => a * erfc(-a / Math.SQRT2) / 2),
  quickGelu: elementwise((a) => a / (1 + Math.exp(-1.702 * a))),
  sigmoid: elementwise((a) => 1 / (1 + Math.exp(-a))),
  castF32: elementwise((a) => a),
  addN: (terms) => terms.reduce((a, b) => mapElements([a, b], (x, y) => x + y)),
  full: (_, attrs, __, shape) => ({
    shape,
    data: new Float64Array(sizeOf(shape)).fill(number(attrs, "value")),
  }),
  expand: ([x], _, __, shape) => ({ shape, data: broadcastTo(x, shape) }),
  sum,
  permute,
  slice,
  concat,
  embedding,
  attention,
  matmul,
  linear,
  headScores,
  headValues,
  softmax,
  layerNorm,
  l2Normalize,
  crossEntropy,
  dropout,
};
