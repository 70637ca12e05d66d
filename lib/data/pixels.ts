/** Small pictures held in memory, read as they are or as the model wants them. */
import { ShapeError } from "../core/errors.ts";
import type { ImageField, ImageSource } from "./image_source.ts";

/** How far the window is moved over the picture, in pixels; what lies outside is white. */
export interface Shift {
  readonly x: number;
  readonly y: number;
}

const SCALED = Float32Array.from({ length: 256 }, (_, v) => v / 127.5 - 1);
const WHITE = 1;

/**
 * Square RGB pictures of one size, `[count, size, size, 3]` u8. The one field is `pixels`.
 *
 * @example Usage
 * ```ts
 * const white = new Pixels(new Uint8Array(2 * 2 * 3).fill(255), 2);
 * const into = new Float32Array(2 * 2 * 3);
 * white.readPixels([0], { x: 1, y: 0 }, into);
 * if (into.some((v) => v !== 1)) throw new Error("readPixels");
 * ```
 */
export class Pixels implements ImageSource {
  readonly count: number;
  readonly fields: Readonly<Record<"pixels", ImageField>>;
  #imageSize: number;

  /** @throws {ShapeError} If the bytes are not whole pictures. */
  constructor(readonly bytes: Uint8Array, readonly size: number) {
    this.#imageSize = size * size * 3;
    this.count = bytes.length / this.#imageSize;
    if (!Number.isInteger(this.count)) {
      throw new ShapeError(`${bytes.length} bytes are no pictures of [${size}, ${size}, 3]`);
    }
    this.fields = { pixels: { shape: [size, size, 3], dtype: "u8" } };
  }

  /** One picture, `[size, size, 3]`: a view, not a copy. */
  image(id: number): Uint8Array {
    if (!(id >= 0 && id < this.count)) throw new RangeError(`image ${id} of ${this.count}`);
    return this.bytes.subarray(id * this.#imageSize, (id + 1) * this.#imageSize);
  }

  read(ids: ArrayLike<number>, into: Record<string, Uint8Array | Float32Array>): void {
    for (const [field, array] of Object.entries(into)) {
      if (field !== "pixels") {
        throw new ShapeError(`field ${JSON.stringify(field)}: pictures have only "pixels"`);
      }
      this.#checkLength(ids, array);
      for (let i = 0; i < ids.length; i++) array.set(this.image(ids[i]), i * this.#imageSize);
    }
  }

  /**
   * Pictures for the model: `v / 127.5 - 1`, so white is 1, seen through a shifted window.
   *
   * @param into `[ids.length, size, size, 3]`.
   */
  readPixels(ids: ArrayLike<number>, shift: Shift, into: Float32Array): void {
    this.#checkLength(ids, into);
    const { size } = this, rowSize = size * 3;
    const left = Math.min(Math.max(-shift.x, 0), size) * 3; // white values at the start of a row
    const right = Math.max(rowSize - Math.max(shift.x, 0) * 3, left); // and from here to its end
    for (let i = 0, out = 0; i < ids.length; i++) {
      const image = this.image(ids[i]);
      for (let y = 0; y < size; y++, out += rowSize) {
        const from = (y + shift.y) * rowSize + shift.x * 3;
        if (y + shift.y < 0 || y + shift.y >= size) {
          into.fill(WHITE, out, out + rowSize);
          continue;
        }
        into.fill(WHITE, out, out + left);
        for (let k = left; k < right; k++) into[out + k] = SCALED[image[from + k]];
        into.fill(WHITE, out + right, out + rowSize);
      }
    }
  }

  #checkLength(ids: ArrayLike<number>, array: ArrayLike<number>): void {
    if (array.length !== ids.length * this.#imageSize) {
      throw new ShapeError(
        `pixels: ${ids.length} pictures take ${
          ids.length * this.#imageSize
        } values, the array has ${array.length}`,
      );
    }
  }
}
