import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { openExperiment } from "../../tasks/experiments.ts";
import { jobsOf } from "../../tasks/reproduce/jobs.ts";
import { openTable } from "../../tasks/reproduce/open_table.ts";
import { runMs } from "../../tasks/reproduce/probe.ts";
import { lastLine, path, run, task, withFolder } from "./run_task.ts";

const table = path("tests/tasks/toy_table.ts");

Deno.test("the demo's table: every flag is the demo's, seeds outside, rows inside, ablations when asked", async () => {
  const demo = await openTable("demo"), experiment = await openExperiment("demo");
  const options = { out: "o", seeds: 3, steps: 0, ablate: "" };
  const jobs = jobsOf(demo, experiment, options);
  strictEqual(jobs.length, 4 * 3 + 4);
  deepStrictEqual(jobs.slice(0, 4).map(({ name }) => name), [
    "baseline-1000steps-seed42",
    "tac-1000steps-seed42",
    "hca-1000steps-seed42",
    "cala-1000steps-seed42",
  ]);
  deepStrictEqual([...new Set(jobs.map(({ seed }) => seed))], [42, 43, 44]);
  const { tacWeight, hcaWeight, matchScale } = jobs[0].config;
  deepStrictEqual([tacWeight, hcaWeight, matchScale], [0, 0, 100]);
  const scaled = jobsOf(demo, experiment, { ...options, ablate: "scale", steps: 50 });
  strictEqual(scaled.length, 7 * 3 + 4);
  const baseline55 = scaled.find(({ row }) => row.name === "baseline-scale55");
  deepStrictEqual([baseline55?.config.matchScale, baseline55?.config.steps], [55, 50]);
  strictEqual(new Set(scaled.map(({ name }) => name)).size, scaled.length);
});

Deno.test("runMs() counts steps and rankings", () => {
  const config = {
    seed: 1,
    batchSize: 2,
    evalEvery: 25,
    bestBy: "R@10",
    tableFrom: "last",
    steps: 100,
  } as const;
  strictEqual(runMs({ stepMs: 2, rankingMs: 10 }, config), 200 + (1 + 4 + 3) * 10);
  strictEqual(runMs({ stepMs: 2, rankingMs: 10 }, { ...config, evalEvery: 0 }), 200 + (1 + 1 + 3) * 10);
});

Deno.test("reproduce says how long it takes, trains, compares; again it trains nothing and writes the same bytes", async () => {
  await withFolder(async (cwd) => {
    const args = ["--table", table, "--seeds", "2", "--out", "o", "--json"];
    const first = await run("reproduce", args, cwd);
    strictEqual(first.code, 0, first.stderr);
    match(first.stderr, /^5 runs in o\/toy_experiment: 0 are done\n/);
    match(first.stderr, /\nbaseline: [\d.]+ ms a step, about .* a run \(measured\)\n/);
    match(first.stderr, /\n5 runs to train: about .* on this machine\n/);
    match(first.stderr, /\nrun 5 of 5: dropout, seed 2; about .* left for all\n/);
    match(first.stdout, /^Recall in percent on toy val/);
    match(first.stdout, /\n5 of 5 runs; steps 12; commit /);
    const files = ["toy.txt", "toy.md", "toy.json", "toy.csv", "toy_tests.csv"];
    const read = () => Promise.all(files.map((file) => Deno.readTextFile(`${cwd}/o/${file}`)));
    const written = await read();
    const { comparisons } = JSON.parse(lastLine(first.stdout));
    deepStrictEqual(comparisons, JSON.parse(written[2]).comparisons);
    deepStrictEqual(comparisons.map((c: { protocol: { split: string } }) => c.protocol.split), [
      "val",
      "test",
    ]);
    const [{ estimates, differences }] = comparisons;
    // The table's numbers are those of the runs' own tables.
    for (const [i, row] of ["baseline", "dropout"].entries()) {
      const recalls = await Promise.all([1, 2].map(async (seed) => {
        const file = `${cwd}/o/toy_experiment/${row}-12steps-seed${seed}/results.json`;
        return JSON.parse(await Deno.readTextFile(file)).metrics.val.composed["R@1"];
      }));
      ok(Math.abs(estimates[i].mean - (recalls[0] + recalls[1]) / 2) < 1e-9);
      deepStrictEqual(estimates[i].seeds, [1, 2]);
    }
    deepStrictEqual(
      differences.map((d: { method: string; seeds: number[] }) => [d.method, d.seeds]).slice(0, 2),
      [
        ["dropout", [1, 2]],
        ["slow", [1]],
      ],
    );

    await Deno.remove(`${cwd}/o/toy.txt`);
    const again = await run("reproduce", args, cwd);
    deepStrictEqual([again.code, again.stdout, again.stderr], [
      0,
      first.stdout,
      "5 runs in o/toy_experiment: 5 are done\n",
    ]);
    deepStrictEqual(await read(), written);
  });
});

