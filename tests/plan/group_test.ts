import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { type Candidate, groupLaunches } from "../../lib/plan/group.ts";
import { Homes } from "../../lib/plan/homes.ts";

/** Launches by what they read and write, each value with a home of its own; `fixed` are buffers that are there already. */
function graph(
  launches: readonly { key?: string; reads: readonly string[]; writes: string; workgroups?: number }[],
  fixed: Readonly<Record<string, string>> = {},
) {
  const homes = new Homes(),
    buffers = new Map<string, number>(),
    values: string[] = [],
    homeOf: number[] = [];
  const valueOf = (name: string): number => {
    const known = values.indexOf(name);
    if (known >= 0) return known;
    const buffer = fixed[name], home = buffers.get(buffer) ?? homes.add(buffer !== undefined);
    if (buffer) buffers.set(buffer, home);
    homeOf.push(home);
    return values.push(name) - 1;
  };
  const candidates = launches.map(({ key = "k", reads, writes, workgroups = 1 }): Candidate => {
    const bound = [...reads, writes].map((name, b) => {
      const value = valueOf(name);
      return { value, home: homeOf[value], isWritten: b === reads.length };
    });
    for (const a of bound) {
      for (const b of bound) if (a.isWritten && !b.isWritten) homes.keepApart(a.home, b.home);
    }
    return { key: key || undefined, bound, workgroups };
  });
  const at = (name: string) => homes.of(homeOf[valueOf(name)]);
  return { homes, at, group: (most = 16) => groupLaunches(candidates, homes, most) };
}

Deno.test("launches of one kernel that do not wait for each other become one; the values at a binding share a buffer", () => {
  const { group, at } = graph([
    { reads: ["a"], writes: "x" },
    { reads: ["b"], writes: "y" },
    { key: "other", reads: ["c"], writes: "z" },
    { key: "", reads: ["d"], writes: "alone" },
    { key: "", reads: ["e"], writes: "alone too" },
  ]);
  deepStrictEqual(group(), [[0, 1], [2], [3], [4]]);
  strictEqual(at("a"), at("b"));
  strictEqual(at("x"), at("y"));
  ok(new Set(["a", "x", "c", "z", "d"].map(at)).size === 5, "the others stay apart");
});

Deno.test("two chains side by side take as many launches as one, in order", () => {
  const chain = (name: string) =>
    [0, 1, 2, 3].map((i) => ({ key: `${i % 2}`, reads: [`${name}${i}`], writes: `${name}${i + 1}` }));
  deepStrictEqual(graph([...chain("a"), ...chain("b")]).group(), [[0, 4], [1, 5], [2, 6], [3, 7]]);
});

Deno.test("a launch joins none that it waits for, directly or through a group", () => {
  deepStrictEqual(graph([{ reads: ["a"], writes: "b" }, { reads: ["b"], writes: "c" }]).group(), [[0], [1]]);
  // 0 -> 1 and 2 -> 3 by different kernels: once 0 and 3 are one, 1 and 2 would wait for each other.
  const crossed = graph([
    { key: "k", reads: ["a"], writes: "b" },
    { key: "l", reads: ["b"], writes: "c" },
    { key: "l", reads: ["d"], writes: "e" },
    { key: "k", reads: ["e"], writes: "f" },
  ]).group();
  strictEqual(crossed.length, 3);
  const place = (i: number) => crossed.findIndex((members) => members.includes(i));
  ok(place(0) < place(1) && place(2) < place(3), JSON.stringify(crossed));
});

Deno.test("what is written twice, or after it was read, keeps its order", () => {
  const launches = [
    { key: "fill", reads: [], writes: "y" },
    { key: "sum", reads: ["a"], writes: "y" }, // what it leaves out keeps the zeros
    { key: "use", reads: ["y"], writes: "z" },
    { key: "fill", reads: [], writes: "w" },
    { key: "fill", reads: [], writes: "y" },
  ];
  const order = graph(launches).group();
  deepStrictEqual(order.flat().filter((i) => [0, 1, 2, 4].includes(i)), [0, 1, 2, 4]);
});

Deno.test("values that a launch reads and writes lie in two buffers: what would bring them into one is not joined", () => {
  // x is read and y written by 1; joining 0 and 1 would put x and y, both second operands, into one buffer.
  const { group, at } = graph([
    { reads: ["a", "y"], writes: "p" },
    { reads: ["b", "x"], writes: "q" },
    { key: "other", reads: ["x"], writes: "y" },
  ]);
  const groups = group();
  deepStrictEqual(groups.map(({ length }) => length), [1, 1, 1]);
  ok(at("x") !== at("y"));
});

Deno.test("an input or a parameter lies where it is: joined only with others of its buffer", () => {
  const inputs = { w: "shard 0", v: "shard 0", u: "shard 1" };
  const launch = (w: string, i: number) => ({ reads: [`a${i}`, w], writes: `y${i}` });
  deepStrictEqual(graph(["w", "v"].map(launch), inputs).group(), [[0, 1]]);
  deepStrictEqual(graph(["w", "u"].map(launch), inputs).group(), [[0], [1]]);
  deepStrictEqual(graph(["w", "made here"].map(launch), inputs).group(), [[0], [1]]);
});

Deno.test("a group is as large as its table and its grid at most", () => {
  const many = (workgroups: number) =>
    graph(Array.from({ length: 5 }, (_, i) => ({ reads: [`a${i}`], writes: `y${i}`, workgroups })));
  deepStrictEqual(many(1).group(2), [[0, 1], [2, 3], [4]]);
  deepStrictEqual(many(30_000).group(), [[0, 1], [2, 3], [4]]);
});

Deno.test("Homes.tie() ties all of its pairs or none", () => {
  const homes = new Homes(), [a, b, c, d] = Array.from({ length: 4 }, () => homes.add(false));
  homes.keepApart(c, d);
  strictEqual(homes.tie([[a, b], [c, d]]), false);
  ok(homes.of(a) !== homes.of(b));
  strictEqual(homes.tie([[a, b], [b, c]]), true);
  strictEqual(new Set([a, b, c].map((home) => homes.of(home))).size, 1);
  strictEqual(homes.tie([[a, d]]), false, "what one of them must be apart from, all must");
  deepStrictEqual([...homes.apartFrom(a)], [homes.of(d)]);
});
