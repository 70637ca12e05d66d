/** `deno task features` as a user runs it, with tiny checkpoints. Skipped by name where onnxruntime cannot be installed. */
import { deepStrictEqual, match, notDeepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { resolve } from "node:path";
import { env } from "../../lib/core/env.ts";
import { openFeatureStore } from "../../lib/data/feature_store.ts";
import { importVisionPackages } from "../../lib/vision/packages.ts";
import { writeMiniCirr, writeMiniFashionIq, writeMiniFolder } from "../data/mini.ts";
import { writeTinyBlip2, writeTinyClip } from "../models/tiny_checkpoints.ts";
import { lastLine, path, withFolder } from "./run_task.ts";

const cacheDir = env("CALA_CACHE");
const missing = await importVisionPackages({ cacheDir }).then(() => "", (error: Error) => error.message);

/** A test in a folder with CIRR and FashionIQ in small, and both checkpoints. */
function featuresTest(name: string, test: (cwd: string) => Promise<void>): void {
  Deno.test({
    name: missing ? `${name} (skipped: ${missing})` : name,
    ignore: missing !== "",
    fn: () =>
      withFolder(async (cwd) => {
        await writeMiniCirr(`${cwd}/cirr`);
        await writeMiniFashionIq(`${cwd}/fashioniq`);
        await writeTinyBlip2(`${cwd}/blip2.pth`);
        await writeTinyClip(`${cwd}/clip.pt`);
        await test(cwd);
      }),
  });
}

/** The task in its own process. Packages come from the project: here they may be used. */
const spawn = (args: readonly string[], cwd: string): Deno.ChildProcess =>
  new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", path("deno.json"), path("tasks/features.ts"), ...args],
    cwd,
    env: { NO_COLOR: "1", CALA_CACHE: resolve(cacheDir) },
    stdout: "piped",
    stderr: "piped",
  }).spawn();

async function ended(child: Deno.ChildProcess): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await child.output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}
const run = (args: readonly string[], cwd: string) => ended(spawn(args, cwd));

const CIRR = ["--dataset", "cirr", "--data", "cirr", "--weights", "blip2.pth", "--vision-provider", "cpu"];
const FASHION_IQ = [
  "--dataset",
  "fashioniq",
  "--data",
  "fashioniq",
  "--encoder",
  "clip",
  "--weights",
  "clip.pt",
];

/** Everything that a store's images give. */
async function contentOf(folder: string) {
  using store = await openFeatureStore(folder);
  const { images, dataset, key } = store;
  const into = Object.fromEntries(
    Object.entries(images.fields).map(([name, { shape }]) =>
      [name, new Float32Array(images.count * shape.reduce((a, b) => a * b, 1))] as const
    ),
  );
  images.read(Uint32Array.from({ length: images.count }, (_, i) => i), into);
  return { into, dataset, key };
}

featuresTest("features goes from images and a checkpoint to a store, killed or not", async (cwd) => {
  const whole = await run([...CIRR, "--out", "whole", "--batch-size", "1", "--json"], cwd);
  strictEqual(whole.code, 0, whole.stderr);
  match(whole.stdout, /^whole: 72 images \(72 distinct\), [\d.]+ KiB, 22 texts; 72 computed in /m);
  match(whole.stderr, /computing features: 72 of 72, [\d.e+]+ images\/s/);
  const { computed, isDone, cut, provider } = JSON.parse(lastLine(whole.stdout));
  deepStrictEqual([computed, isDone, cut, provider], [72, true, 0, "cpu"]);

  const again = [...CIRR, "--out", "cut", "--batch-size", "1", "--json"];
  for (const [signal, code] of [["SIGINT", 130], ["SIGKILL", 137]] as const) {
    const child = spawn(again, cwd), before = await linesOf(`${cwd}/cut/records.jsonl`);
    while (await linesOf(`${cwd}/cut/records.jsonl`) < before + 10) {
      await new Promise((done) => setTimeout(done, 1));
    }
    child.kill(signal);
    const { code: got, stdout, stderr } = await ended(child);
    deepStrictEqual([got, stdout], [code, ""], stderr);
    if (signal === "SIGINT") match(stderr, /cut: \d+ images were added; the same command goes on from there/);
  }
  const last = await run(again, cwd);
  strictEqual(last.code, 0, last.stderr);
  const rest = JSON.parse(lastLine(last.stdout)).computed;
  ok(rest > 0 && rest <= 72 - 20, `${rest} were left`);
  deepStrictEqual(await contentOf(`${cwd}/cut`), await contentOf(`${cwd}/whole`));
});