Deno.test("reproduce goes on after Ctrl-C; --done makes the table of what is there", async () => {
  await withFolder(async (cwd) => {
    const args = ["--table", table, "--seeds", "1", "--steps", "100", "--out", "o"];
    const child = task("reproduce", args, cwd);
    const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!/run 2 of 3.*\n.*begins/.test(text)) {
      const { value, done } = await reader.read();
      if (done) break;
      text += value;
    }
    child.kill("SIGINT");
    reader.cancel().catch(() => {}); // the child may be gone
    strictEqual((await child.status).code, 130);
    await child.stdout.cancel();
    const partial = await run("reproduce", [...args, "--done"], cwd);
    strictEqual(partial.code, 0, partial.stderr);
    match(partial.stdout, /\n1 of 3 runs; /);
    const rest = await run("reproduce", args, cwd);
    strictEqual(rest.code, 0, rest.stderr);
    match(rest.stderr, /^3 runs in o\/toy_experiment: 1 are done\n/);
    match(rest.stdout, /\n3 of 3 runs; /);
  });
});

Deno.test("reproduce refuses what it cannot do: exit 2, no stack", async () => {
  await withFolder(async (cwd) => {
    const broken = (rows: string) =>
      `export default { name: "b", experiment: ${
        JSON.stringify(path("tests/train/toy_experiment.ts"))
      }, rows: ${rows} };`;
    await Deno.writeTextFile(
      `${cwd}/flag.ts`,
      broken('[{ name: "a", label: "a", flags: { dorp: 0 }, against: [] }]'),
    );
    await Deno.writeTextFile(
      `${cwd}/type.ts`,
      broken('[{ name: "a", label: "a", flags: { lr: "1" }, against: [] }]'),
    );
    await Deno.writeTextFile(
      `${cwd}/row.ts`,
      broken('[{ name: "a", label: "a", flags: {}, against: ["z"] }]'),
    );
    await Deno.writeTextFile(`${cwd}/none.ts`, "export const a = 1;");
    const cases: [args: string[], message: RegExp][] = [
      [["--table", "dmo"], /^--table: no table "dmo"\n {2}fix {4}there is: demo/],
      [["--table", "gone.ts"], /^gone\.ts does not load: /],
      [["--table", "none.ts"], /^none\.ts: exports no table/],
      [["--table", "flag.ts"], /^row "a": the experiment has no flag "dorp"/],
      [["--table", "type.ts"], /^row "a": lr: expected a number, got "1"/],
      [["--table", "row.ts"], /^row\.ts: row "a" is tested against no row "z"/],
      [
        ["--table", table, "--ablate", "rte"],
        /^--ablate: toy has no ablation "rte"\n {2}fix {4}it has: rate/,
      ],
      [["--seeds", "0"], /^--seeds: expected a whole number of at least 1/],
      [["--out", ""], /^--out: expected a folder/],
      [["--table", table, "--done"], /runs\/reproduce: no run of the table is done/],
      [["extra"], /^reproduce: unexpected argument "extra"/],
    ];
    for (const [args, message] of cases) {
      const { code, stdout, stderr } = await run("reproduce", args, cwd);
      deepStrictEqual([code, stdout], [2, ""], `${args}: ${stderr}`);
      match(stderr.replace(/^\d+ runs in .*\n/, ""), message);
      ok(!stderr.includes("    at "), stderr);
    }
    match((await run("reproduce", ["--help"], cwd)).stdout, /^deno task reproduce \[--flags\]/);
  });
});
