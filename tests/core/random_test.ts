import { deepStrictEqual, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { hashString, philox, Random } from "../../lib/core/random.ts";

Deno.test("philox() gives the known answers of its authors", () => {
  // The three philox4x32-10 vectors of Random123 1.09, tests/kat_vectors.
  const vectors: [Parameters<typeof philox>[0], Parameters<typeof philox>[1], number[]][] = [
    [[0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ];
  for (const [counter, key, expected] of vectors) deepStrictEqual(philox(counter, key), expected);
});

Deno.test("Random: a number is a function of seed, stream and position, whatever was asked before", () => {
  const walked = new Random(42, "init"), asked = new Random(42, "init");
  const numbers = Array.from({ length: 11 }, () => walked.nextU32());
  for (const i of [10, 3, 4, 0, 7, 1, 10]) strictEqual(asked.at(i), numbers[i]);
  strictEqual(new Random(42, hashString("init")).at(5), numbers[5]);
  notStrictEqual(new Random(42, "other").at(0), numbers[0]);
  notStrictEqual(new Random(43, "init").at(0), numbers[0]);
});

Deno.test("Random: positions above 2^34 do not repeat the low ones", () => {
  const random = new Random(1, 2);
  notStrictEqual(random.at(2 ** 34), random.at(0));
});

Deno.test("Random: uniform and normal numbers have their moments", () => {
  const N = 20_000;
  const moments = (x: Float32Array) => {
    const mean = x.reduce((a, b) => a + b, 0) / N;
    return [mean, x.reduce((a, b) => a + (b - mean) ** 2, 0) / N];
  };
  const uniform = new Random(7, "u").uniform(N, -1, 3);
  ok(uniform.every((v) => v >= -1 && v < 3));
  const [mu, vu] = moments(uniform); // 1 and 16/12, within 5 standard errors
  ok(Math.abs(mu - 1) < 5 * Math.sqrt(16 / 12 / N), `mean ${mu}`);
  ok(Math.abs(vu - 16 / 12) < 5 * Math.sqrt((256 / 80 - (16 / 12) ** 2) / N), `variance ${vu}`);
  const [mn, vn] = moments(new Random(7, "n").normal(N, 2, 0.5)); // 2 and 0.25
  ok(Math.abs(mn - 2) < 5 * 0.5 / Math.sqrt(N), `mean ${mn}`);
  ok(Math.abs(vn - 0.25) < 5 * 0.25 * Math.sqrt(2 / N), `variance ${vn}`);
});

Deno.test("Random: nextInt() and permutation() stay in range, and each value comes up", () => {
  const random = new Random(3);
  const seen = new Set(Array.from({ length: 300 }, () => random.nextInt(6)));
  deepStrictEqual([...seen].sort(), [0, 1, 2, 3, 4, 5]);
  const p = random.permutation(257);
  deepStrictEqual([...p].sort((a, b) => a - b), Array.from({ length: 257 }, (_, i) => i));
  ok([...p].some((v, i) => v !== i));
});
