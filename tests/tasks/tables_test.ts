import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import type { RunResult } from "../../lib/report/table.ts";
import type { Rankings } from "../../lib/train/rankings.ts";
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

     R@1
-  -----
a  12.50
b  25.00

Recall in percent on toy val, gallery: all, reference removed, text length: 20

     R@1
-  -----
c  50.00
`,
    );
    match(
      (await run("tables", ["a", "b", "--all", "--markdown"], cwd)).stdout,
      /^\| b: image only \| 1\.00 \|$/m,
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
    match(missing.stderr, /^d\/results\.json: no such file\n.*fix {4}name a run's folder/);
    strictEqual((await run("tables", [], cwd)).code, 2);

    await Deno.mkdir(`${cwd}/e`);
    await Deno.writeTextFile(`${cwd}/e/lock`, ""); // what a wrong flag leaves of a run
    const beside = await run("tables", ["a", "e"], cwd);
    deepStrictEqual([beside.code, beside.stderr], [0, "e: this run never began, it is left out\n"]);
    match((await run("tables", ["e"], cwd)).stderr, /^none of these runs began\n/m);
  });
});

/** A run's folder with what tables read: 40 queries, ranks that are below 10 for the first `hits` of them. */
async function writeRun(
  path: string,
  hits: number,
  config: Record<string, number>,
  bounds?: Record<string, [number, number]>,
): Promise<void> {
  const protocol = { dataset: "toy", split: "val", gallery: "all", referenceRemoved: true };
  const images = Array.from({ length: 30 }, (_, i) => `p${i}`);
  const head = {
    format: "cala rankings 1",
    split: "val",
    dataset: { name: "toy", hash: "00" },
    protocol,
    images,
  };
  const queries: Rankings["queries"] = Array.from({ length: 40 }, (_, query) => ({
    query,
    reference: "p1",
    target: "p2",
    captions: [`query ${query}`],
    composed: { rank: query < hits ? 3 : 20, top: [] },
  }));
  const recall = 100 * hits / 40;
  const result: RunResult = {
    run: path,
    metrics: { val: { composed: { "R@5": recall, "R@10": recall, queries: 40 }, ...(bounds && { bounds }) } },
    protocol,
  };
  const manifest = {
    ...{ format: 1, status: "done", experiment: "toy", source: "toy.ts", name: "x", configHash: "00" },
    ...{ config, seed: config.seed, dataset: { name: "toy", hash: "00" }, adapter: {} },
  };
  await Deno.mkdir(path, { recursive: true });
  await Deno.writeTextFile(`${path}/run.json`, JSON.stringify(manifest));
  await Deno.writeTextFile(`${path}/results.json`, JSON.stringify(result));
  const lines = [head, ...queries].map((line) => JSON.stringify(line) + "\n");
  await Deno.writeTextFile(`${path}/rankings_val.jsonl`, lines.join(""));
}

Deno.test("tables joins the seeds of a configuration, with interval, spread and tests, in every format alike", async () => {
  await withFolder(async (cwd) => {
    for (
      const [name, hits, tacWeight, seed] of [["a1", 10, 0, 1], ["a2", 12, 0, 2], ["b1", 30, 0.5, 1], [
        "b2",
        34,
        0.5,
        2,
      ]] as const
    ) {
      await writeRun(`${cwd}/${name}`, hits, { seed, tacWeight });
    }
    const folders = ["a1", "a2", "b1", "b2"];
    const text = await run("tables", [...folders, "--against", "a1"], cwd);
    strictEqual(text.code, 0, text.stderr);
    match(text.stdout, /^toy --tac-weight 0 +2 +27\.50 ± 3\.54 \[/m);
    match(text.stdout, /^toy --tac-weight 0\.5 +2 +80\.00 ± 7\.07 \[/m);
    match(
      text.stdout,
      /^toy --tac-weight 0\.5 +toy --tac-weight 0 +R@10 +\+52\.50 +\+50\.00 \+55\.00 +<0\.0005 +0\.500$/m,
    );
    strictEqual((await run("tables", [...folders, "--against", "a1"], cwd)).stdout, text.stdout);

    const latex = (await run("tables", [...folders, "--latex"], cwd)).stdout;
    match(
      latex,
      /\\toprule\n {2} & runs & R@5 & R@10 & queries \\\\\n {2}\\midrule\n {2}toy --tac-weight 0 & 2 & 27\.50 \$\\pm\$ 3\.54 \[/,
    );
    const csv = (await run("tables", [...folders, "--csv"], cwd)).stdout.split("\n");
    strictEqual(csv[0], "protocol,row,source,metric,mean,spread,low,high,interval,runs,difference");
    strictEqual(csv.filter((line) => /,toy --tac-weight 0\.5,measured,R@10,80,7\.07/.test(line)).length, 1);
    const { table } = JSON.parse((await run("tables", [...folders, "--json"], cwd)).stdout);
    const { low, high, mean } = table.blocks[0].rows[1].cells["R@10"];
    deepStrictEqual([mean, low < mean, high > mean, table.blocks[0].rows[1].seeds], [80, true, true, [1, 2]]);

    // Where files are missing, the mean over seeds lies between the means of the ends, in every format.
    await writeRun(`${cwd}/m1`, 10, { seed: 1 }, { "R@10": [20, 30] });
    await writeRun(`${cwd}/m2`, 20, { seed: 2 }, { "R@10": [40, 60] });
    match((await run("tables", ["m1", "m2"], cwd)).stdout, /^toy +2 .* 30\.00–45\.00 /m);
    match((await run("tables", ["m1", "m2", "--markdown"], cwd)).stdout, /^\| toy \|.*\| 30\.00–45\.00 \|/m);
    match((await run("tables", ["m1", "m2", "--latex"], cwd)).stdout, /^ {2}toy &.*& 30\.00--45\.00 &/m);
    match((await run("tables", ["m1", "m2", "--csv"], cwd)).stdout, /,toy,measured,R@10,37\.5,[\d.]+,30,45,/);

    // One seed twice is no second run.
    await writeRun(`${cwd}/a3`, 10, { seed: 1, tacWeight: 0 });
    match(
      (await run("tables", ["a1", "a3"], cwd)).stdout,
      /^toy \(a1\) +25\.00 \[.*\n^toy \(a3\) +25\.00 \[/m,
    );

    for (
      const [args, message] of [
        [["a1", "--against", "b1"], /^--against: no row "b1"\n/],
        [["a1", "--csv", "--json"], /^one of --markdown, --latex, --csv and --json\n/],
      ] as const
    ) {
      const { code, stderr } = await run("tables", args, cwd);
      strictEqual(code, 2);
      match(stderr, message);
    }
    const path = `${cwd}/a1/rankings_val.jsonl`, whole = await Deno.readTextFile(path);
    await Deno.writeTextFile(path, whole.replace('"gallery":"all"', '"gallery":"some"'));
    const other = await run("tables", ["a1"], cwd);
    deepStrictEqual([other.code, other.stdout], [2, ""]);
    match(other.stderr, /^a1\/rankings_val\.jsonl: not measured under the protocol of a1\/results\.json\n/);
  });
});
