/** Several elementwise ops as one launch: a tree of their expressions, generated as one kernel. */
import { type Shape, sizeOf } from "../core/shape.ts";
import { defineOp, type Kernel, type OpDef } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { addNOp, addOp } from "./elementwise.ts";
import { elementwiseDispatch, elementwiseWgsl, type Expression, expressionOf } from "./expression.ts";

/** What an element is made of: an input's element, or an op of others. */
export type Formula =
  | { readonly input: number }
  | { readonly op: Expression<unknown>; readonly constant: number; readonly terms: readonly Formula[] };

/** A formula and its inputs. */
export interface Tree {
  readonly formula: Formula;
  /** Each with the shape to which it is broadcast. */
  readonly inputs: readonly { readonly x: Tensor; readonly to: Shape }[];
}

/** Inputs of one launch: 8 storage buffers a stage, one of them the output's. */
export const MAX_INPUTS = 7;
/** Ops of one formula: their constants stand in `Sizes`. */
export const MAX_OPS = 12;

/** An op as a formula of its inputs; undefined if it is not elementwise. A sum is taken from left to right, as its kernel does. */
export function formulaOf(op: OpDef<unknown>, count: number, attrs: unknown): Formula | undefined {
  const add = expressionOf(addOp as OpDef<unknown>);
  if (add && op === addNOp as OpDef<unknown>) {
    const inputs = Array.from({ length: count }, (_, input): Formula => ({ input }));
    return inputs.reduce((sum, term) => ({ op: add, constant: 0, terms: [sum, term] }));
  }
  const expression = expressionOf(op);
  return expression && {
    op: expression,
    constant: expression.constant?.(attrs) ?? 0,
    terms: Array.from({ length: count }, (_, input) => ({ input })),
  };
}

/** The ops of a formula, the innermost first. */
export const opsOf = (f: Formula): Exclude<Formula, { input: number }>[] =>
  "input" in f ? [] : [...f.terms.flatMap(opsOf), f];

const NAMES = ["a", "b", "c", "d", "e", "f", "g"];

/** `add(scale(a), b)`: names a kernel. */
const nameOf = (f: Formula): string =>
  "input" in f ? NAMES[f.input] : `${f.op.name}(${f.terms.map(nameOf).join(", ")})`;

const kernels = new Map<string, Kernel>();

/** Made once a formula: one pipeline, whatever the constants. */
function kernelOf(formula: Formula, dtypes: readonly ("f32" | "u32")[]): Kernel {
  const name = `${nameOf(formula)} of ${dtypes.join(", ")}`, known = kernels.get(name);
  if (known) return known;
  const ops = opsOf(formula), distinct = new Map(ops.map(({ op }) => [op.name, op]));
  const functions = [...distinct.values()].map(({ name, expression, arity, dtype = "f32" }) => {
    const args = ["a", "b", "c"].slice(0, arity).map((arg) => `${arg}: ${dtype}`);
    return `fn ${name}Of(${[...args, "k: f32"].join(", ")}) -> f32 { return ${expression}; }`;
  });
  const call = (f: Formula): string =>
    "input" in f
      ? NAMES[f.input]
      : `${f.op.name}Of(${[...f.terms.map(call), `sizes.k${ops.indexOf(f)}`].join(", ")})`;
  const kernel = {
    file: `lib/ops/formula.ts/${nameOf(formula)}`,
    wgsl: elementwiseWgsl({
      title: nameOf(formula),
      inputs: dtypes.map((dtype, i) => ({ name: NAMES[i], dtype })),
      constants: ops.map((_, i) => `k${i}`),
      functions,
      element: call(formula),
    }),
  };
  kernels.set(name, kernel);
  return kernel;
}

/** Only the plan makes it, of ops that have their own gradients. */
export const formulaOp = defineOp<Pick<Tree, "formula"> & { readonly to: readonly Shape[] }>({
  name: "formula",
  outputs: (_, { to }) => [{ shape: to[0], dtype: "f32" }],
  dispatch: (inputs, [y], { formula, to }) => {
    const kernel = kernelOf(formula, inputs.map(({ dtype }) => dtype === "u32" ? "u32" : "f32"));
    const constants = Object.fromEntries(opsOf(formula).map(({ constant }, i) => [`k${i}`, constant]));
    const sources = inputs.map((x, i) => ({ name: NAMES[i], x, to: to[i] }));
    return [elementwiseDispatch(kernel, sources, y, constants)];
  },
  cost: (inputs, [y], { formula }) => ({
    flops: opsOf(formula).reduce((n, { op }) => n + (op.flops ?? 1), 0) * sizeOf(y.shape),
    bytes: 4 * [...inputs, y].reduce((n, x) => n + sizeOf(x.shape), 0),
  }),
});
