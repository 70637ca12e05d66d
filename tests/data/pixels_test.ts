import assert from "node:assert/strict";
import { ShapeError } from "../../lib/core/errors.ts";
import { shrink } from "../../lib/data/image.ts";
import { Pixels } from "../../lib/data/pixels.ts";

/** Three pictures of 4 × 4 whose values say where they come from. */
const SIZE = 4;
const bytes = Uint8Array.from({ length: 3 * SIZE * SIZE * 3 }, (_, i) => i);
const pictures = new Pixels(bytes, SIZE);

Deno.test("Pixels.read() copies pictures in the order of their numbers", () => {
  const into = new Uint8Array(2 * 48);
  pictures.read([2, 0], { pixels: into });
  assert.deepEqual([...into], [...bytes.subarray(96), ...bytes.subarray(0, 48)]);
});

Deno.test("Pixels.readPixels() scales to -1..1 and shows white outside, at every shift", () => {
  const into = new Float32Array(2 * 48);
  for (const x of [-5, -2, -1, 0, 1, 2, 5]) {
    for (const y of [-5, -2, 0, 1, 5]) {
      pictures.readPixels([1, 2], { x, y }, into.fill(NaN));
      for (let i = 0; i < into.length; i++) {
        const [image, row, column, channel] = [
          Math.floor(i / 48),
          Math.floor(i / 12) % 4,
          Math.floor(i / 3) % 4,
          i % 3,
        ];
        const [r, c] = [row + y, column + x];
        const isInside = r >= 0 && r < SIZE && c >= 0 && c < SIZE;
        const expected = isInside ? bytes[(image + 1) * 48 + (r * SIZE + c) * 3 + channel] / 127.5 - 1 : 1;
        assert.equal(into[i], Math.fround(expected), `shift ${x}, ${y}; value ${i}`);
      }
    }
  }
});

Deno.test("Pixels refuses half pictures, arrays of another length, unknown fields and numbers", () => {
  assert.throws(() => new Pixels(new Uint8Array(47), SIZE), ShapeError);
  assert.throws(() => pictures.readPixels([0], { x: 0, y: 0 }, new Float32Array(47)), ShapeError);
  assert.throws(() => pictures.read([0], { tokens: new Float32Array(48) }), ShapeError);
  assert.throws(() => pictures.image(3), RangeError);
});

Deno.test("shrink() is the rounded mean of each square", () => {
  const rgb = Uint8Array.from([0, 10, 255, 1, 10, 255, 2, 20, 255, 4, 20, 254]); // 2 × 2
  assert.deepEqual([...shrink(rgb, 2, 2)], [2, 15, 255]);
  assert.deepEqual([...shrink(rgb, 2, 1)], [...rgb]);
});
