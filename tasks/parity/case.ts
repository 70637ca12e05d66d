/** One case computed with PyTorch: inputs, parameters, expected values. The format: `tests/oracle/README.md`. */
import { DataError } from "../../lib/core/errors.ts";
import { sameShape, type Shape, showShape } from "../../lib/core/shape.ts";
import { readSafetensors, type SafetensorsFile, tensorOf } from "../../lib/io/safetensors.ts";
import type { StateDict } from "../../lib/nn/module.ts";
import type { InputValue } from "../../lib/plan/compile.ts";

/** Values by key: `out.y`, `grad.param.weight`. */
export type Values = ReadonlyMap<string, { readonly shape: Shape; readonly data: ArrayLike<number> }>;

/** What an operation gave: values to compare, and what is wrong beyond them. */
export interface Actual {
  readonly values: Values;
  readonly problems?: readonly string[];
}

/** A case file. */
export class OracleCase {
  readonly name: string;
  readonly op: string;
  readonly objective: string;
  /** Largest allowed absolute difference, for each tensor that is compared. */
  readonly tolerances: ReadonlyMap<string, number>;
  readonly #file: SafetensorsFile;
  readonly config: Readonly<Record<string, unknown>>;

  /** @throws {DataError} If the file is not a case. */
  constructor(file: SafetensorsFile) {
    const text = (key: string) => {
      const value = file.metadata[key];
      if (value === undefined) throw new DataError(`${file.name}: no metadata "${key}"`);
      return value;
    };
    this.#file = file;
    this.name = (file.name.split(/[/\\]/).pop() ?? file.name).replace(/\.safetensors$/, "");
    this.op = text("op");
    this.objective = text("objective");
    this.config = record(JSON.parse(text("config")), "config");
    this.tolerances = new Map(
      Object.entries(record(JSON.parse(text("tolerances")), "tolerances")).map(([key, value]) => {
        const { atol } = record(value, key);
        if (typeof atol !== "number" || !(atol >= 0)) {
          throw new DataError(`${file.name}: tolerance of "${key}"`);
        }
        return [key, atol];
      }),
    );
  }

  static async read(path: string): Promise<OracleCase> {
    return new OracleCase(await readSafetensors(path));
  }

