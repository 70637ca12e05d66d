/** Stored floating-point numbers as f32. */
import { DataError } from "../core/errors.ts";
import type { StoredTensor } from "./stored_tensor.ts";

/**
 * A tensor's elements as f32: f16 and bf16 widened exactly, f64 rounded, f32 the same memory.
 *
 * @param key What errors call the tensor.
 * @throws {DataError} If its elements are whole numbers or 8-bit floats.
 *
 * @example Usage
 * ```ts
 * const half = { dtype: "F16", shape: [2], data: new Uint16Array([0x3e00, 0xc000]) } as const;
 * if (toFloat32(half, "w").join() !== "1.5,-2") throw new Error("toFloat32");
 * ```
 */
export function toFloat32({ dtype, data }: StoredTensor, key: string): Float32Array<ArrayBuffer> {
  const { buffer, byteOffset, length } = data;
  switch (dtype) {
    case "F32":
      return new Float32Array(buffer as ArrayBuffer, byteOffset, length);
    case "F16": {
      const wide = new Float32Array(length);
      widenHalf(new Uint16Array(buffer, byteOffset, length), wide);
      return wide;
    }
    case "BF16": {
      const bits = new Uint32Array(length); // bf16 is the upper half of an f32
      for (let i = 0; i < length; i++) bits[i] = data[i] << 16;
      return new Float32Array(bits.buffer);
    }
    case "F64":
      return Float32Array.from(data);
    default:
      throw new DataError(`tensor "${key}" is ${dtype}, expected floating-point numbers`);
  }
}

/** The f32 of each of the 65,536 f16: made when first asked for. */
let widened: Float32Array | undefined;

/**
 * f16 to f32, exactly. By a table of 256 KiB: three times as fast as `Float32Array.set` of a `Float16Array` (V8 15).
 *
 * @param half Bits.
 * @param into As long as `half`.
 */
export function widenHalf(half: Uint16Array, into: Float32Array): void {
  const table = widened ??= new Float32Array(
    new Float16Array(Uint16Array.from({ length: 65536 }, (_, bits) => bits).buffer),
  );
  for (let i = 0; i < half.length; i++) into[i] = table[half[i]];
}

/** f32 to the bits of the nearest f16, ties to even; beyond 65,504 infinity. */
export const narrowToHalf = (values: Float32Array): Uint16Array<ArrayBuffer> =>
  new Uint16Array(new Float16Array(values).buffer);
