import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Random } from "../../lib/core/random.ts";
import { layoutShards } from "../../lib/gpu/shard.ts";
import { type Interval, planMemory } from "../../lib/plan/memory.ts";

/** Two intervals that share a step must not share a byte; a slab holds all of its intervals. */
function check(intervals: readonly Interval[], apartFrom?: (home: number) => number[]) {
  const plan = planMemory(intervals, apartFrom);
  intervals.forEach((a, i) => {
    ok(plan.slabs[plan.slabOf[i]] >= plan.offsetOf[i] + a.bytes);
    strictEqual(plan.offsetOf[i] % 256, 0);
    intervals.forEach((b, j) => {
      if (i >= j) return;
      const [x, y] = [i, j].map((k) => plan.offsetOf[k]);
      const areApart = plan.slabOf[i] !== plan.slabOf[j] || a.last < b.first || b.last < a.first ||
        x + a.bytes <= y || y + b.bytes <= x;
      ok(areApart, `${i} and ${j} overlap`);
      ok(
        a.home === undefined || a.home !== b.home || plan.slabOf[i] === plan.slabOf[j],
        `${i} and ${j} at one home`,
      );
    });
  });
  const total = plan.slabs.reduce((a, b) => a + b, 0);
  ok(total >= plan.peakBytes);
  return { ...plan, total };
}

Deno.test("planMemory() never gives one byte to two values alive at once", () => {
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

Deno.test("planMemory() keeps the values of a home in one slab, and homes apart that must be", () => {
  const random = new Random(2, "memory");
  for (let round = 0; round < 20; round++) {
    const intervals = Array.from({ length: 60 }, (_, i) => {
      const first = random.nextInt(50);
      return { bytes: 4 + random.nextInt(5000), first, last: first + random.nextInt(12), home: i % 25 };
    });
    const plan = check(intervals, (home) => [home ^ 1]);
    intervals.forEach((a, i) =>
      intervals.forEach((b, j) => {
        ok((a.home ^ 1) !== b.home || plan.slabOf[i] !== plan.slabOf[j], `homes ${a.home} and ${b.home}`);
      })
    );
  }
  const later = [{ bytes: 512, first: 0, last: 1, home: 0 }, { bytes: 512, first: 2, last: 3, home: 1 }];
  strictEqual(planMemory(later).slabs.length, 1, "one after the other they share a slab");
  strictEqual(planMemory(later, (home) => [1 - home]).slabs.length, 2, "unless they must not");
});

Deno.test("planMemory() of nothing is nothing", () => {
  deepStrictEqual(planMemory([]), { slabOf: [], offsetOf: [], slabs: [], peakBytes: 0 });
});

Deno.test("layoutShards() aligns to 256 bytes and starts a shard at the limit", () => {
  deepStrictEqual(layoutShards([4, 300, 512], 1024), {
    places: [{ shard: 0, offset: 0 }, { shard: 0, offset: 256 }, { shard: 1, offset: 0 }],
    shards: [768, 512],
  });
});