  has(key: string): boolean {
    return this.#file.tensors.has(key);
  }
  shape(key: string): Shape {
    return this.#tensor(key).shape;
  }
  /** A tensor of numbers, whatever its type. */
  tensor(key: string): { shape: Shape; data: ArrayLike<number> } {
    const { shape, data } = this.#tensor(key);
    if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
      throw new DataError(`"${key}" is 64 bits wide`);
    }
    return { shape, data };
  }
  f32(key: string): { shape: Shape; data: Float32Array<ArrayBuffer> } {
    return tensorOf(this.#file, key, "F32");
  }
  i32(key: string): { shape: Shape; data: Int32Array<ArrayBuffer> } {
    return tensorOf(this.#file, key, "I32");
  }
  #tensor(key: string) {
    const tensor = this.#file.tensors.get(key);
    if (!tensor) throw new DataError(`${this.name}: no tensor "${key}"`);
    return tensor;
  }
  /** Names behind a prefix, `in.` for example. */
  names(prefix: string): string[] {
    return [...this.#file.tensors.keys()].flatMap((key) =>
      key.startsWith(prefix) ? [key.slice(prefix.length)] : []
    );
  }

  /** The inputs of the operation; integers become u32. The cotangents are not among them: see `cotangents`. */
  inputs(): Record<string, InputValue> {
    return Object.fromEntries(
      this.names("in.").filter((name) => !isCotangent(name)).map((name) => [name, this.#input(`in.${name}`)]),
    );
  }
  /** The fixed weights of the objective. */
  cotangents(): Record<string, InputValue> {
    return Object.fromEntries(
      this.names("in.").filter(isCotangent).map((name) => [name, this.#input(`in.${name}`)]),
    );
  }
  #input(key: string): InputValue {
    const { shape, data } = this.#tensor(key);
    if (data instanceof Float32Array) return { shape, data };
    if (data instanceof Int32Array && data.every((n) => n >= 0)) {
      return { shape, data: Uint32Array.from(data) };
    }
    throw new DataError(`${this.name}: "${key}" is neither f32 nor non-negative i32`);
  }
  /** The parameters, by state-dict key. */
  stateDict(): StateDict {
    return new Map(this.names("param.").map((key) => [key, this.f32(`param.${key}`)]));
  }

  /** A number of the configuration. */
  number(key: string, within: Readonly<Record<string, unknown>> = this.config): number {
    const value = within[key];
    if (typeof value !== "number") {
      throw new DataError(`${this.name}: config "${key}" is ${JSON.stringify(value)}`);
    }
    return value;
  }
  string(key: string): string {
    const value = this.config[key];
    if (typeof value !== "string") {
      throw new DataError(`${this.name}: config "${key}" is ${JSON.stringify(value)}`);
    }
    return value;
  }
  /** A list of strings; empty if it is not there. */
  strings(key: string): string[] {
    return list(this.config[key] ?? []).map(String);
  }
  list(key: string): unknown[] {
    return list(this.config[key]);
  }
  record(key: string): Record<string, unknown> {
    return record(this.config[key], key);
  }
}

const isCotangent = (name: string): boolean => name.startsWith("cotangent");

/** An unknown JSON value as an object. */
export function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new DataError(`${what} is ${JSON.stringify(value)?.slice(0, 80)}, expected an object`);
}

/** An unknown JSON value as a list. */
export function list(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  throw new DataError(`${JSON.stringify(value)?.slice(0, 80)} is no list`);
}

/** How a case came out: its worst tensor, or what is wrong. */
export interface Verdict {
  readonly isOk: boolean;
  readonly worst: string;
  readonly error: number;
  readonly tolerance: number;
  readonly problems: readonly string[];
}

/**
 * Compares what an operation gave with what PyTorch gave. An output or gradient that is expected and missing fails, as
 * does a gradient, of zeros too, where PyTorch has none. Auxiliary values are compared where they are given.
 */
export function compare(expected: OracleCase, { values, problems = [] }: Actual): Verdict {
  const found = [...problems];
  let worst = { key: "-", error: 0, tolerance: 0, ratio: -1 };
  for (const [key, tolerance] of expected.tolerances) {
    const got = values.get(key);
    if (!got) {
      if (!key.startsWith("aux.")) found.push(`${key} is missing`);
      continue;
    }
    const { shape, data } = expected.tensor(key);
    if (!sameShape(got.shape, shape)) {
      found.push(`${key} is ${showShape(got.shape)}, expected ${showShape(shape)}`);
      continue;
    }
    const error = largestDifference(got.data, data);
    const ratio = Number.isNaN(error) ? Infinity : error === 0 ? 0 : error / tolerance;
    if (ratio > worst.ratio) worst = { key, error, tolerance, ratio };
    if (!(error <= tolerance)) {
      found.push(`${key}: ${error.toExponential(3)} > ${tolerance.toExponential(3)}`);
    }
  }
  if (worst.ratio < 0) found.push("nothing was compared");
  for (const key of expected.strings("no_grad")) {
    if (values.has(`grad.${key}`)) found.push(`${key} has a gradient; PyTorch has none`);
  }
  return {
    isOk: found.length === 0,
    worst: worst.key,
    error: worst.error,
    tolerance: worst.tolerance,
    problems: found,
  };
}

/** NaN if any difference is not a number, so that no comparison holds. */
function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < b.length; i++) {
    const d = Math.abs(a[i] - b[i]);
    if (!(d <= largest)) largest = d;
    if (Number.isNaN(d)) return NaN;
  }
  return largest;
}
