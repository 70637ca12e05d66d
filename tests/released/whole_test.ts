/** Three experiments the whole way, each step a process with the permissions that it needs and no other. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { resolve } from "node:path";
import { env } from "../../lib/core/env.ts";
import { readCsv } from "../../lib/io/csv.ts";
import type { ReleasedDataset } from "../../lib/released/flags.ts";
import { importVisionPackages } from "../../lib/vision/packages.ts";
import { path, run } from "../tasks/run_task.ts";
import { type Arch, TinyWorld } from "./train_tiny.ts";

const cacheDir = resolve(env("CALA_CACHE"));
/** The backbone's packages may be missing where nothing can be installed: then stores of random features do. */
const hasVision = await importVisionPackages({ cacheDir }).then(() => true, () => false);

/** A task that needs npm packages: for pictures. */
async function runWithNpm(name: string, args: readonly string[], cwd: string) {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", path("deno.json"), path(`tasks/${name}.ts`), ...args],
    cwd,
    env: { NO_COLOR: "1", CALA_CACHE: cacheDir },
  }).output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

/** The store of a miniature data set, made by `deno task features` from its pictures. */
async function features(world: TinyWorld, dataset: ReleasedDataset, arch: Arch): Promise<string> {
  const store = await world.store(dataset, arch); // its data set lies beside it
  if (!hasVision) return store;
  const made = `${world.folder}/made`;
  const { code, stderr } = await runWithNpm("features", [
    ...["--dataset", dataset, "--data", `${store}/../${dataset}`, "--encoder", arch],
    ...["--weights", await world.weights(arch), "--vision-provider", "cpu", "--out", made],
  ], world.folder);
  strictEqual(code, 0, stderr);
  return made;
}

/** Training from a store: no network, FFI, subprocess, npm package; of the environment only our own variables. */
const PERMISSIONS = ["--no-npm", "--no-prompt", "--allow-read", "--allow-write", "--allow-env=CALA_*"];

