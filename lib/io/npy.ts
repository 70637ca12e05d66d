/** NumPy's `.npy`, for programs that read no safetensors: FAISS scripts, notebooks. */
import { ShapeError } from "../core/errors.ts";

/**
 * The pieces of a `.npy` file (format 1.0) of f32 numbers, row by row: `numpy.load` gives the array back.
 *
 * Source: NumPy, numpy/lib/format.py. The header is padded so that the numbers begin at a multiple of 64 bytes.
 *
 * @throws {ShapeError} If the numbers do not fill the shape.
 *
 * @example Usage
 * ```ts
 * const [head, data] = npyPieces([2, 1], new Float32Array([1, 2]));
 * if (head.length % 64 !== 0 || data.length !== 8) throw new Error("npyPieces");
 * ```
 */
export function npyPieces(
  shape: readonly number[],
  data: Float32Array,
): [head: Uint8Array, data: Uint8Array] {
  const elements = shape.reduce((a, b) => a * b, 1);
  if (data.length !== elements) {
    throw new ShapeError(`${data.length} numbers for an array of [${shape.join(", ")}]`);
  }
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${sizes}), }`;
  const prefix = 10, length = Math.ceil((prefix + text.length + 1) / 64) * 64 - prefix;
  const head = new Uint8Array(prefix + length);
  head.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, length & 255, length >> 8]);
  head.set(new TextEncoder().encode(text.padEnd(length - 1) + "\n"), prefix);
  return [head, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
}
