import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import type { Protocol } from "../../lib/metrics/protocol.ts";
import { REPORTED } from "../../lib/report/published.ts";
import { type MeasuredRow, recallTable } from "../../lib/report/recall_table.ts";
import { recallBlocks, recallCaption, recallCsvRows } from "../../lib/report/recall_text.ts";
import { latexBlocks } from "../../lib/report/latex.ts";
import { terminalBlocks } from "../../lib/report/table.ts";

const fashionIq: Protocol = {
  dataset: "FashionIQ",
  split: "val",
  gallery: "all images of the split and category",
  referenceRemoved: false,
  captionJoin: "both captions",
};
const row = (
  protocol: Protocol,
  metrics: Record<string, number>,
  rest: Partial<MeasuredRow> = {},
): MeasuredRow => ({
  label: "ours",
  runs: ["runs/x/a"],
  protocol,
  metrics: [metrics],
  ranks: [],
  ...rest,
});

Deno.test("reported means are those of their own columns, or the row's note says that they are not", () => {
  for (const { rows, dataset } of REPORTED) {
    for (const { method, metrics, note = "" } of rows) {
      const means: Record<string, number> = dataset === "CIRR"
        ? { "mean(R@5+R_s@1)": (metrics["R@5"] + metrics["R_subset@1"]) / 2 }
        : { average_recall: (metrics["R@10"] + metrics["R@50"]) / 2 };
      if (dataset === "FashionIQ") {
        for (const k of ["R@10", "R@50"]) {
          means[k] = ["dress", "shirt", "toptee"].reduce((sum, name) => sum + metrics[`${name} ${k}`] / 3, 0);
        }
      }
      const wrong = Object.keys(means).filter((name) => Math.abs(means[name] - metrics[name]) > 0.011);
      strictEqual(wrong.length > 0, /not that of its columns/.test(note), `${method}: ${wrong}`);
    }
  }
});

Deno.test("a whole FashionIQ val stands beside the reported rows, with its difference to CaLa's", () => {
  const table = recallTable([
    row(fashionIq, { "R@10": 47, "R@50": 69.5, average_recall: 58.25, queries: 6016 }),
  ]);
  const [{ rows: [ours], reported }] = table.blocks;
  deepStrictEqual(table.elsewhere, []);
  ok(reported.some(({ method, source }) => method === "CaLa" && source === "ReCALL, Table 2"));
  deepStrictEqual(
    Object.entries(ours.differences ?? {}).map(([name, value]) => [name, value.toFixed(2)]),
    [["R@10", "0.31"], ["R@50", "0.28"], ["average_recall", "0.29"]],
  );
  const text = terminalBlocks(recallBlocks(table));
  match(text, /^ours +47\.00 +69\.50 +58\.25 +6,016$/m);
  match(text, /^ours, difference to CaLa as reported +\+0\.31 +\+0\.28 +\+0\.29$/m);
  match(text, /^CaLa, as reported in ReCALL, Table 2 +46\.69 +69\.22 +57\.96 +-$/m);
  match(recallCaption(table), /check against the original before you cite it/);
  match(recallCaption(table), /^CaLa, as reported in ReCALL, Table 2: HUG prints/m);
  match(latexBlocks(recallBlocks(table)), /^ {2}ours, difference to CaLa as reported & \+0\.31 & /m);
  const csv = recallCsvRows(table);
  strictEqual(csv.find(({ row, metric }) => row === "ours" && metric === "R@10")?.mean, 47);
  strictEqual(
    csv.find(({ source, metric }) => String(source).startsWith("as reported in ReCALL") && metric === "R@10")
      ?.mean,
    46.84,
  );
});

Deno.test("under any other protocol, reported rows stand apart and no difference is taken", () => {
  const metrics = { "R@10": 47, queries: 6016 };
  for (
    const protocol of [
      { ...fashionIq, gallery: "candidates and targets of the category" },
      { ...fashionIq, referenceRemoved: true },
      { ...fashionIq, droppedQueries: 3 },
      { ...fashionIq, missingImages: 3 },
      { ...fashionIq, split: "test" },
    ]
  ) {
    const { blocks: [{ reported, rows }], elsewhere } = recallTable([row(protocol, metrics)]);
    deepStrictEqual([reported, rows[0].differences, elsewhere.length], [[], undefined, 1]);
  }
  strictEqual(recallTable([row(fashionIq, { ...metrics, queries: 36 })]).elsewhere.length, 1);
  const cirr = row({
    dataset: "CIRR",
    split: "val",
    gallery: "all images of the split",
    referenceRemoved: true,
  }, { "R@1": 50, queries: 4181 });
  const table = recallTable([cirr]);
  match(
    terminalBlocks(recallBlocks(table)),
    /\n\nAs reported in other papers on CIRR test1, measured by its server: another protocol than that of the rows above, not to be compared\n/,
  );
  deepStrictEqual(recallTable([cirr], { withReported: false }).elsewhere, []);
  deepStrictEqual(recallTable([row({ ...fashionIq, dataset: "mine" }, metrics)]).elsewhere, []);
});

Deno.test("rows have intervals of their queries, categories count alike, and missing files show as an interval", () => {
  const protocol = { ...fashionIq, dataset: "small" };
  // dress: 2 of 4, shirt: 6 of 6
  const categories = Array.from({ length: 10 }, (_, q) => q < 4 ? "dress" : "shirt");
  const ranks = categories.map((_, q) => q < 2 ? 40 : 3);
  const seedRanks = {
    seed: 1,
    protocol,
    queries: categories.map(String),
    rules: categories,
    ranks,
    categories,
  };
  const metrics = {
    "dress R@10": 50,
    "shirt R@10": 100,
    "R@10": 75,
    average_recall: 87.5,
    "mAP@5": 12,
    queries: 10,
  };
  const { blocks: [{ rows: [{ cells }] }] } = recallTable([row(protocol, metrics, { ranks: [seedRanks] })]);
  for (const name of ["dress R@10", "R@10", "average_recall"]) {
    const { mean, low = NaN, high = NaN } = cells[name];
    ok(0 <= low && low < mean && mean < high && high < 100 + 1e-9, `${name}: ${low}, ${high}`);
  }
  const { low: least = NaN, high: most = NaN } = cells["R@10"];
  deepStrictEqual([least.toFixed(2), most.toFixed(2)], ["50.00", "100.00"]); // shirt's half is certain
  deepStrictEqual([cells["shirt R@10"].low, cells["shirt R@10"].high], [100, 100]);
  deepStrictEqual(cells["mAP@5"], { mean: 12 });

  const bounds = { "R@10": [60, 80] as const };
  const table = recallTable([row(protocol, metrics, { bounds, ranks: [seedRanks] })]);
  match(terminalBlocks(recallBlocks(table)), / 60\.00–80\.00 /);
  match(recallCaption(table), /files are missing/);
});

Deno.test("runs of one protocol that did not ask the same are refused", () => {
  const ranks = (query: string) => ({
    seed: 1,
    protocol: fashionIq,
    queries: [query],
    rules: [""],
    ranks: [0],
  });
  throws(
    () =>
      recallTable([
        row(fashionIq, { "R@10": 100 }, { ranks: [ranks("a")] }),
        row(fashionIq, { "R@10": 100 }, { label: "other", ranks: [ranks("b")] }),
      ]),
    /runs of one protocol differ in query 0/,
  );
});
