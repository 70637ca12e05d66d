import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { npyPieces } from "../../lib/io/npy.ts";

Deno.test("npyPieces() writes the bytes that NumPy 1.x and 2.x write", () => {
  // numpy.save of numpy.array([[1, 2, 3]], dtype="<f4")
  const [head, data] = npyPieces([1, 3], new Float32Array([1, 2, 3]));
  const latin1 = (bytes: Uint8Array) => String.fromCharCode(...bytes);
  const text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }";
  strictEqual(latin1(head), `\x93NUMPY\x01\x00v\x00${text.padEnd(117)}\n`);
  deepStrictEqual([...data], [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40]);
  const one = latin1(npyPieces([2], new Float32Array(2))[0]);
  strictEqual(one.includes("'shape': (2,), }"), true);
  throws(() => npyPieces([2, 2], new Float32Array(3)), /3 numbers for an array of \[2, 2\]/);
});
