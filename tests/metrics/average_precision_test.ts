import { strictEqual, throws } from "node:assert/strict";
import { Random } from "../../lib/core/random.ts";
import { averagePrecisionAt } from "../../lib/metrics/average_precision.ts";

/** By the formula, term by term. */
function naive(top: number[], targets: number[], k: number): number {
  let sum = 0;
  for (let rank = 1; rank <= k; rank++) {
    const isRight = targets.includes(top[rank - 1]);
    const precision = top.slice(0, rank).filter((image) => targets.includes(image)).length / rank;
    sum += isRight ? precision : 0;
  }
  return 100 * sum / Math.min(k, targets.length);
}

Deno.test("averagePrecisionAt() agrees with its formula, also below k targets and above", () => {
  const random = new Random(5, "mAP");
  for (let i = 0; i < 300; i++) {
    const order = [...random.permutation(30)];
    const targets = [...random.permutation(30)].slice(0, 1 + random.nextInt(9));
    for (const k of [1, 5, 10, 30]) {
      const ap = averagePrecisionAt(order, targets, k);
      if (Math.abs(ap - naive(order, targets, k)) > 1e-9) throw new Error(`${ap} at ${k}`);
    }
  }
});

Deno.test("averagePrecisionAt() of one target is the reciprocal rank, and 100 where all come first", () => {
  strictEqual(averagePrecisionAt([4, 8, 2, 6], [6], 5), 25);
  strictEqual(averagePrecisionAt([4, 8, 2, 6], [6], 3), 0);
  strictEqual(averagePrecisionAt([4, 8, 2, 6], [8, 4], 5), 100);
  strictEqual(averagePrecisionAt([4, 8], [8, 4, 1], 2), 100); // k below the number of targets
  throws(() => averagePrecisionAt([1], [], 5), /none or not distinct/);
  throws(() => averagePrecisionAt([1], [1, 1], 5), /none or not distinct/);
  throws(() => averagePrecisionAt([1], [1], 0), /positive integer/);
});
