import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import type { RunResult } from "../../lib/report/table.ts";
import { run, withFolder } from "./run_task.ts";

const result = (composed: number, textLength: number): RunResult => ({
  run: "where it was trained",
  metrics: { val: { image: { "R@1": 1 }, composed: { "R@1": composed } } },
  protocol: { dataset: "toy", split: "val", gallery: "all", referenceRemoved: true, textLength },
});

Deno.test("tables puts runs of one protocol into one block and others into their own", async () => {
  await withFolder(async (cwd) => {
    for (
      const [name, value] of Object.entries({ a: result(12.5, 10), b: result(25, 10), c: result(50, 20) })
    ) {
      await Deno.mkdir(`${cwd}/${name}`);
      await Deno.writeTextFile(`${cwd}/${name}/results.json`, JSON.stringify(value));
    }
    const text = await run("tables", ["a", "b/", "c"], cwd);
    strictEqual(text.code, 0, text.stderr);
    strictEqual(
      text.stdout,
      `Recall in percent on toy val, gallery: all, reference removed, text length: 10

          run    R@1
--------  ---  -----
composed  a    12.50
composed  b    25.00

Recall in percent on toy val, gallery: all, reference removed, text length: 20

          run    R@1
--------  ---  -----
composed  c    50.00
`,
    );
    match(
      (await run("tables", ["a", "b", "--all", "--markdown"], cwd)).stdout,
      /^\| image only \| b \| 1\.00 \|$/m,
    );
    const { rows } = JSON.parse((await run("tables", ["a", "b", "--json"], cwd)).stdout);
    deepStrictEqual(
      rows.map((row: { label: string; run: string; metrics: unknown }) => [row.label, row.run, row.metrics]),
      [["image only", "a", { "R@1": 1 }], ["composed", "a", { "R@1": 12.5 }], ["image only", "b", {
        "R@1": 1,
      }], ["composed", "b", { "R@1": 25 }]],
    );

    strictEqual((await run("tables", ["c", "c"], cwd)).stdout, (await run("tables", ["c"], cwd)).stdout);
    for (
      const broken of [
        "",
        "null",
        '{"run":"a"}',
        '{"run":"a","metrics":{"val":null},"protocol":{"dataset":"toy"}}',
        '{"run":"a","metrics":{"val":{"composed":{"R@1":"12"}}},"protocol":{"dataset":"toy"}}',
        '{"run":"a","metrics":{"val":{"composed":{"R@1":1},"image":3}},"protocol":{"dataset":"toy"}}',
        '{"run":"a","metrics":{},"protocol":{}}',
      ]
    ) {
      await Deno.writeTextFile(`${cwd}/b/results.json`, broken);
      const { code, stdout, stderr } = await run("tables", ["a", "b"], cwd);
      deepStrictEqual([code, stdout], [2, ""], broken);
      match(stderr, /^b\/results\.json: not (JSON|the results of a run)/);
    }

    const missing = await run("tables", ["a", "d"], cwd);
    deepStrictEqual([missing.code, missing.stdout], [2, ""]);
    match(missing.stderr, /^d\/results\.json: no such file\n/);
    strictEqual((await run("tables", [], cwd)).code, 2);
  });
});
