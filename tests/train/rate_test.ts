import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { warmupCosine } from "../../lib/train/rate.ts";

Deno.test("warmupCosine() rises by equal parts, then falls along half a cosine to 0", () => {
  const rate = warmupCosine({ warmup: 4, steps: 100 });
  const at = (step: number) => rate({ step, epoch: 0 });
  ok(Math.abs(at(1) - 0.5 * 0.5 * (1 + Math.cos(Math.PI / 100))) < 1e-15);
  strictEqual(at(50), 0.5 * (1 + Math.cos(Math.PI / 2)));
  strictEqual(at(100), 0);
  for (let step = 4; step < 100; step++) ok(at(step) < at(step - 1) || step === 4);
  deepStrictEqual(warmupCosine({ warmup: 0, steps: 2 })({ step: 0, epoch: 0 }), 1);
  throws(() => warmupCosine({ warmup: 0, steps: 0 }), ConfigError);
  throws(() => warmupCosine({ warmup: -1, steps: 1 }), ConfigError);
});
