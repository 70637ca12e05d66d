/** The generated kernels of the elementwise ops: one expression, every way of broadcasting. */
import { ShapeError } from "../core/errors.ts";
import { broadcastShapes, type DType, type Shape, showShape, sizeOf } from "../core/shape.ts";
import { type BackwardContext, defineOp, type Dispatch, type Kernel, type OpDef } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { walkGrid } from "./grid.ts";

/** An elementwise op. */
export interface Expression<A> {
  readonly name: string;
  /** WGSL of one f32 element: inputs `a`, `b`, `c`, and the constant `k`. May call `kernels/prelude/math.wgsl`. */
  readonly expression: string;
  /** Number of inputs; 1 to 3. */
  readonly arity: number;
  /** Element type of the inputs; default f32. */
  readonly dtype?: "f32" | "u32";
  /** Value of `k`. */
  constant?(attrs: A): number;
  /** Operations an element; default 1. */
  readonly flops?: number;
  backward?(context: BackwardContext<A>): readonly (Tensor | undefined)[];
}

/** Names of the inputs in an expression. */
const INPUTS = ["a", "b", "c"];

/** What an elementwise kernel is generated from. */
export interface ElementwiseText {
  /** Behind `y = ` in its first line. */
  readonly title: string;
  readonly inputs: readonly { readonly name: string; readonly dtype: "f32" | "u32" }[];
  /** Names of f32 values of `Sizes`. */
  readonly constants: readonly string[];
  readonly functions: readonly string[];
  /** WGSL of one element, of the inputs' elements by name. */
  readonly element: string;
}

/**
 * The kernel's text. `linear`: all shapes equal, by fours. `broadcast`: see `indexPattern`; `broadcastBy4`: the same
 * where each pattern moves by fours, with sizes in fours.
 */
export function elementwiseWgsl({ title, inputs, constants, functions, element }: ElementwiseText): string {
  const names = inputs.map(({ name }) => name);
  const list = (text: (name: string) => string, separator: string) => names.map(text).join(separator);
  const place = (x: string) => `place(i, sizes.${x}p, sizes.${x}r, sizes.${x}q, sizes.${x}m)`;
  const elements = ["x", "y", "z", "w"].map((lane) => `element(${list((x) => `${x}.${lane}`, ", ")})`).join(
    ", ",
  );
  const fields = [
    ...constants.map((k) => `${k}: f32`),
    ...names.map((x) => `${x}p: u32, ${x}r: u32, ${x}q: u32, ${x}m: u32`),
  ];
  return `// Generated: y = ${title}
// @prelude math
struct Sizes { N: u32, ${fields.join(", ")} }
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(0) var<storage, read_write> y4: array<vec4f>;
${
    inputs.map(({ name, dtype }, i) =>
      [
        `@group(0) @binding(${i + 1}) var<storage, read> ${name}: array<${dtype}>;`,
        `@group(0) @binding(${i + 1}) var<storage, read> ${name}4: array<vec4<${dtype}>>;`,
      ].join("\n")
    ).join("\n")
  }

${functions.join("\n")}
fn element(${inputs.map(({ name, dtype }) => `${name}: ${dtype}`).join(", ")}) -> f32 {
  return ${element};
}

// (i / p) % r * q + i % m; m = 0: i itself. The branches are uniform, and spare divisions.
fn place(i: u32, p: u32, r: u32, q: u32, m: u32) -> u32 {
  if (m == 0u) { return i; }
  var at = 0u;
  if (m > 1u) { at = i % m; }
  if (q > 0u) { at += i / p % r * q; }
  return at;
}

@compute @workgroup_size(64)
fn linear(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < sizes.N; i += n.x * 64u) {
    ${list((x) => `let ${x} = ${x}4[i];`, " ")}
    y4[i] = vec4f(${elements});
  }
}

@compute @workgroup_size(64)
fn broadcastBy4(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < sizes.N; i += n.x * 64u) {
    ${list((x) => `let ${x} = ${x}4[${place(x)}];`, " ")}
    y4[i] = vec4f(${elements});
  }
}

@compute @workgroup_size(64)
fn broadcast(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < sizes.N; i += n.x * 64u) {
    y[i] = element(${list((x) => `${x}[${place(x)}]`, ", ")});
  }
}
`;
}

/** Index of an input's element for output element i: `(i / p) % r * q + i % m`. */
export interface IndexPattern {
  readonly p: number;
  readonly r: number;
  readonly q: number;
  readonly m: number;
}

/**
 * How an input of shape `from` is read for an output of shape `to`.
 * Covers equal shapes, scalars, `[D]`, `[B, 1]`, `[B, 1, D]`, `[1, L, 1]` and `[1, L, 1, D]` in larger shapes;
 * undefined where more axes alternate between kept and broadcast.
 *
 * @example Usage
 * ```ts
 * const { p, r, q, m } = indexPattern([5, 1], [2, 5, 3]) ?? { p: 1, r: 1, q: 0, m: 1 };
 * if (Math.floor(17 / p) % r * q + 17 % m !== 0) throw new Error("element [1, 0, 2] reads [0, 0]");
 * ```
 */
