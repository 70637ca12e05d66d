import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import { jobsOf } from "../../tasks/reproduce/jobs.ts";
import { chooseRows, openTable, tableNames } from "../../tasks/reproduce/open_table.ts";
import { runMs } from "../../tasks/reproduce/probe.ts";
import { lastLine, path, run, task, withFolder } from "./run_task.ts";

const table = path("tests/tasks/toy_table.ts");

Deno.test("the demo's table: seeds outside, rows inside; the rows of the question; flags for every row", async () => {
  const demo = await openTable("demo"), options = { out: "o", seeds: 3 };
  const jobs = jobsOf(demo.rows, {}, options);
  strictEqual(jobs.length, 9 * 3 + 4);
  deepStrictEqual(jobs.slice(0, 4).map(({ name }) => name), [
    "baseline-1000steps-seed42",
    "tac-1000steps-seed42",
    "hca-1000steps-seed42",
    "cala-1000steps-seed42",
  ]);
  deepStrictEqual([...new Set(jobs.map(({ seed }) => seed))], [42, 43, 44]);
  const { tacWeight, hcaWeight, matchScale } = jobs[0].config;
  deepStrictEqual([tacWeight, hcaWeight, matchScale], [0, 0, 100]);
  const short = jobsOf(chooseRows(demo, ["cala", "baseline-scale55"]), { steps: 50, seed: 7 }, options);
  deepStrictEqual(short.map(({ name }) => name).slice(0, 2), [
    "cala-50steps-seed7",
    "baseline-scale55-50steps-seed7",
  ]);
  strictEqual(short.length, 6);
  strictEqual(short[1].config.matchScale, 55);
  throws(() => jobsOf(demo.rows, { matchScale: 50 }, options), {
    message: '--match-scale: row "baseline-scale55" has its own: 55',
  });
});

Deno.test("every table opens: its rows' flags are those of their experiments", async () => {
  for (const name of tableNames()) ok((await openTable(name)).rows.length > 0, name);
});

Deno.test("the tables of CIRR and FashionIQ: ablations are rows, the Combiner goes on from a run of its seed", async () => {
  for (const name of ["cirr", "fashioniq"]) {
    const { rows } = await openTable(name), jobs = jobsOf(rows, { epochs: 2 }, { out: "o", seeds: 2 });
    strictEqual(jobs.length, 2 * 22);
    const of = (row: string, seed: number) => {
      const job = jobs.find((job) => job.row.name === row && job.seed === seed);
      ok(job, row);
      return job;
    };
    const weights = ["baseline", "tac", "hca", "cala"].map((part) => {
      const { tacWeight, hcaWeight } = of(`blip2-artemis-${part}`, 42).config;
      return [tacWeight, hcaWeight];
    });
    deepStrictEqual(weights, [[0, 0], [0.45, 0], [0, 0.1], [0.45, 0.1]]);
    strictEqual(of("blip2-multi-sum-cala", 42).config.encoder, "multi");
    for (const part of ["baseline", "cala"]) {
      const first = of(`clip-sum-${part}`, 43), second = of(`clip-combiner-${part}`, 43);
      strictEqual(second.config.firstStage, first.path);
      strictEqual(first.path, `o/${name}_clip_sum/clip-sum-${part}-2epochs-seed43`);
      ok(jobs.indexOf(first) < jobs.indexOf(second));
    }
  }
});

Deno.test("runMs() counts steps and rankings", () => {
  const probe = { stepMs: 2, rankingMs: 10, totalSteps: 100, evalEvery: 25 };
  strictEqual(runMs(probe), 200 + (1 + 4 + 3) * 10);
  strictEqual(runMs({ ...probe, evalEvery: 0 }), 200 + (1 + 1 + 3) * 10);
});

Deno.test("reproduce says how long it takes, trains, compares; again it trains nothing and writes the same bytes", async () => {
  await withFolder(async (cwd) => {
    const args = ["--table", table, "--seeds", "2", "--out", "o", "--json"];
    const first = await run("reproduce", args, cwd);
    strictEqual(first.code, 0, first.stderr);
    match(first.stderr, /^5 runs in o: 0 are done\n/);
    match(first.stderr, /\nbaseline: [\d.]+ ms a step, about .* a run \(measured\)\n/);
    match(first.stderr, /\n5 runs to train: about .* on this machine\n/);
    match(first.stderr, /\nrun 5 of 5: dropout, seed 2; about .* left for all\n/);
    match(first.stdout, /^Recall in percent on toy val/);
    match(first.stdout, /\n5 of 5 runs; 12 steps; commit /);
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
      "5 runs in o: 5 are done\n",
    ]);
    deepStrictEqual(await read(), written);
  });
});

