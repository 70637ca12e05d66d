import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { describeFull, runFull } from "../../tasks/bench/full.ts";
import { TINY_BLIP2 } from "../models/tiny_checkpoints.ts";
import { withFolder } from "./run_task.ts";

const never = new AbortController().signal;

Deno.test("bench --full, small: from files to losses and weights as the formulas say, and nothing is left", async () => {
  await withFolder(async (scratch) => {
    for (const memory of ["plain", "gradcache"] as const) {
      const result = await runFull({ sizes: TINY_BLIP2, memory, scratch }, never);
      deepStrictEqual(Object.keys(result.losses).sort(), ["contrastive", "loss", "reasoning"]);
      for (const { gpu, f64 } of Object.values(result.losses)) {
        ok(gpu > 0 && Math.abs(gpu - f64) <= 1e-4 * f64);
      }
      ok(result.update.tensors > 100);
      match(describeFull(result), /tensors updated as AdamW says/);
    }
    strictEqual([...Deno.readDirSync(scratch)].length, 0);
  });
});
