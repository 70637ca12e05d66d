/** Every op of the table: forward, gradient, same bits twice, sentinels. */
import assert from "node:assert/strict";
import { openDevice } from "../lib/gpu/device.ts";
import { ops } from "../lib/ops/index.ts";
import type { OpDef } from "../lib/tensor/op.ts";
import { table } from "./ops_table.ts";

const gpu = await openDevice();

for (const [name, op] of Object.entries(ops) as [keyof typeof ops, OpDef<unknown>][]) {
  Deno.test(`${name}() agrees with its f64 reference`, async () => {
    assert.equal(op.name, name);
    await table[name](gpu, op, name);
  });
}
