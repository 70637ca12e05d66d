import assert from "node:assert/strict";
import { type Protocol, protocolKey, protocolText } from "../../lib/metrics/protocol.ts";
import { markdownTable, rowsOf, tableBlocks, type TableRow, terminalTable } from "../../lib/report/table.ts";

const protocol: Protocol = {
  dataset: "demo",
  split: "val",
  gallery: "2,273 images",
  referenceRemoved: true,
  textLength: 20,
};
const recalls = (r: number) => ({ "R@1": r, "R@10": 2 * r, queries: 3021 });
const result = {
  run: "runs/demo/1a2b3c4d",
  protocol,
  metrics: {
    val: { composed: recalls(25), image: recalls(5), text: recalls(1), "before training": recalls(0.5) },
    test: { composed: recalls(30) },
  },
};

Deno.test("rowsOf() gives each split its rows, composed last, each with its protocol", () => {
  const rows = rowsOf(result);
  assert.deepEqual(
    rows.map((row) => [row.protocol.split, row.label]),
    [["val", "before training"], ["val", "image only"], ["val", "text only"], ["val", "composed"], [
      "test",
      "composed",
    ]],
  );
  assert.ok(rows.every((row) => row.run === result.run && row.protocol.gallery === protocol.gallery));
});

Deno.test("rowsOf() makes columns of categories", () => {
  const categories = { dress: { "R@10": 40 }, shirt: { "R@10": 42 } };
  const [row] = rowsOf({ ...result, metrics: { val: { composed: { "R@10": 41 }, categories } } });
  assert.deepEqual(Object.entries(row.metrics), [["dress R@10", 40], ["shirt R@10", 42], ["R@10", 41]]);
});

Deno.test("terminalTable() aligns numbers, separates protocols and leaves no cell out", () => {
  assert.equal(
    terminalTable(rowsOf(result)),
    `\
Recall in percent on demo val, gallery: 2,273 images, reference removed, text length: 20

                   R@1   R@10  queries
---------------  -----  -----  -------
before training   0.50   1.00    3,021
image only        5.00  10.00    3,021
text only         1.00   2.00    3,021
composed         25.00  50.00    3,021

Recall in percent on demo test, gallery: 2,273 images, reference removed, text length: 20

            R@1   R@10  queries
--------  -----  -----  -------
composed  30.00  60.00    3,021`,
  );
});

Deno.test("markdownTable() writes the same blocks, and escapes bars", () => {
  const row: TableRow = { label: "a|b", protocol, metrics: { "R@1": 33.333, queries: 1234 } };
  assert.equal(
    markdownTable([row, { ...row, label: "c", metrics: { "R@1": 1 } }]),
    `\
Recall in percent on demo val, gallery: 2,273 images, reference removed, text length: 20:

|  | R@1 | queries |
| --- | ---: | ---: |
| a\\|b | 33.33 | 1,234 |
| c | 1.00 | - |`,
  );
});

Deno.test("tableBlocks() never mixes protocols, and shows the run where there are several", () => {
  const row = (label: string, run: string, other: Partial<Protocol> = {}): TableRow => ({
    label,
    run,
    protocol: { ...protocol, ...other },
    metrics: { "R@1": 1 },
  });
  const blocks = tableBlocks([
    row("a", "one"),
    row("b", "one", { referenceRemoved: false }),
    row("c", "two"),
    row("d", "one", { textLength: 77 }),
    row("e", "one", { size: 32 }),
    row("f", "one", { captionJoin: undefined }),
  ]);
  assert.deepEqual(blocks.map((block) => block.cells.map((cells) => cells[0])), [["a", "c", "f"], ["b"], [
    "d",
  ], ["e"]]);
  assert.deepEqual(blocks[0].header, ["", "run", "R@1"]);
  assert.deepEqual(blocks[0].cells[1], ["c", "two", "1.00"]);
  assert.deepEqual(blocks[1].header, ["", "run", "R@1"]); // one run in the block, several in the table
  assert.match(blocks[1].title, /, reference kept,/);
});

Deno.test("protocolKey() is the same for equal protocols only", () => {
  const { dataset, split, ...rest } = protocol;
  assert.equal(protocolKey({ ...rest, captionJoin: undefined, split, dataset }), protocolKey(protocol));
  assert.notEqual(protocolKey({ ...protocol, textLength: 21 }), protocolKey(protocol));
  assert.notEqual(protocolKey({ ...protocol, size: "32" }), protocolKey({ ...protocol, size: 32 }));
  assert.equal(protocolText(protocol), "demo val, gallery: 2,273 images, reference removed, text length: 20");
});

Deno.test("a metric of data with missing files is the interval that is known; categories come first", () => {
  const { metrics: { val } } = result, bounds = { "R@10": [48.25, 52.5] as const };
  const categories = { dress: { "R@1": 1, "R@10": 40 } };
  const text = terminalTable(rowsOf({ ...result, metrics: { val: { ...val, bounds, categories } } }));
  assert.match(text, /^ +dress R@10 +R@1 +R@10 +queries$/m);
  assert.match(text, /^composed +40\.00 +25\.00 +48\.25–52\.50 +3,021$/m);
  assert.match(text, /^image only +- +5\.00 +10\.00 +3,021$/m);

  const whole = {
    ...val,
    bounds: { ...bounds, "dress R@10": [38, 41] as const },
    otherBounds: { image: { "R@10": [9, 12] as const } },
  };
  const otherCategories = { image: { dress: { "R@10": 12.5 } } };
  const others = terminalTable(
    rowsOf({ ...result, metrics: { val: { ...whole, categories, otherCategories } } }),
  );
  assert.match(others, /^composed +38\.00–41\.00 +25\.00 +48\.25–52\.50 +3,021$/m);
  assert.match(others, /^image only +12\.50 +5\.00 +9\.00–12\.00 +3,021$/m);
});
