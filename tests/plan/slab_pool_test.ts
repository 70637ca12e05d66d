import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { openDevice } from "../../lib/gpu/device.ts";
import { SlabPool } from "../../lib/plan/slab_pool.ts";

Deno.test("a pool gives the smallest slab that is large enough, none twice, and grows by what is missing", async () => {
  using gpu = await openDevice();
  {
    using pool = new SlabPool(gpu, "test");
    const first = pool.take([256, 1024, 512]);
    deepStrictEqual(first.map(({ size }) => size), [256, 1024, 512]);
    deepStrictEqual(pool.take([512, 256]), [first[2], first[0]]);
    strictEqual(pool.bytes, 1792);
    const second = pool.take([300, 900, 200, 200]);
    deepStrictEqual(second.slice(0, 3), [first[2], first[1], first[0]]);
    strictEqual(second[3].size, 200);
    strictEqual(pool.bytes, 1992);
  }
  strictEqual(gpu.liveBuffers, 0);
});
