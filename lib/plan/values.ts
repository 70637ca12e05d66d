/** Typed arrays beside tensors: what goes up and what comes back. */
import { ShapeError } from "../core/errors.ts";
import { type DType, showShape, sizeOf, type TensorSpec } from "../core/shape.ts";
import { STEP_BYTES } from "../gpu/kernel.ts";
import type { TensorData } from "../tensor/tensor.ts";

/** Bindings are multiples of 16 bytes, so that any of them can be seen as `vec4`s. */
export const padded = (bytes: number): number => Math.max(16, Math.ceil(bytes / 16) * 16);

/** `n` elements of a buffer from byte `offset`, as the array of their dtype. */
export function typed(dtype: DType, data: ArrayBuffer, offset = 0, n = data.byteLength / 4): TensorData {
  switch (dtype) {
    case "f32":
      return new Float32Array(data, offset, n);
    case "u32":
      return new Uint32Array(data, offset, n);
    case "i32":
      return new Int32Array(data, offset, n);
  }
}

/** The dtype of an array. */
export const dtypeOf = (data: TensorData): DType =>
  data instanceof Float32Array ? "f32" : data instanceof Uint32Array ? "u32" : "i32";

/** @throws {ShapeError} If the values of an input are missing or do not fit. */
export function checkInput(
  name: string,
  spec: TensorSpec,
  data: TensorData | undefined,
): asserts data is TensorData {
  const { shape, dtype } = spec;
  if (!data) throw new ShapeError(`input "${name}" ${showShape(shape)} is missing`);
  if (dtypeOf(data) !== dtype) throw new ShapeError(`input "${name}" is ${dtype}, got ${dtypeOf(data)}`);
  if (data.length !== sizeOf(shape)) {
    throw new ShapeError(`input "${name}" is ${showShape(shape)}, got ${data.length} values`);
  }
}

/** Per-step values that are not tensors. */
export interface StepInfo {
  /** Number of the step: the counter of its random numbers. */
  readonly index?: number;
  /** Learning rate of each group, at most 16. */
  readonly learningRates?: readonly number[];
  /** A step in parts: which one this is, from 0, and the row of the batch where it begins. */
  readonly part?: number;
  readonly firstRow?: number;
}

/** The step uniform: `kernels/prelude/step.wgsl`. */
export function packStep({ index = 0, learningRates = [], part = 0, firstRow = 0 }: StepInfo, seed: number) {
  const step = new DataView(new ArrayBuffer(STEP_BYTES));
  [index, seed, firstRow, part].forEach((value, i) => step.setUint32(4 * i, value, true));
  learningRates.forEach((lr, i) => step.setFloat32(16 + 4 * i, lr, true));
  return step;
}
