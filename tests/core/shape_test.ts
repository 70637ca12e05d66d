import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { ShapeError } from "../../lib/core/errors.ts";
import {
  axisOf,
  broadcastShapes,
  bytesOf,
  rowsCols,
  sameShape,
  showShape,
  sizeOf,
  stridesOf,
} from "../../lib/core/shape.ts";

Deno.test("sizeOf(), bytesOf(), showShape() count a scalar as one element", () => {
  strictEqual(sizeOf([]), 1);
  strictEqual(sizeOf([3, 5, 7]), 105);
  strictEqual(sizeOf([3, 0]), 0);
  strictEqual(bytesOf({ shape: [3, 5], dtype: "u32" }), 60);
  strictEqual(showShape([2, 3]), "[2, 3]");
  strictEqual(showShape([]), "[]");
});

Deno.test("sameShape() compares rank and sizes", () => {
  strictEqual(sameShape([2, 3], [2, 3]), true);
  strictEqual(sameShape([2, 3], [2, 3, 1]), false);
  strictEqual(sameShape([2, 3], [3, 2]), false);
});

Deno.test("rowsCols() folds the leading axes", () => {
  deepStrictEqual(rowsCols([2, 3, 5]), [6, 5]);
  deepStrictEqual(rowsCols([7]), [1, 7]);
  deepStrictEqual(rowsCols([]), [1, 1]);
  deepStrictEqual(rowsCols([4, 0]), [0, 0]);
});

Deno.test("axisOf() counts from both ends and refuses what is outside", () => {
  strictEqual(axisOf(-1, 3), 2);
  strictEqual(axisOf(0, 3), 0);
  for (const axis of [3, -4, 0.5]) throws(() => axisOf(axis, 3), ShapeError);
});

Deno.test("broadcastShapes() follows NumPy's rules", () => {
  deepStrictEqual(broadcastShapes([4, 1, 3], [5, 1]), [4, 5, 3]);
  deepStrictEqual(broadcastShapes([], [2]), [2]);
  deepStrictEqual(broadcastShapes([1], [0]), [0]);
  throws(() => broadcastShapes([2, 3], [4, 3]), {
    name: "ShapeError",
    message: "shapes [2, 3] and [4, 3] do not broadcast",
  });
});

Deno.test("stridesOf() is row-major", () => {
  deepStrictEqual(stridesOf([2, 3, 5]), [15, 5, 1]);
  deepStrictEqual(stridesOf([]), []);
});
