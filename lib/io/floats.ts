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
    case "F16":
      return new Float32Array(new Float16Array(buffer, byteOffset, length));
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
