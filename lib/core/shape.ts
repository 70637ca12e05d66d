/** Shapes and dtypes: plain data and the rules of broadcasting. */
import { ShapeError } from "./errors.ts";

/** Sizes of the axes, outermost first. `[]` is a scalar. */
export type Shape = readonly number[];
/** Element types of GPU tensors; all are 4 bytes wide. */
export type DType = "f32" | "u32" | "i32";
/** What a shape rule needs of a tensor. */
export interface TensorSpec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Number of elements. */
export const sizeOf = (shape: Shape): number => shape.reduce((a, b) => a * b, 1);
/** Bytes of a tensor: 4 an element. */
export const bytesOf = (spec: TensorSpec): number => 4 * sizeOf(spec.shape);
/** `[2, 3]` as text. */
export const showShape = (shape: Shape): string => `[${shape.join(", ")}]`;
export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i]);

/** `[..., C]` seen as `[R, C]`. A scalar is `[1, 1]`. */
export function rowsCols(shape: Shape): [number, number] {
  const C = shape.at(-1) ?? 1;
  return [C === 0 ? 0 : sizeOf(shape) / C, C];
}

/** A negative axis counts from the end. */
export function axisOf(axis: number, rank: number): number {
  const a = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(a) || a < 0 || a >= rank) {
    throw new ShapeError(`axis ${axis} is outside a tensor of rank ${rank}`);
  }
  return a;
}

/** The common shape of two operands under NumPy's rules. */
export function broadcastShapes(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1, y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(`shapes ${showShape(a)} and ${showShape(b)} do not broadcast`);
    }
    return x === 1 ? y : x;
  });
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let n = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = n;
    n *= shape[i];
  }
  return strides;
}
