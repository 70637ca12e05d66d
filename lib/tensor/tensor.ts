/** Symbolic tensors: a shape, a dtype, and where the value comes from. Nothing here touches a GPU. */
import { ShapeError } from "../core/errors.ts";
import { type DType, type Shape, showShape, sizeOf, type TensorSpec } from "../core/shape.ts";
import type { Node } from "./op.ts";

/** Data of a constant or of a parameter's initial value. */
export type TensorData = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

/** Where a tensor's value comes from. */
export type Source =
  | { readonly kind: "input"; readonly name: string }
  | { readonly kind: "constant"; readonly data: TensorData }
  | ParamSource
  | ShardSource
  | { readonly kind: "gradient"; readonly param: Param }
  | { readonly kind: "op"; readonly node: Node; readonly index: number };

/** A parameter: a value that outlives a plan. `name` is its state-dict key, set by `named`. */
export interface ParamSource {
  readonly kind: "param";
  /** Initial value, row major; after a `loadStateDict` the loaded one. The GPU's copy lives in `State`. */
  data: Float32Array<ArrayBuffer>;
  name: string;
}

/** A whole state buffer: only the optimiser's nodes read and write these. */
export interface ShardSource {
  readonly kind: "shard";
  readonly buffer: "param" | "grad" | "m" | "v" | "steps" | "status";
  /** Index of the shard in the state's list. */
  readonly shard: number;
}

/** A value in the graph. Calling an op on it runs nothing: it makes a new `Tensor`. */
export class Tensor implements TensorSpec {
  readonly shape: Shape;
  readonly dtype: DType;
  /** What makes the value: an op, or where it comes from. */
  readonly source: Source;
  constructor(spec: TensorSpec, source: Source) {
    this.shape = spec.shape;
    this.dtype = spec.dtype;
    this.source = source;
  }
}

/** A tensor that is trained or loaded. */
export interface Param extends Tensor {
  /** The initial value, and the name that messages use. */
  readonly source: ParamSource;
}

export const isParam = (x: unknown): x is Param => x instanceof Tensor && x.source.kind === "param";

/** The place of a parameter's gradient in the state: only nodes without outputs read and write it. */
export const gradientOf = (param: Param): Tensor => new Tensor(param, { kind: "gradient", param });

const checkLength = (data: TensorData, shape: Shape) => {
  if (data.length !== sizeOf(shape)) {
    throw new ShapeError(`${data.length} values do not fill the shape ${showShape(shape)}`);
  }
};

/** A parameter with its initial value, row major. @throws {ShapeError} If the value does not fill the shape. */
export function param(shape: Shape, data: Float32Array<ArrayBuffer>): Param {
  checkLength(data, shape);
  return new Tensor({ shape, dtype: "f32" }, { kind: "param", data, name: "" }) as Param;
}

/** A value fixed at trace time; uploaded once a plan. The dtype follows the array's type. */
export function constant(shape: Shape, data: TensorData): Tensor {
  checkLength(data, shape);
  const dtype = data instanceof Float32Array ? "f32" : data instanceof Uint32Array ? "u32" : "i32";
  return new Tensor({ shape, dtype }, { kind: "constant", data });
}

/** A value that is written before each run. */
export const input = (name: string, spec: TensorSpec): Tensor => new Tensor(spec, { kind: "input", name });
