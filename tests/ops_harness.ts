/** What an op's row must say, and how it is proved. The rows: `tests/ops_rows/`. */
import assert from "node:assert/strict";
import { Random } from "../lib/core/random.ts";
import { type Shape, showShape, sizeOf } from "../lib/core/shape.ts";
import type { Gpu } from "../lib/gpu/device.ts";
import { mul, scale } from "../lib/ops/elementwise.ts";
import { grad } from "../lib/ops/grad.ts";
import { sum } from "../lib/ops/reduce.ts";
import { evaluate } from "../lib/plan/compile.ts";
import type { StepInfo } from "../lib/plan/plan.ts";
import type { OpDef } from "../lib/tensor/op.ts";
import { constant, input, type Tensor, type TensorData } from "../lib/tensor/tensor.ts";
import { reachable, trace } from "../lib/tensor/trace.ts";
import { evaluateF64 } from "../tasks/reference/evaluate.ts";
import { formulas } from "../tasks/reference/ops.ts";

/** A tensor of the reference: the GPU's f32 or u32 inputs, exact in f64. */
export interface Values {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** How an f32 input is filled. None comes nearer than 0.05 to zero, where relu has its kink. */
export type Fill =
  /** Normal, about one in nine times 20. The default. */
  | "outliers"
  /** Normal. */
  | "normal"
  /** Uniform in [0.05, 3). */
  | "positive"
  /** 0 or 1. */
  | "binary"
  | ((random: Random, index: number) => number);

/** An input of a case: a shape alone is f32 with outliers; `below` makes it u32, uniform in [0, below). */
export type Input = Shape | { readonly shape: Shape; readonly fill?: Fill } | {
  readonly shape: Shape;
  readonly below: number;
};

/** One shape (and set of options) at which the op is checked. */
export type Case<O> =
  & { readonly inputs: readonly Input[] }
  & (undefined extends O ? { readonly options?: O } : { readonly options: O });

/** An op with its proof. Tolerances are in f32 epsilons (2^-23) times a magnitude; say in a comment why that many. */
export interface RowSpec<O = undefined> {
  /** Applies the op (through its exported function) to the inputs of the case. */
  op(inputs: readonly Tensor[], options: O): Tensor;
  /** The same in f64, naive, no tricks: the output's elements, row major. */
  reference(inputs: readonly Values[], options: O): ArrayLike<number>;
  /** Allowed error of the output. */
  readonly forward: number;
  /** Allowed error of the gradients. The magnitude of dx[j] is sum_i |w[i] dy[i]/dx[j]|. Needed unless the op has none. */
  readonly gradient?: number;
  /** Magnitudes that `forward` multiplies: as default |reference|; for a sum of products the reference of absolute values. */
  magnitude?(inputs: readonly Values[], options: O): ArrayLike<number>;
  /** Added to each |dy[i]/dx[j]| of the gradient's magnitude: for slopes that pass through zero by cancellation. */
  readonly slopeFloor?: number;
  /** Indices of f32 inputs that have no gradient; it is checked that they have none. */
  readonly noGradient?: readonly number[];
  /** For ops that draw random numbers. */
  readonly run?: { readonly isTraining?: boolean; readonly seed?: number; readonly step?: StepInfo };
  readonly cases: readonly Case<O>[];
}

/** A row of the table: the checks of one op on a device. The type of its options is closed over. */
export type Row = (gpu: Gpu, op: OpDef<unknown>, name: string) => Promise<void>;

/** A row from its spec. */
export const row = <O = undefined>(spec: RowSpec<O>): Row => async (gpu, op, name) => {
  for (const [i, one] of spec.cases.entries()) await checkCase(gpu, op, name, spec, one, i);
};

/** For the rows: maps each row (last axis) of `x`. */
export function mapRows(
  x: Values,
  map: (row: Float64Array, index: number) => ArrayLike<number>,
): Float64Array {
  const C = x.shape.at(-1) ?? 1;
  const parts = Array.from(
    { length: C ? x.data.length / C : 0 },
    (_, r) => map(x.data.subarray(r * C, (r + 1) * C), r),
  );
  const width = parts[0]?.length ?? 0, out = new Float64Array(parts.length * width);
  parts.forEach((part, r) => out.set(Array.from(part), r * width));
  return out;
}

/** For `magnitude`: the inputs with their absolute values. */
export const absolute = (inputs: readonly Values[]): Values[] =>
  inputs.map(({ shape, data }) => ({ shape, data: data.map(Math.abs) }));

const EPSILON = 2 ** -23;
/** Below the smallest normal number a GPU may flush to zero. */
const TINY = 2 ** -126;
/** Central differences in f64: the error of the difference is about 1e-10 of the value. */
const STEP = 1e-5;
/** Above this many elements: 64 coordinates and 4 directions instead of all coordinates. */
const ALL_COORDINATES = 256;
/** Above this many elements of input or output: the vector product with one direction only. */
const ONE_DIRECTION = 50_000;

/** The interpreter in f64 that whole steps are held against agrees with the row's reference, where it knows the op. */
function checkFormula<O>(
  spec: RowSpec<O>,
  options: O,
  data: readonly { readonly shape: Shape; readonly dtype: "f32" | "u32"; readonly data: TensorData }[],
  { want, magnitude, place }: { want: Float64Array; magnitude: Float64Array; place: string },
) {
  const { isTraining, seed = 0, step } = spec.run ?? {};
  const { result } = trace(() => spec.op(data.map((x, i) => input(`x${i}`, x)), options), { isTraining });
  if (!reachable([result]).every(({ op }) => op.isView || op.name in formulas)) return;
  const inputs = Object.fromEntries(data.map(({ data }, i) => [`x${i}`, data]));
  const [{ data: got }] = evaluateF64([result], { inputs, seed, step: step?.index ?? 0 });
  assert.equal(got.length, want.length, `${place}: formula in f64`);
  // Both are f64: 1e-12 leaves room for sums in another order.
  const bad = want.findIndex((value, i) => !(Math.abs(got[i] - value) <= 1e-12 * (magnitude[i] + 1e-3)));
  assert(
    bad < 0,
    `${place}: element ${bad} of the formula in f64 is ${got[bad]}, the reference ${want[bad]}`,
  );
}

async function checkCase<O>(
  gpu: Gpu,
  op: OpDef<unknown>,
  name: string,
  spec: RowSpec<O>,
  one: Case<O>,
  index: number,
) {
  const options = one.options as O;
  const random = new Random(index, name);
  const data = one.inputs.map((input) => fill(input, random));
  const inputs = Object.fromEntries(data.map((x, i) => [`x${i}`, x]));
  const values = data.map(({ shape, data }): Values => ({ shape, data: Float64Array.from(data) }));
  const place = `${name}${values.map((x) => ` ${showShape(x.shape)}`).join("")} ${
    JSON.stringify(options) ?? ""
  }`.trim();
  const differentiable = data.flatMap(({ dtype }, i) => dtype === "f32" ? [i] : []);
  const hasGradient = op.backward !== undefined || spec.gradient !== undefined;

  let weights = new Float32Array(0); // dL/dy of the loss sum(y * weights)
  const build = (t: Readonly<Record<string, Tensor>>): Record<string, Tensor> => {
    const xs = data.map((_, i) => t[`x${i}`]);
    const y = spec.op(xs, options);
    assert(reachable([y]).some((node) => node.op === op), `${place}: the row does not apply ${name}`);
    if (!hasGradient) return { y };
    if (!weights.length) weights = new Random(index, `${name}.weights`).normal(sizeOf(y.shape));
    const wanted = differentiable.map((i) => xs[i]);
    const grads = grad(sum(mul(y, constant(y.shape, weights))), wanted);
    return Object.fromEntries([
      ["y", y],
      ...differentiable.flatMap((i) => {
        const dx = grads.get(xs[i]);
        return dx ? [[`d${i}`, dx]] : [];
      }),
    ]);
  };
  const settings = { ...spec.run, guard: true };
  const first = await evaluate(gpu, build, inputs, settings);
  const second = await evaluate(gpu, build, inputs, settings);
  for (const key of Object.keys(first)) {
    assert(sameBits(first[key].data, second[key].data), `${place}: ${key} has other bits the second time`);
  }

  // Two of it side by side: the same bits whether one launch does both or each its own.
  const pair = (t: Readonly<Record<string, Tensor>>) =>
    Object.fromEntries([1, 2].flatMap((k) => {
      const scaled = Object.entries(t).map(([x, v]) => [x, v.dtype === "f32" ? scale(v, k) : v]);
      return Object.entries(build(Object.fromEntries(scaled))).map(([key, y]) => [`${key} of ${k}`, y]);
    }));
  if (index === 0) {
    const apart = await evaluate(gpu, pair, inputs, { ...spec.run, grouped: false });
    const together = await evaluate(gpu, pair, inputs, spec.run);
    for (const key of Object.keys(apart)) {
      assert(sameBits(apart[key].data, together[key].data), `${place}: ${key} has other bits by one launch`);
    }
  }

  const reference = (xs: readonly Values[]) => Float64Array.from(spec.reference(xs, options));
  const want = reference(values);
  const magnitude = spec.magnitude ? Float64Array.from(spec.magnitude(values, options)) : want.map(Math.abs);
  checkFormula(spec, options, data, { want, magnitude, place });
  const { y } = first;
  assert.equal(
    y.data.length,
    want.length,
    `${place}: the output ${showShape(y.shape)} has another size than the reference`,
  );
  want.forEach((value, i) => close(() => `${place}: y[${i}]`, y.data[i], value, spec.forward, magnitude[i]));
  if (!hasGradient) return;

  const { gradient } = spec;
  assert(gradient !== undefined, `${place}: the op has a gradient, the row no tolerance for it`);
  for (const i of differentiable) {
    const dx = first[`d${i}`]?.data;
    const none = spec.noGradient?.includes(i) ?? false;
    assert.equal(dx === undefined, none, `${place}: input ${i} has ${none ? "a" : "no"} gradient`);
    if (!dx) continue;
    assert.equal(dx.length, values[i].data.length);
    for (const direction of directions(dx.length, want.length, random)) {
      const { slope, size } = difference(values, i, direction, weights, reference, spec.slopeFloor);
      const got = direction.reduce((s, [j, v]) => s + dx[j] * v, 0);
      const total = direction.length === 1
        ? size
        : direction.reduce((s, [j, v]) => s + Math.abs(dx[j] * v), size);
      const where = direction.length === 1 ? `d${i}[${direction[0][0]}]` : `d${i} along a direction`;
      close(() => `${place}: ${where}`, got, slope, gradient, total);
    }
  }
}

/** A sparse direction: pairs of coordinate and component. */
type Direction = readonly (readonly [number, number])[];

/** All coordinates; or 64 fixed ones and 4 random directions; or one direction. */
function* directions(n: number, outputs: number, random: Random): Generator<Direction> {
  const dense = (): Direction => Array.from({ length: n }, (_, j) => [j, random.nextInt(2) ? 1 : -1]);
  if (Math.max(n, outputs) > ONE_DIRECTION) return yield dense();
  if (n <= ALL_COORDINATES) {
    for (let j = 0; j < n; j++) yield [[j, 1]];
    return;
  }
  const fixed = [0, 1, 3, 4, 63, 64, 127, 128, 255, 256, n - 2, n - 1].filter((j) => j < n);
  const chosen = new Set(fixed);
  while (chosen.size < 64) chosen.add(random.nextInt(n));
  for (const j of chosen) yield [[j, 1]];
  for (let k = 0; k < 4; k++) yield dense();
}

/** Slope of sum(y * weights) along a direction, and the sum of the absolute values of its terms. */
function difference(
  values: readonly Values[],
  input: number,
  direction: Direction,
  weights: Float32Array,
  reference: (xs: readonly Values[]) => Float64Array,
  slopeFloor = 0,
): { slope: number; size: number } {
  const moved = (sign: number) => {
    const { shape, data } = values[input];
    const x = data.slice();
    for (const [j, v] of direction) x[j] += sign * STEP * v;
    return reference(values.map((other, i) => i === input ? { shape, data: x } : other));
  };
  const up = moved(1), down = moved(-1);
  let slope = 0, size = 0;
  for (let i = 0; i < up.length; i++) {
    if (up[i] === down[i]) continue;
    const term = (up[i] - down[i]) / (2 * STEP);
    slope += weights[i] * term;
    size += Math.abs(weights[i]) * (Math.abs(term) + slopeFloor);
  }
  return { slope, size };
}

function close(what: () => string, got: number, want: number, tolerance: number, magnitude: number) {
  const bound = tolerance * EPSILON * magnitude + TINY;
  const error = Math.abs(got - want);
  if (!(error <= bound)) {
    const epsilons = error / (EPSILON * magnitude);
    assert.fail(
      `${what()} is ${got}, want ${want}: ${
        epsilons.toPrecision(3)
      } epsilons of ${magnitude}, allowed ${tolerance}`,
    );
  }
}

function sameBits(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const bits = (x: ArrayBufferView) => new Uint32Array(x.buffer, x.byteOffset, x.byteLength / 4);
  const other = bits(b);
  return a.byteLength === b.byteLength && bits(a).every((v, i) => v === other[i]);
}

function fill(input: Input, random: Random) {
  const spec = "shape" in input ? input : { shape: input };
  const { shape } = spec, n = sizeOf(shape);
  if ("below" in spec) {
    const data = Uint32Array.from({ length: n }, () => random.nextInt(spec.below));
    return { shape, dtype: "u32" as const, data };
  }
  return { shape, dtype: "f32" as const, data: fillFloats(spec.fill ?? "outliers", n, random) };
}

function fillFloats(fill: Fill, n: number, random: Random): Float32Array<ArrayBuffer> {
  if (typeof fill === "function") return Float32Array.from({ length: n }, (_, i) => fill(random, i));
  if (fill === "positive") return random.uniform(n, 0.05, 3);
  if (fill === "binary") return Float32Array.from({ length: n }, () => random.nextInt(2));
  const awayFromZero = (v: number) => v + (Math.abs(v) < 0.05 ? Math.sign(v) * 0.05 : 0);
  const normal = random.normal(n).map(awayFromZero);
  return fill === "normal" ? normal : normal.map((v) => v * (random.nextInt(9) ? 1 : 20));
}
