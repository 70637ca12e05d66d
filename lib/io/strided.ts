/** Views of a storage: which elements, in which order. Offsets and strides count elements. */
import { sizeOf, stridesOf } from "../core/shape.ts";

/** Shape and strides of a view. */
export interface Strided {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** Elements from the first to the last that the view reads. */
export function spanOf({ shape, strides }: Strided): number {
  return sizeOf(shape) === 0 ? 0 : shape.reduce((sum, n, i) => sum + (n - 1) * strides[i], 1);
}

/** True if the view is row major without gaps. The stride of an axis of size 1 says nothing. */
export function isContiguous({ shape, strides }: Strided): boolean {
  const packed = stridesOf(shape);
  return sizeOf(shape) === 0 || shape.every((n, i) => n === 1 || strides[i] === packed[i]);
}

/**
 * A view's elements, row major.
 *
 * @param bytes The view's span.
 * @param width Bytes an element: 1, 2, 4 or 8.
 *
 * @example Usage
 * ```ts
 * const transposed = gatherStrided(new Uint8Array([1, 2, 3, 4, 5, 6]), { shape: [3, 2], strides: [1, 3] }, 1);
 * if (transposed.join() !== "1,4,2,5,3,6") throw new Error("gatherStrided");
 * ```
 */
export function gatherStrided(
  bytes: Uint8Array<ArrayBuffer>,
  { shape, strides }: Strided,
  width: number,
): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(sizeOf(shape) * width);
  if (out.length === 0) return out;
  const Words = width === 8
    ? BigUint64Array
    : width === 4
    ? Uint32Array
    : width === 2
    ? Uint16Array
    : Uint8Array;
  const from = new Words(bytes.buffer, bytes.byteOffset, bytes.length / width), to = new Words(out.buffer);
  const index = new Array<number>(shape.length).fill(0);
  for (let i = 0, at = 0; i < to.length; i++) {
    to[i] = from[at];
    for (let axis = shape.length - 1; axis >= 0; axis--) { // the next index: like a counter with carry
      at += strides[axis];
      if (++index[axis] < shape[axis]) break;
      at -= shape[axis] * strides[axis];
      index[axis] = 0;
    }
  }
  return out;
}
