/** The frozen visual copy's output, stored: trained from, measured with, refused, and made again. */
import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { parseFlags } from "../../lib/core/flags.ts";
import type { StoreDType } from "../../lib/data/feature_layout.ts";
import { openFeatureStore } from "../../lib/data/feature_store.ts";
import { openWeights } from "../../lib/io/weights_file.ts";
import { writeTorchCheckpoint } from "../../lib/io/torch_writer.ts";
import { openReleasedData } from "../../lib/released/data.ts";
import { storeEmbeds } from "../../lib/released/embeds.ts";
import { blip2Flags } from "../../lib/released/flags.ts";
import { randomBlip2 } from "../../tasks/bench/random_checkpoint.ts";
import type { StoredConfig } from "../../lib/train/config.ts";
import { TINY_BLIP2 } from "../models/tiny_checkpoints.ts";
import { path, run } from "../tasks/run_task.ts";
import { writeTinyStore } from "./tiny_store.ts";
import { stepsOf, TinyWorld } from "./train_tiny.ts";

/** A store of CIRR in small. */
async function storeOf(world: TinyWorld, dtype: StoreDType): Promise<string> {
  return await writeTinyStore(
    `${world.folder}/${dtype}`,
    "cirr",
    "blip2",
    await world.weights("blip2"),
    dtype,
  );
}

/** Adds `embeds`, by default with the checkpoint of the features. */
async function add(
  world: TinyWorld,
  store: string,
  options: { from?: string; replace?: boolean; signal?: AbortSignal; onBatch?: () => void } = {},
) {
  const { from = await world.weights("blip2"), onBatch = () => {}, ...others } = options;
  using weights = await openWeights(from);
  return await storeEmbeds({ store, weights, batchSize: 16, ...others, onProgress: onBatch });
}

/** The same vision under another Q-Former. */
async function otherQFormer(world: TinyWorld): Promise<string> {
  const path = `${world.folder}/other.pth`,
    one = randomBlip2(TINY_BLIP2, 1),
    two = randomBlip2(TINY_BLIP2, 2);
  const model = {
    tensors: one.tensors,
    read: (key: string) => (key === "query_tokens" ? two : one).read(key),
  };
  await writeTorchCheckpoint(path, { model });
  return path;
}

/** Every loss term of every step. */
const losses = async (folder: string): Promise<number[]> =>
  (await stepsOf(folder)).flatMap(({ step: _, epoch: __, lr: ___, ...terms }) =>
    Object.values(terms).map(Number)
  );
const largestDifference = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((x, i) => Math.abs(x - b[i]) / Math.abs(x)));

/** A run's experiment is named relative to the project. */
const evaluate = (folder: string) => run("eval", [folder, "--json"], path(""));

/** Variants of a training in `multi`, and by how much its losses may differ from those without stored embeds. */
const VARIANTS: readonly { name: string; dtype: StoreDType; flags: StoredConfig; bound: number }[] = [
  { name: "CaLa", dtype: "f32", flags: {}, bound: 1e-6 },
  { name: "baseline", dtype: "f32", flags: { baseline: true, tacWeight: 0, hcaWeight: 0 }, bound: 1e-6 },
  { name: "gradcache", dtype: "f32", flags: { memory: "gradcache", microBatch: 2 }, bound: 1e-6 },
  { name: "f16", dtype: "f16", flags: {}, bound: 2 ** -11 }, // the rounding of one number
];

Deno.test("multi with stored embeds has the losses that it has without, and is measured from its own checkpoint", async (t) => {
  await using world = await TinyWorld.create();
  for (const [dtype, variants] of Map.groupBy(VARIANTS, (variant) => variant.dtype)) {
    const store = await storeOf(world, dtype);
    // With dropout on: its sites do not move where the visual copy is left out.
    const train = (flags: StoredConfig) =>
      world.train("cirr_blip2_sum", { store, encoder: "multi", learningRate: 1e-3, ...flags });
    const computed: number[][] = [];
    for (const { flags } of variants) computed.push(await losses(await train(flags)));
    const { isDone, computed: images, distinct } = await add(world, store);
    deepStrictEqual([isDone, images], [true, distinct]);
    for (const [i, { name, flags, bound }] of variants.entries()) {
      await t.step(name, async () => {
        const folder = await train(flags), found = await losses(folder);
        const difference = largestDifference(computed[i], found);
        ok(found.length >= 4 && difference <= bound, `${difference}`);
        if (dtype === "f32") return;
        ok(difference > 0, "the stored embeds were not read");
        const evaluated = await evaluate(folder);
        strictEqual(evaluated.code, 0, evaluated.stderr);
      });
    }
  }
});

