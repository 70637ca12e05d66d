import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Random } from "../../lib/core/random.ts";
import { layoutShards } from "../../lib/gpu/shard.ts";
import { type Interval, planMemory } from "../../lib/plan/memory.ts";

/** Two intervals that share a step must not share a slab; a slab holds its largest interval. */
function check(intervals: readonly Interval[]) {
  const plan = planMemory(intervals);
  intervals.forEach((a, i) => {
    ok(plan.slabs[plan.slabOf[i]] >= a.bytes);
    intervals.forEach((b, j) => {
      if (i < j && plan.slabOf[i] === plan.slabOf[j]) {
        ok(a.last < b.first || b.last < a.first, `${i} and ${j} overlap`);
      }
    });
  });
  const total = plan.slabs.reduce((a, b) => a + b, 0);
  ok(total >= plan.peakBytes);
  return { ...plan, total };
}

Deno.test("planMemory() never gives one slab to two values alive at once", () => {
  const random = new Random(1, "memory");
  for (let round = 0; round < 50; round++) {
    check(Array.from({ length: 60 }, () => {
      const first = random.nextInt(50);
      return { bytes: 4 + random.nextInt(5000), first, last: first + random.nextInt(12) };
    }));
  }
});

Deno.test("planMemory() runs a chain in two slabs", () => {
  const chain = Array.from({ length: 100 }, (_, i) => ({ bytes: 1024, first: i, last: i + 1 }));
  const plan = check(chain);
  strictEqual(plan.slabs.length, 2);
  strictEqual(plan.total, plan.peakBytes);
});

Deno.test("planMemory() reuses large slabs for large values, whatever came between", () => {
  // Layers of one large and many small values, that die in between: as in a step that computes its layers again.
  const layers = Array.from({ length: 20 }, (_, layer) =>
    Array.from({ length: 10 }, (_, i) => ({
      bytes: 256 * (i === 0 ? 1000 : 1 + (7 * i + layer) % 40),
      first: 10 * layer + i,
      last: 10 * layer + 9 + i,
    }))).flat();
  const plan = check(layers);
  ok(plan.total <= 1.1 * plan.peakBytes, `${plan.total} for ${plan.peakBytes}`);
});

Deno.test("planMemory() of nothing is nothing", () => {
  deepStrictEqual(planMemory([]), { slabOf: [], slabs: [], peakBytes: 0 });
});

Deno.test("layoutShards() aligns to 256 bytes and starts a shard at the limit", () => {
  deepStrictEqual(layoutShards([4, 300, 512], 1024), {
    places: [{ shard: 0, offset: 0 }, { shard: 0, offset: 256 }, { shard: 1, offset: 0 }],
    shards: [768, 512],
  });
});