export function indexPattern(from: Shape, to: Shape): IndexPattern | undefined {
  // Runs of axes that are all kept or all broadcast, innermost first.
  const runs: { isKept: boolean; size: number }[] = [];
  for (let i = 1; i <= to.length; i++) {
    const size = to[to.length - i];
    if (size === 1) continue;
    const isKept = (from[from.length - i] ?? 1) === size;
    const run = runs.at(-1);
    if (run && run.isKept === isKept) run.size *= size;
    else runs.push({ isKept, size });
  }
  const m = runs[0]?.isKept ? runs.shift()?.size ?? 1 : 1;
  const skipped = runs[0]?.isKept === false ? runs.shift()?.size ?? 1 : 1;
  if (runs.length === 0) return { p: 1, r: 1, q: 0, m };
  const r = runs.shift()?.size ?? 1;
  if (runs.some((run) => run.isKept)) return undefined;
  return { p: m * skipped, r, q: m, m };
}

/** Common shape of the inputs. @throws {ShapeError} */
const commonShape = (inputs: readonly Tensor[]): Shape =>
  inputs.reduce((shape: Shape, x) => broadcastShapes(shape, x.shape), []);

/** @throws {ShapeError} If an input has another element type. */
export function checkDType(inputs: readonly Tensor[], dtype: DType): void {
  for (const x of inputs) {
    if (x.dtype !== dtype) throw new ShapeError(`expected ${dtype}, got ${x.dtype} ${showShape(x.shape)}`);
  }
}

/** The op of an expression. */
export function defineExpression<A = undefined>(spec: Expression<A>): OpDef<A> {
  const { name, expression, arity, dtype = "f32", flops = 1, backward } = spec;
  const kernel: Kernel = {
    file: `lib/ops/elementwise.ts/${name}`,
    wgsl: elementwiseWgsl({
      title: expression,
      inputs: INPUTS.slice(0, arity).map((name) => ({ name, dtype })),
      constants: ["k"],
      functions: [],
      element: expression.replace(/\bk\b/g, "sizes.k"),
    }),
  };
  const op = defineOp<A>({
    name,
    outputs: (inputs) => {
      checkDType(inputs, dtype);
      return [{ shape: commonShape(inputs), dtype: "f32" }];
    },
    dispatch: (inputs, [y], attrs) => {
      const sources = inputs.map((x, i) => ({ name: INPUTS[i], x, to: y.shape }));
      return [elementwiseDispatch(kernel, sources, y, { k: spec.constant?.(attrs) ?? 0 })];
    },
    backward,
    cost: (inputs, [y]) => ({
      flops: flops * sizeOf(y.shape),
      bytes: 4 * [...inputs, y].reduce((n, x) => n + sizeOf(x.shape), 0),
    }),
  });
  expressions.set(op as OpDef<unknown>, spec as Expression<unknown>);
  return op;
}

const expressions = new Map<OpDef<unknown>, Expression<unknown>>();
/** What an op computes of each element, if it is elementwise. */
export const expressionOf = (op: OpDef<unknown>): Expression<unknown> | undefined => expressions.get(op);

/**
 * The launch of a generated kernel.
 *
 * @param sources The inputs, each with its name in the kernel and the shape to which it is broadcast.
 * @throws {ShapeError} If the broadcasting of one has no pattern.
 */
export function elementwiseDispatch(
  kernel: Kernel,
  sources: readonly { readonly name: string; readonly x: Tensor; readonly to: Shape }[],
  y: Tensor,
  constants: Readonly<Record<string, number>>,
): Dispatch {
  const N = sizeOf(y.shape);
  const patterns = sources.map(({ x, to }) => {
    const pattern = indexPattern(x.shape, to);
    if (!pattern) throw new ShapeError(`${showShape(x.shape)} is not expanded to ${showShape(to)}`);
    return pattern;
  });
  const isLinear = sources.every(({ x }) => sizeOf(x.shape) === N);
  const by4 = N % 4 === 0 && patterns.every(({ m }) => m % 4 === 0), unit = by4 ? 4 : 1;
  const sizes: Record<string, number> = { N: N / unit, ...constants };
  patterns.forEach(({ p, r, q, m }, i) => {
    const fours = { p: q > 0 ? p / unit : p, r, q: q / unit, m: m === N ? 0 : m / unit };
    for (const [field, value] of Object.entries(fours)) sizes[sources[i].name + field] = value;
  });
  const suffix = by4 ? "4" : "";
  return {
    kernel,
    entry: by4 ? isLinear ? "linear" : "broadcastBy4" : "broadcast",
    sizes,
    grid: walkGrid(N / unit),
    bind: Object.fromEntries([[`y${suffix}`, y], ...sources.map(({ name, x }) => [name + suffix, x])]),
  };
}