async function linesOf(file: string): Promise<number> {
  const text = await Deno.readTextFile(file).catch(() => "");
  return text.split("\n").length - 1;
}

featuresTest("features makes anew what changed, and refuses another checkpoint", async (cwd) => {
  const command = [...FASHION_IQ, "--out", "store", "--store-dtype", "f32", "--json"];
  strictEqual((await run(command, cwd)).code, 0);
  const before = await contentOf(`${cwd}/store`),
    [{ path: first = "" }, { path: second = "" }] = before.dataset.images;
  await Deno.copyFile(resolve(cwd, second), resolve(cwd, first));
  const changed = await run(command, cwd);
  strictEqual(changed.code, 0, changed.stderr);
  const { computed, distinct } = JSON.parse(lastLine(changed.stdout));
  deepStrictEqual([computed, distinct], [0, 203]); // the same bytes are there already
  const after = await contentOf(`${cwd}/store`), size = after.into.map.length / 204;
  deepStrictEqual(after.into.map.subarray(0, size), before.into.map.subarray(size, 2 * size));

  await writeTinyClip(`${cwd}/clip.pt`, { seed: 2 });
  const refused = await run(command, cwd);
  deepStrictEqual([refused.code, refused.stdout], [2, ""]);
  match(
    refused.stderr,
    /^store: the store's backbone is [0-9a-f]{64}, not [0-9a-f]{64}\n.*\n {2}fix {4}.*--replace/m,
  );
  const replaced = await run([...command, "--replace"], cwd);
  strictEqual(JSON.parse(lastLine(replaced.stdout)).computed, 203, replaced.stderr);
  notDeepStrictEqual((await contentOf(`${cwd}/store`)).into, after.into);
});

featuresTest(
  "features keeps each data set's order of conversion, and one data set's store from another",
  async (cwd) => {
    const command = [...FASHION_IQ, "--out", "store"];
    strictEqual((await run(command, cwd)).code, 0);
    strictEqual((await run([...CIRR, "--out", "cirr_store"], cwd)).code, 0);
    const isRgbFirst = async (folder: string) => {
      using store = await openFeatureStore(folder);
      return store.settings.preprocess.convertRgbFirst;
    };
    deepStrictEqual([await isRgbFirst(`${cwd}/store`), await isRgbFirst(`${cwd}/cirr_store`)], [true, false]); // Q29

    await writeMiniFolder(`${cwd}/folder`);
    const other = ["--dataset", "folder", "--data", "folder", ...command.slice(4)],
      before = await contentOf(`${cwd}/store`);
    const refused = await run(other, cwd);
    deepStrictEqual([refused.code, refused.stdout], [2, ""]);
    match(refused.stderr, /^store: holds features of "FashionIQ", not of "mini"$/m);
    deepStrictEqual(await contentOf(`${cwd}/store`), before);
    strictEqual((await run([...other, "--replace"], cwd)).code, 0);
    strictEqual((await contentOf(`${cwd}/store`)).dataset.name, "mini");
  },
);

