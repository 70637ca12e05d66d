import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { chooseQueries, type ReportQuery } from "../../lib/report/choose.ts";

const query = (rank: number, more: Partial<ReportQuery> & { top?: number[] } = {}): ReportQuery => {
  const { top = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], ...others } = more;
  return { reference: 0, target: 99, caption: "is red", composed: { rank, top }, ...others };
};
const sectionOf = (sections: ReturnType<typeof chooseQueries>, title: string) =>
  sections.find((section) => section.title === title);

Deno.test("chooseQueries() shows each query once, at most as many as asked, and the same ones each time", () => {
  const queries = Array.from({ length: 500 }, (_, i) => query((i * 7919) % 400, { kind: `kind ${i % 5}` }));
  const sections = chooseQueries(queries, { count: 60, seed: 3 });
  const shown = sections.flatMap((section) => section.queries);
  strictEqual(new Set(shown).size, shown.length);
  ok(shown.length <= 60 && shown.length > 40, `${shown.length} queries`);
  deepStrictEqual(chooseQueries(queries, { count: 60, seed: 3 }), sections);
  deepStrictEqual(
    sectionOf(sections, "Worst")?.queries[0],
    queries.findIndex(({ composed }) => composed.rank === 399),
  );
});

Deno.test("chooseQueries() tells misses that follow the picture from those that follow the text", () => {
  const same = { rank: 30, top: [1, 2, 3, 4, 5, 60, 61, 62, 63, 64] };
  const other = { rank: 30, top: [1, 2, 3, 4, 50, 51, 52, 53, 54, 55] };
  // Four queries stand lower, so that "Worst" takes those and leaves these.
  const worst = Array.from({ length: 4 }, (_, i) => query(1000 + i));
  const queries = [
    ...worst,
    query(20, { image: same, text: other }),
    query(20, { image: other, text: same }),
  ];
  const sections = chooseQueries(queries, { count: 20, seed: 1 });
  deepStrictEqual(sectionOf(sections, "Misses that follow the picture")?.queries, [4]);
  deepStrictEqual(sectionOf(sections, "Misses that follow the text")?.queries, [5]);
});

Deno.test("chooseQueries() begins with what changed most where two runs are compared", () => {
  const here = [query(0), query(5), query(40)], there = [query(90), query(5), query(1)];
  const sections = chooseQueries(here, { count: 20, seed: 1, others: there });
  deepStrictEqual(sections.slice(0, 2).map(({ title, queries }) => [title, ...queries]), [["Gained", 0], [
    "Lost",
    2,
  ]]);
});

Deno.test("chooseQueries() goes round the kinds of change", () => {
  // All are hits of rank 1 to 9: no other section but "Random" takes them.
  const queries = Array.from({ length: 40 }, (_, i) => query(1 + i % 9, { kind: i < 30 ? "many" : "few" }));
  const chosen = sectionOf(chooseQueries(queries, { count: 16, seed: 1 }), "Worst of each kind");
  deepStrictEqual(new Set(chosen?.queries.slice(0, 2).map((q) => queries[q].kind)), new Set(["many", "few"]));
});