Deno.test("reproduce goes on after kill -9 and after Ctrl-C; --done makes the table of what is there", async () => {
  await withFolder(async (cwd) => {
    const args = ["--table", table, "--seeds", "1", "--steps", "100", "--eval-every", "25", "--out", "o"];
    const endIn = async (run: RegExp, signal: Deno.Signal) => {
      const child = task("reproduce", args, cwd);
      const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      while (!run.test(text)) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
      }
      child.kill(signal);
      reader.cancel().catch(() => {}); // the child may be gone
      const { code } = await child.status;
      await child.stdout.cancel();
      return code;
    };
    strictEqual(await endIn(/run 1 of 3[^]*begins/, "SIGKILL"), 128 + 9);
    strictEqual(await endIn(/run 2 of 3[^]*begins/, "SIGINT"), 130);
    const partial = await run("reproduce", [...args, "--done"], cwd);
    strictEqual(partial.code, 0, partial.stderr);
    match(partial.stdout, /\n1 of 3 runs; /);
    const rest = await run("reproduce", args, cwd);
    strictEqual(rest.code, 0, rest.stderr);
    match(rest.stderr, /^3 runs in o: 1 are done\n/);
    match(rest.stdout, /\n3 of 3 runs; /);
    const whole = await run("reproduce", [...args, "--out", "whole", "--rows", "baseline"], cwd);
    strictEqual(whole.code, 0, whole.stderr);
    const ranks = (out: string) =>
      Deno.readTextFile(`${cwd}/${out}/toy_experiment/baseline-100steps-seed1/rankings_val.jsonl`);
    strictEqual(await ranks("o"), await ranks("whole"));
  });
});

Deno.test("reproduce refuses what it cannot do: exit 2, no stack", async () => {
  await withFolder(async (cwd) => {
    const broken = (rows: string) =>
      `export default { name: "b", experiment: ${
        JSON.stringify(path("tests/train/toy_experiment.ts"))
      }, rows: ${rows} };`;
    const file = (name: string, rows: string) => Deno.writeTextFile(`${cwd}/${name}.ts`, broken(rows));
    const row = (flags: string) => `[{ name: "a", label: "a", flags: ${flags}, against: [] }]`;
    await file("flag", row("{ dropp: 0 }"));
    await file("type", row('{ lr: "1" }'));
    await file("choice", row('{ tableFrom: "lst" }'));
    await file("seed", row("{ seed: 3 }"));
    await file("row", '[{ name: "a", label: "a", flags: {}, against: ["z"] }]');
    await file("label", '[{ name: "a", flags: {}, against: [] }]');
    await Deno.writeTextFile(`${cwd}/none.ts`, "export const a = 1;");
    const cases: [args: string[], message: RegExp][] = [
      [["--table", "dmo"], /^--table: no table "dmo"\n {2}fix {4}there is: .*demo/],
      [["--table", "gone.ts"], /^gone\.ts does not load: /],
      [["--table", "none.ts"], /^none\.ts: exports no table/],
      [
        ["--table", "flag.ts"],
        /^unknown flag --dropp\n {2}where {2}flag\.ts: row "a", .*toy_experiment\.ts\n {2}fix {4}did you mean --drop\?/,
      ],
      [["--table", "type.ts"], /^--lr: expected a number.*, got "1"\n {2}where {2}type\.ts: row "a"/],
      [["--table", "choice.ts"], /^--table-from: expected last or best, got "lst"\n {2}where/],
      [["--table", "seed.ts"], /^seed\.ts: row "a": its seeds are those of --seeds/],
      [["--table", "row.ts"], /^row\.ts: row "a" is tested against no row "z"/],
      [["--table", "label.ts"], /^label\.ts: row 1: expected \{ name, label, flags, against \}/],
      [
        ["--table", table, "--rows", "slo"],
        /^--rows: toy has no row "slo"\n {2}fix {4}did you mean "slow"\? it has: /,
      ],
      [["--table", table, "--lr", "0.1"], /^--lr: row "slow" has its own: 0\.001\n {2}fix/],
      [["--table", table, "--lrr", "0.1"], /^unknown flag --lrr\n {2}fix {4}did you mean --lr\?/],
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