featuresTest("features says what --skip-missing leaves out, and where it is named", async (cwd) => {
  const [{ name }] = Deno.readDirSync(`${cwd}/cirr/dev`);
  await Deno.remove(`${cwd}/cirr/dev/${name}`);
  const { code, stderr } = await run([...CIRR, "--out", "store", "--skip-missing"], cwd);
  strictEqual(code, 0, stderr);
  match(
    stderr,
    /^left out: 1 images without a readable file and \d queries .* under "missing" in store\/dataset\.json$/m,
  );
  const { dataset } = JSON.parse(await Deno.readTextFile(`${cwd}/store/dataset.json`));
  deepStrictEqual(dataset.missing.images, [name.replace(".png", "")]);
});

featuresTest("features adds embeds to a store that it makes, or to a finished one", async (cwd) => {
  const whole = await run([...CIRR, "--out", "store", "--embeds", "--json"], cwd);
  strictEqual(whole.code, 0, whole.stderr);
  match(whole.stdout, /^store\/embeds: 72 images \(72 distinct\), [\d.]+ KiB; 72 computed in /m);
  strictEqual(JSON.parse(lastLine(whole.stdout)).embeds.computed, 72);
  const { into: before } = await contentOf(`${cwd}/store/embeds`);
  await Deno.remove(`${cwd}/store/embeds`, { recursive: true });
  const added = await run(["--embeds", "--weights", "blip2.pth", "--out", "store"], cwd);
  deepStrictEqual([added.code, added.stdout.split(":")[0]], [0, "store/embeds"], added.stderr);
  deepStrictEqual((await contentOf(`${cwd}/store/embeds`)).into, before);
});

featuresTest("a store is opened without npm packages, network, native code or subprocess", async (cwd) => {
  strictEqual((await run([...CIRR, "--out", "store"], cwd)).code, 0);
  const script = `import { openFeatureStore } from ${JSON.stringify(path("lib/data/feature_store.ts"))};
using store = await openFeatureStore("store");
const { dataset: { splits }, images, tokenizer } = store;
const tokens = new Float32Array(images.fields.tokens.shape.reduce((a, b) => a * b));
images.read([splits.val.triplets[2].reference], { tokens });
console.log(splits.val.triplets[2].captions[0], tokenizer.encode(splits.val.triplets[2].captions[0], 32).join(" "));`;
  await Deno.writeTextFile(`${cwd}/read.ts`, script);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-npm", "--no-prompt", "--no-config", "--allow-read", "--deny-net", "read.ts"],
    cwd,
    env: { NO_COLOR: "1", DENO_DIR: `${cwd}/deno` },
  }).output();
  strictEqual(code, 0, new TextDecoder().decode(stderr));
  strictEqual(new TextDecoder().decode(stdout), "the façade is  Red 101 1996 8508 2003 2417 102\n"); // BERT's ids
});

Deno.test("features says what is missing, and what it takes", async () => {
  await withFolder(async (cwd) => {
    const help = await run(["--help"], cwd);
    strictEqual(help.code, 0);
    match(help.stdout, /--store-dtype f16\|f32 .*\(default f16\)/);
    const refusals: [args: string[], message: RegExp][] = [
      [["--data", "x"], /^--weights is missing/],
      [["--embeds", "--weights", "y.pth"], /^--out is missing/],
      [["--data", "x", "--weights", "y.pth"], /^--data: x: no such folder/],
      [["--data", "x", "--weights", "y.pth", "--out", "z"], /^no CIRR in x/],
      [
        ["--embeds", "--encoder", "clip", "--weights", "y.pth", "--out", "z"],
        /^--embeds: clip has no visual Q-Former/,
      ],
      [
        ["--vision-provider", "rocm"],
        /^--vision-provider: expected auto or cpu or webgpu or cuda or coreml or dml/,
      ],
    ];
    for (const [args, message] of refusals) {
      const { code, stdout, stderr } = await run(args, cwd);
      deepStrictEqual([code, stdout], [2, ""]);
      match(stderr, message);
    }
    deepStrictEqual([...Deno.readDirSync(cwd)], []);
  });
});