Deno.test("multi reads of targets and galleries their embeds alone; both reads none, even where they are damaged", async () => {
  await using world = await TinyWorld.create();
  const store = await storeOf(world, "f32"), weights = await world.weights("blip2");
  await add(world, store);
  const open = (line: string) =>
    openReleasedData(
      { cacheDir: world.folder, progress: () => {} },
      parseFlags(blip2Flags("cirr", "sum"), `--store ${store} --weights ${weights} ${line}`.split(" "))
        .values,
    );
  const { images, fields } = await open("--encoder multi");
  deepStrictEqual([Object.keys(images.fields), fields], [["tokens", "embeds"], {
    train: undefined,
    candidates: ["embeds"],
  }]);
  images[Symbol.dispose]();
  const plain = await open("--encoder multi --baseline");
  deepStrictEqual(plain.fields, { train: ["tokens"], candidates: ["embeds"] });
  plain.images[Symbol.dispose]();

  await Deno.writeTextFile(`${store}/embeds/store.json`, "{");
  const both = await open("--encoder both");
  deepStrictEqual([Object.keys(both.images.fields), both.embeds], [["tokens"], undefined]);
  both.images[Symbol.dispose]();
  await rejects(open("--encoder multi"), {
    name: "DataError",
    message: /embeds\/store\.json: not JSON/,
    fix: /deno task features --embeds .*\n {2}or remove the folder/,
  });
});

Deno.test("embeds of another Q-Former, other features or other images are refused with the command that makes them", async () => {
  await using world = await TinyWorld.create();
  const store = await storeOf(world, "f32"), weights = await world.weights("blip2");
  const other = await otherQFormer(world);
  const train = () => world.train("cirr_blip2_sum", { store, encoder: "multi" });
  const folder = await train();
  await add(world, store, { from: other });
  const refusal = {
    name: "ConfigError",
    message: /store\/embeds: is of another visual Q-Former, or of other features, than this run's/,
    fix: new RegExp(`deno task features --embeds --replace --out ${store} --weights ${weights}`),
  };
  await rejects(train(), refusal);
  await rejects(add(world, store), /store\/embeds: the store's backbone is [0-9a-f]{64}, not [0-9a-f]{64}/);
  const evaluated = await evaluate(folder);
  deepStrictEqual([evaluated.code, /is of another visual Q-Former/.test(evaluated.stderr)], [2, true]);
  strictEqual((await add(world, store, { replace: true })).isDone, true);
  await train();

  await Deno.rename(`${store}/embeds`, `${world.folder}/embeds`);
  const f16 = await storeOf(world, "f16"); // of the same images, rounded
  await Deno.rename(`${world.folder}/embeds`, `${f16}/embeds`);
  await rejects(world.train("cirr_blip2_sum", { store: f16, encoder: "multi" }), {
    ...refusal,
    fix: /--embeds --replace/,
  });
  await Deno.rename(`${f16}/embeds`, `${await world.store("fashioniq", "blip2")}/embeds`);
  await rejects(
    world.train("fashioniq_blip2_sum", { encoder: "multi" }),
    /embeds: is of \d+ images that are not those of/,
  );
});

Deno.test("embeds are gone on with where they stopped, and damaged ones are made anew", async () => {
  await using world = await TinyWorld.create();
  const store = await storeOf(world, "f16");
  const { distinct } = await add(world, store);
  const before = await Deno.readFile(`${store}/embeds/features-00000.bin`);
  const again = await add(world, store);
  deepStrictEqual([again.computed, again.damaged], [0, 0]);

  const changed = before.slice();
  changed[100] ^= 1;
  await Deno.writeFile(`${store}/embeds/features-00000.bin`, changed);
  const mended = await add(world, store);
  deepStrictEqual([mended.computed, mended.damaged], [1, 1]);
  deepStrictEqual(await Deno.readFile(`${store}/embeds/features-00000.bin`), before);

  await Deno.remove(`${store}/embeds`, { recursive: true });
  const stop = new AbortController();
  const cut = await add(world, store, { signal: stop.signal, onBatch: () => stop.abort() });
  deepStrictEqual([cut.isDone, cut.computed], [false, 16]);
  await rejects(
    world.train("cirr_blip2_sum", { store, encoder: "multi" }),
    /embeds: the store is not finished/,
  );
  const rest = await add(world, store);
  deepStrictEqual([rest.isDone, rest.computed], [true, distinct - 16]);
  deepStrictEqual(await Deno.readFile(`${store}/embeds/features-00000.bin`), before);
  using opened = await openFeatureStore(`${store}/embeds`);
  deepStrictEqual(opened.settings.fields, {
    embeds: [TINY_BLIP2.numQueryTokens, TINY_BLIP2.hiddenSize],
  });
});
