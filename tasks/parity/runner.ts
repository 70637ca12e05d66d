/** Runs a case's graph with its objective and all gradients. */
import { DataError } from "../../lib/core/errors.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { loadStateDict, named } from "../../lib/nn/module.ts";
import { add, mul } from "../../lib/ops/elementwise.ts";
import { grad } from "../../lib/ops/grad.ts";
import { sum } from "../../lib/ops/reduce.ts";
import { evaluate } from "../../lib/plan/compile.ts";
import { type Param, param, type Tensor } from "../../lib/tensor/tensor.ts";
import type { Actual, OracleCase } from "./case.ts";

/** Runs one operation on a case. */
export type Runner = (gpu: Gpu, oracle: OracleCase) => Promise<Actual>;

type Tensors = Record<string, Tensor>;

/** An operation as graph: from inputs, by the names behind `in.`, to outputs, by the names behind `out.` or `aux.`. */
export interface Operation {
  /** Its parameters, under the case's keys. They are loaded before `forward` is called. */
  readonly module?: object;
  forward(inputs: Tensors): { readonly out: Tensors; readonly aux?: Tensors };
}

/** A runner that evaluates outputs, objective and gradients in one plan. */
export const graphRunner = (build: (oracle: OracleCase) => Operation): Runner => async (gpu, oracle) => {
  const { module = {}, forward } = build(oracle);
  const missing = loadCase(module, oracle);
  const params = named(module);
  const inputs = oracle.inputs(), cotangents = oracle.cotangents();

  const results = await evaluate(gpu, (t) => {
    const own = Object.fromEntries(Object.keys(inputs).map((name) => [name, t[name]]));
    const { out, aux = {} } = forward(own);
    const values: Tensors = {};
    for (const [name, y] of Object.entries(out)) values[`out.${name}`] = y;
    for (const [name, y] of Object.entries(aux)) values[`aux.${name}`] = y;
    const loss = objective(oracle, out, t);
    if (loss) {
      const wrt = new Map<string, Tensor>();
      for (const [name, x] of Object.entries(own)) if (x.dtype === "f32") wrt.set(`grad.in.${name}`, x);
      for (const [key, p] of params) wrt.set(`grad.param.${key}`, p);
      const grads = grad(loss, wrt.values());
      for (const [key, x] of wrt) {
        const dx = grads.get(x);
        if (dx) values[key] = dx;
      }
    }
    return values;
  }, { ...inputs, ...cotangents });
  const problems = missing.flatMap((key) =>
    results[`grad.param.${key}`] ? [`${key} is used, but the case does not have it`] : []
  );
  return { values: new Map(Object.entries(results)), problems };
};

/**
 * Loads a case's parameters into a module and gives the keys that the case does not have: files are kept small by
 * leaving out what the operation never uses.
 *
 * @throws {DataError} If the case has a parameter that the module lacks, or a shape differs.
 */
export function loadCase(module: object, oracle: OracleCase): readonly string[] {
  const { missing, unexpected } = loadStateDict(module, oracle.stateDict(), { strict: false });
  if (unexpected.length > 0) throw new DataError(`parameters without a place: ${unexpected.join(", ")}`);
  return missing;
}

/** The parameters of a case as a flat record, for operations without a module. */
export const paramsOf = (oracle: OracleCase): Record<string, Param> =>
  Object.fromEntries([...oracle.stateDict()].map(([key, { shape, data }]) => [key, param(shape, data)]));

/** `out.loss`, or a sum of terms `sum(out.y * in.cotangent)`. */
function objective({ name, objective: text }: OracleCase, out: Tensors, inputs: Tensors): Tensor | undefined {
  if (text.startsWith("none")) return undefined;
  const get = (tensors: Tensors, key: string) => {
    if (!tensors[key]) throw new DataError(`${name}: the objective "${text}" needs "${key}"`);
    return tensors[key];
  };
  return text.split(" + ").map((term) => {
    const scalar = term.match(/^out\.(\w+)$/), weighted = term.match(/^sum\(out\.(\w+) \* in\.(\w+)\)$/);
    if (scalar) return get(out, scalar[1]);
    if (weighted) return sum(mul(get(out, weighted[1]), get(inputs, weighted[2])));
    throw new DataError(`${name}: unknown objective "${text}"`);
  }).reduce(add);
}