function spawn(name: string, args: readonly string[], cwd: string): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", ...PERMISSIONS, path(`experiments/${name}.ts`), ...args],
    cwd,
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function train(name: string, args: readonly string[], cwd: string) {
  const { code, stdout, stderr } = await spawn(name, args, cwd).output();
  strictEqual(code, 0, new TextDecoder().decode(stderr));
  return { stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Kills a training with signal 9 as soon as its second epoch is validated. */
async function trainAndKill(name: string, args: readonly string[], cwd: string, folder: string) {
  const child = spawn(name, args, cwd), status = child.status;
  let isOver = false;
  status.then(() => isOver = true);
  while (!isOver && (await readCsv(`${folder}/validation_metrics.csv`)).length < 2) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  child.kill("SIGKILL");
  await child.output();
  strictEqual((await status).signal, "SIGKILL", "it was done before it was killed");
}

/** What must be equal, bit for bit, however often a run was killed. */
const REMAINS = [
  "checkpoints/last.safetensors",
  "checkpoints/last.optimizer.safetensors",
  "checkpoints/best.safetensors",
  "log.jsonl",
  "train_metrics.csv",
  "validation_metrics.csv",
  "table.txt",
];
const remains = (folder: string) =>
  Promise.all(REMAINS.map(async (name) => (await Deno.readFile(`${folder}/${name}`)).toBase64()));

interface Whole {
  readonly dataset: ReleasedDataset;
  readonly arch: Arch;
  readonly frame: string;
  readonly flags?: readonly string[];
  /** Columns that the released `validation_metrics.csv` begins with. */
  readonly columns: string;
}

const CIRR =
  "epoch,group_recall_at1,group_recall_at2,group_recall_at3,recall_at1,recall_at5,recall_at10,recall_at50," +
  "mean(R@5+R_s@1),arithmetic_mean,harmonic_mean,geometric_mean";
const FASHION_IQ = "epoch,dress_recall_at10,dress_recall_at50,toptee_recall_at10,toptee_recall_at50," +
  "shirt_recall_at10,shirt_recall_at50,average_recall_at10,average_recall_at50,average_recall";
const WHOLE: readonly Whole[] = [
  { dataset: "cirr", arch: "blip2", frame: "sum", columns: CIRR },
  { dataset: "fashioniq", arch: "clip", frame: "artemis", columns: FASHION_IQ },
  {
    dataset: "cirr",
    arch: "clip",
    frame: "combiner",
    flags: ["--projection-dim", "32", "--hidden-dim", "32"],
    columns: CIRR,
  },
];

for (const { dataset, arch, frame, flags = [], columns } of WHOLE) {
  const name = `${dataset}_${arch}_${frame}`;
  Deno.test(`${name}: features, trained, killed, gone on with, measured, put in a table, submitted`, async () => {
    await using world = await TinyWorld.create();
    const cwd = world.folder, store = await features(world, dataset, arch);
    const args = [
      "--store",
      store,
      "--weights",
      await world.weights(arch),
      "--num-epochs",
      "4",
      "--batch-size",
      dataset === "cirr" ? "4" : "12",
      "--learning-rate",
      "1e-4",
      ...flags,
    ];
    await train(name, [...args, "--out", "whole", "--name", "a"], cwd);
    const folder = `${cwd}/runs/${name}/a`;
    await trainAndKill(name, [...args, "--name", "a"], cwd, folder);
    const { stdout, stderr } = await train(name, [...args, "--name", "a", "--json"], cwd);
    match(stderr, /goes on from step [1-9]/);
    match(stdout, /\nrun folder: runs\//);
    deepStrictEqual(await remains(folder), await remains(`${cwd}/whole/${name}/a`));

    const [validation] = await readCsv(`${folder}/validation_metrics.csv`);
    strictEqual(Object.keys(validation).join().slice(0, columns.length), columns);
    strictEqual(validation.epoch, "0");
    const [epoch] = await readCsv(`${folder}/train_metrics.csv`);
    deepStrictEqual(Object.keys(epoch).slice(0, 2), ["epoch", "train_epoch_loss"]);

    await Deno.remove(await world.weights(arch)); // what a run needs of it is in its own checkpoint
    const evaluated = await run("eval", [`runs/${name}/a`, "--json"], cwd);
    strictEqual(evaluated.code, 0, evaluated.stderr);
    const lastOf = (text: string) => JSON.parse(text.trimEnd().split("\n").at(-1) ?? "");
    deepStrictEqual(lastOf(evaluated.stdout).metrics, lastOf(stdout).metrics);
    // The released commands want the combining function and its sizes named: they are checked against the run's.
    const released = { cirr: "CIRR", fashioniq: "fashionIQ", folder: "folder" }[dataset];
    const named = ["--dataset", released, "--combining-function", frame, ...flags];
    const again = await run("eval", [`runs/${name}/a`, "--json", ...named], cwd);
    strictEqual(again.code, 0, again.stderr);
    deepStrictEqual(lastOf(again.stdout).metrics, lastOf(stdout).metrics);
    const another = await run("eval", [`runs/${name}/a`, "--dataset", "mini"], cwd);
    strictEqual(another.code, 2);
    match(another.stderr, /^--dataset: expected fashioniq or cirr or folder, got "mini"\n/m);
    const sizes = ["--combining-function", "combiner", "--projection-dim", "64"];
    const otherwise = await run("eval", [`runs/${name}/a`, ...sizes], cwd);
    strictEqual(otherwise.code, 2);
    match(
      otherwise.stderr,
      frame === "combiner" ? /otherwise: --projection-dim is 32 there, 64 here\n/ : new RegExp(
        `--combining-function is "${frame}" there, "combiner" here; --projection-dim is absent there, 64 here\n`,
      ),
    );
    const tables = await run("tables", [`runs/${name}/a`, `whole/${name}/a`, "--json"], cwd);
    strictEqual(tables.code, 0, tables.stderr);
    ok(lastOf(tables.stdout).rows.length >= 2);
    const report = await runWithNpm("report", [`runs/${name}/a`, `whole/${name}/a`], cwd);
    strictEqual(report.code, 0, report.stderr);
    ok(!report.stderr.includes("stay grey"), "pictures are read from their files");
    const page = await Deno.readTextFile(`${folder}/report.html`);
    ok(page.includes(`${name}/a: composed`) && page.includes("data:image/webp"));
    strictEqual(page.includes("R@10 in percent by kind"), dataset === "fashioniq"); // by category
    if (dataset !== "cirr") return;
    const submitted = await run("submit", [`runs/${name}/a`], cwd);
    strictEqual(submitted.code, 0, submitted.stderr);
    const files = [...Deno.readDirSync(`${folder}/submission`)].map((file) => file.name).filter((file) =>
      file.endsWith(".json")
    ).sort();
    deepStrictEqual(
      files,
      ["recall", "recall_subset"].map((metric) => `${metric}_submission_${name}_a.json`),
    );
    const checked = await run(
      "submit",
      [
        "--check",
        ...files.map((file) => `${folder}/submission/${file}`),
        "--data",
        `${await world.store(dataset, arch)}/../cirr`,
      ],
      cwd,
    );
    strictEqual(checked.code, 0, checked.stdout + checked.stderr);
  });
}
