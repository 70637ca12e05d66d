/** Modules are plain classes: their fields are parameters, modules, and lists and records of them. */
import { DataError } from "../core/errors.ts";
import { sameShape, type Shape, showShape } from "../core/shape.ts";
import { isParam, type Param, Tensor } from "../tensor/tensor.ts";

/**
 * The parameters of a module by their state-dict key: field names joined by dots, in order of declaration; items of
 * lists by their index. Sets each parameter's name.
 *
 * @throws {Error} If one parameter is reached by two paths: a checkpoint would hold it twice.
 *
 * @example Usage
 * ```ts ignore
 * named({ fc: new Linear(3, 2), layer: [new LayerNorm(2)] }, "clip").keys();
 * // clip.fc.weight, clip.fc.bias, clip.layer.0.weight, clip.layer.0.bias
 * ```
 */
export function named(module: object, prefix = ""): Map<string, Param> {
  const found = byKey(module, prefix);
  for (const [key, param] of found) param.source.name = key;
  return found;
}

/** The same without setting names. */
export function byKey(module: object, prefix: string): Map<string, Param> {
  const found = new Map<string, Param>();
  const keyOf = new Map<Param, string>();
  const walk = (value: unknown, key: string) => {
    if (isParam(value)) {
      const known = keyOf.get(value);
      if (known) throw new Error(`one parameter is both "${known}" and "${key}"`);
      keyOf.set(value, key);
      found.set(key, value);
    } else if (
      value !== null && typeof value === "object" && !(value instanceof Tensor) && !ArrayBuffer.isView(value)
    ) {
      for (const [field, child] of Object.entries(value)) walk(child, key ? `${key}.${field}` : field);
    }
  };
  walk(module, prefix);
  return found;
}

/** The parameters of a module, in order of declaration. */
export const params = (module: object): Param[] => [...byKey(module, "").values()];

/** Values by key: what a checkpoint holds. */
export type StateDict = ReadonlyMap<
  string,
  { readonly shape: Shape; readonly data: Float32Array<ArrayBuffer> }
>;

/** Keys that did not fit. */
export interface LoadReport {
  /** In the module, not in the state dict. */
  readonly missing: readonly string[];
  /** In the state dict, not in the module. */
  readonly unexpected: readonly string[];
}

/**
 * Sets the initial values of a module's parameters from a state dict.
 *
 * @param options.strict False: missing and unexpected keys are reported, not refused, as published checkpoints need it.
 * @param options.prefix Put before the module's keys: `"clip"` reads `clip.ln_final.weight`.
 * @throws {DataError} If a shape differs, or, when strict, a key is missing or unexpected. Nothing is changed then.
 */
export function loadStateDict(
  module: object,
  tensors: StateDict,
  { strict = true, prefix = "" }: { strict?: boolean; prefix?: string } = {},
): LoadReport {
  const own = byKey(module, prefix);
  const missing = [...own.keys()].filter((key) => !tensors.has(key));
  const unexpected = [...tensors.keys()].filter((key) => !own.has(key));
  const misshaped = [...own].flatMap(([key, { shape }]) => {
    const got = tensors.get(key)?.shape;
    return got && !sameShape(got, shape) ? [`${key}: ${showShape(got)} instead of ${showShape(shape)}`] : [];
  });
  const problems = [
    ...list("of another shape", misshaped),
    ...(strict ? [...list("missing", missing), ...list("unexpected", unexpected)] : []),
  ];
  if (problems.length > 0) throw new DataError(`the state dict does not fit: ${problems.join("; ")}`);
  for (const [key, param] of own) {
    const tensor = tensors.get(key);
    if (tensor) param.source.data = tensor.data;
  }
  return { missing, unexpected };
}

/** `3 missing (a, b, c)`; the first eight by name. */
function list(what: string, keys: readonly string[]): string[] {
  if (keys.length === 0) return [];
  const shown = keys.slice(0, 8).join(", ") + (keys.length > 8 ? ", ..." : "");
  return [`${keys.length} ${what} (${shown})`];
}
