import assert from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { cosineLr } from "../../lib/train/schedule.ts";

Deno.test("cosineLr() climbs back after its minimum, as released", () => {
  const factor = (epoch: number) => cosineLr(epoch, { initLr: 1, maxEpoch: 15 });
  const expected = [[0, 1], [5, 0.75], [10, 0.25], [14, 0.0109], [15, 0], [16, 0.0109], [20, 0.25], [
    25,
    0.75,
  ], [29, 0.989]];
  for (const [epoch, value] of expected) {
    assert.ok(Math.abs(factor(epoch) - value) < 1e-4, `${epoch}: ${factor(epoch)}`);
  }
});

Deno.test("cosineLr() can stay at its minimum", () => {
  const options = { initLr: 2, minLr: 0.5, maxEpoch: 4, afterMax: "hold" } as const;
  assert.equal(cosineLr(0, options), 2);
  assert.equal(cosineLr(4, options), 0.5);
  assert.equal(cosineLr(9, options), 0.5);
});

Deno.test("cosineLr() needs a positive period", () => {
  assert.throws(() => cosineLr(0, { initLr: 1, maxEpoch: 0 }), ConfigError);
});
