import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { checkSubmission, type SubmissionMetric, submissionText } from "../../lib/report/submission.ts";

const gallery = Array.from({ length: 80 }, (_, i) => `test1-${i}`);
const queries = [12, 3, 100].map((id, q) => ({
  pairId: String(id),
  reference: gallery[q],
  members: [0, 1, 2, 3, 4, 5].map((i) => gallery[q + i * 7]),
}));
const data = { queries, gallery: new Set(gallery) };

type Answers = Map<string, string[]>;
const right: Record<SubmissionMetric, Answers> = {
  recall: new Map(queries.map(({ pairId, reference }) => [
    pairId,
    gallery.filter((name) => name !== reference).slice(0, 50),
  ])),
  recall_subset: new Map(queries.map(({ pairId, members }) => [pairId, members.slice(1, 4)])),
};
const problemsOf = (text: string) => checkSubmission(text, data).problems;
/** The text after a change of one query's names. */
const changed = (metric: SubmissionMetric, change: (names: string[]) => string[]) => {
  const answers = new Map(right[metric]);
  answers.set("3", change([...answers.get("3") ?? []]));
  return submissionText(metric, answers);
};

Deno.test("a file is written as the released script writes it: keys as strings, one line, spaces after , and :", () => {
  const text = submissionText("recall_subset", right.recall_subset);
  const list = (q: number) => queries[q].members.slice(1, 4).map((name) => `"${name}"`).join(", ");
  strictEqual(
    text,
    `{"100": [${list(2)}], "12": [${list(0)}], "3": [${
      list(1)
    }], "metric": "recall_subset", "version": "rc2"}`,
  );
  for (const metric of ["recall", "recall_subset"] as const) {
    deepStrictEqual(checkSubmission(submissionText(metric, right[metric]), data), {
      metric,
      queries: 3,
      problems: [],
    });
  }
});

Deno.test("each known mistake is named", () => {
  const recall = submissionText("recall", right.recall),
    subset = submissionText("recall_subset", right.recall_subset);
  const one = (text: string, problem: string) => deepStrictEqual(problemsOf(text), [problem]);
  const without = new Map(right.recall);
  without.delete("3");
  one(submissionText("recall", without), "1 of 3 queries are missing: 3");
  one(
    submissionText("recall", new Map([...right.recall, ["7", gallery.slice(0, 50)]])),
    "1 keys are no query of this split: 7",
  );
  one(
    changed("recall", (names) => [queries[1].reference, ...names.slice(1)]),
    'query 3: holds the reference "test1-1"; it has to be left out',
  );
  one(changed("recall", (names) => names.slice(0, 49)), "query 3: 49 names, expected 50");
  one(changed("recall", (names) => [names[1], ...names.slice(1)]), `query 3: "${gallery[2]}" occurs twice`);
  one(
    changed("recall", (names) => ["dev-1", ...names.slice(1)]),
    'query 3: "dev-1" is no image of the split',
  );
  one(
    changed("recall_subset", (names) => [gallery[79], ...names.slice(1)]),
    'query 3: "test1-79" is not in the query\'s group',
  );
  one(changed("recall_subset", (names) => [...names, queries[1].members[4]]), "query 3: 4 names, expected 3");
  one(recall.replace("{", `{"3": ["a"], `), 'key "3" occurs twice: a query has one entry');
  one(recall.replace('"rc2"', '"rc1"'), '"version" is "rc1", expected "rc2"');
  one(recall.replace('"recall"', '"Recall"'), '"metric" is "Recall", expected "recall" or "recall_subset"');
  one(
    `{"recall": ${recall}, "recall_subset": ${subset}, "version": "rc2"}`,
    'both metrics in one file; the server takes two files, each with its own "metric"',
  );
  one(recall.replace(/"3": \[[^\]]*\]/, '"3": "test1-4"'), "query 3: expected a list of image names");
  one("[]", "not a JSON object");
  ok(problemsOf(recall.slice(0, 900))[0].startsWith("not JSON: "));
  ok(problemsOf(recall.padEnd(5_000_001))[0].startsWith("5000001 bytes; the server takes 5000000 at most"));
});

Deno.test("without annotations a file is counted, and its lists are checked by themselves", () => {
  const of = (text: string) => checkSubmission(text).problems;
  deepStrictEqual(of(submissionText("recall", right.recall)), ["3 queries; CIRR's test1 has 4148"]);
  const names = gallery.slice(0, 50);
  const whole = new Map(Array.from({ length: 4148 }, (_, i): [string, string[]] => [String(i), names]));
  deepStrictEqual(of(submissionText("recall", whole)), []);
  whole.set("5", names.slice(1));
  whole.set("6", [...names.slice(1), names[1]]);
  deepStrictEqual(of(submissionText("recall", whole)), [
    "query 5: 49 names, expected 50",
    'query 6: "test1-1" occurs twice',
  ]);
});
