/** `--batch-norm batch`: the released training of CLIP, whose ResNet normalises by batches. Needs onnxruntime. */
import { deepStrictEqual, match, notDeepStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { resolve } from "node:path";
import { env } from "../../lib/core/env.ts";
import { ConfigError } from "../../lib/core/errors.ts";
import { DecodePool } from "../../lib/data/decode_pool.ts";
import { openFeatureStore } from "../../lib/data/feature_store.ts";
import { TrainLoader } from "../../lib/data/loader.ts";
import { openWeights } from "../../lib/io/weights_file.ts";
import { openFirstStage } from "../../lib/released/first_stage.ts";
import { singleCaption } from "../../lib/text/captions.ts";
import { Progress } from "../../lib/train/progress.ts";
import { readResults } from "../../lib/train/results.ts";
import { afterBatch } from "../../lib/vision/batch_norm.ts";
import { openLiveResNet } from "../../lib/vision/live_resnet.ts";
import { importVisionPackages } from "../../lib/vision/packages.ts";
import { openExperiment } from "../../tasks/experiments.ts";
import { lastLine, path } from "../tasks/run_task.ts";
import { TinyWorld } from "./train_tiny.ts";

const cacheDir = resolve(env("CALA_CACHE"));
const missing = await importVisionPackages({ cacheDir }).then(() => "", (error: Error) => error.message);
const NAME = "folder_clip_sum", BATCH = 6;

/** Two epochs of two steps. */
const FLAGS = { batchNorm: "batch", epochs: 2, validateFirst: false }, STEPS = 4;

function runtimeTest(name: string, run: (world: TinyWorld, t: Deno.TestContext) => Promise<void>): void {
  Deno.test({
    name: missing ? `${name} (skipped: ${missing})` : name,
    ignore: missing !== "",
    async fn(t) {
      await using world = await TinyWorld.create();
      await run(world, t);
    },
  });
}

/** A process. */
async function task(file: string, args: readonly string[], { permissions = ["-A"], cwd = path("") } = {}) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", ...permissions, "--config", path("deno.json"), path(file), ...args],
    cwd,
    env: { NO_COLOR: "1", CALA_CACHE: cacheDir },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** What the published checkpoint's statistics become in the steps of a run: references, then targets. */
async function expectedStatistics(world: TinyWorld, steps: number) {
  using weights = await openWeights(await world.weights("clip"));
  using store = await openFeatureStore(await world.store("folder", "clip"));
  using pool = new DecodePool(store.settings.preprocess);
  await using resnet = await openLiveResNet({ weights, cacheDir });
  const { dataset, tokenizer, hashes } = store;
  const loader = new TrainLoader(dataset.splits.train.triplets, {
    ...{ batchSize: BATCH, seed: 42, tokenizer, bucketLengths: [77], caption: singleCaption },
  });
  let running = resnet.initial;
  for (let step = 0; step < steps; step++) {
    const { references, targets } = loader.batchAt(step);
    for (const ids of [references, targets]) {
      const parts = await Promise.all(
        [...ids].map((id) => pool.read(dataset.images[id].path ?? "", hashes[id])),
      );
      const pixels = Float32Array.from(parts.flatMap((part) => [...part]));
      running = afterBatch(running, (await resnet.run(pixels)).statistics, resnet.layers, ids.length);
    }
  }
  let end = 0;
  return new Map(resnet.layers.flatMap(({ name, channels }) => {
    const start = end;
    end += channels;
    return [
      [`${name}.running_mean`, running.mean.slice(start, end)],
      [`${name}.running_var`, running.variance.slice(start, end)],
      [`${name}.num_batches_tracked`, Float32Array.of(2 * steps)],
    ] as const;
  }));
}

/** The visual tensors of a file, by key. */
async function visualOf(file: string, prefix = "", at?: string) {
  using weights = await openWeights(file, { at });
  const keys = [...weights.tensors.keys()].filter((key) => key.startsWith(`${prefix}visual.`));
  return new Map(
    keys.map((key) => [key.slice(prefix.length), Float32Array.from([...weights.read(key).data], Number)]),
  );
}

runtimeTest(
  "a run trains by batch statistics and keeps the running ones as PyTorch does",
  async (world, t) => {
    const run = await world.train(NAME, FLAGS), last = `${run}/checkpoints/last.safetensors`;
    const statistics = await visualOf(last, "clip."), weights = await world.weights("clip");

    await t.step("they are those of each step's references, then its targets", async () => {
      const expected = await expectedStatistics(world, STEPS);
      deepStrictEqual(statistics, expected);
      const { protocol } = await readResults(run);
      deepStrictEqual([protocol.batchNorm, protocol.features], ["batch", "f32"]);
    });

    await t.step("eval measures by those of the checkpoint", async () => {
      const { code, stdout, stderr } = await task("tasks/eval.ts", [run, "--json"]);
      strictEqual(code, 0, stderr);
      deepStrictEqual(JSON.parse(lastLine(stdout)).metrics, (await readResults(run)).metrics);
    });

    await t.step("convert gives the released file, and the Combiner refuses them", async () => {
      const released = `${world.folder}/tuned_clip.pt`;
      const { code, stderr } = await task(
        "tasks/convert.ts",
        [last, released, "--only", "clip", "--base", weights],
      );
      strictEqual(code, 0, stderr);
      const tuned = await visualOf(released, "", "CLIP"), published = await visualOf(weights);
      deepStrictEqual(tuned, new Map([...published, ...statistics]));
      notDeepStrictEqual(statistics.get("visual.bn1.running_mean"), published.get("visual.bn1.running_mean"));
      await rejects(openFirstStage(run), (error: ConfigError) => {
        match(error.message, /^--first-stage: .* was trained with --batch-norm batch$/);
        return error instanceof ConfigError;
      });
    });

    await t.step("interrupted, it ends with the same bits", async () => {
      const experiment = await openExperiment(NAME), store = await world.store("folder", "clip");
      const config = experiment.configFrom({ store, weights, batchSize: BATCH, ...FLAGS });
      /** Ends after as many steps. */
      const train = async (steps: number) => {
        const controller = new AbortController();
        let seen = 0;
        using progress = new Progress({
          isTerminal: false,
          write(text) {
            if (/loss/.test(text) && ++seen === steps) {
              controller.abort(new DOMException("interrupted", "AbortError"));
            }
          },
        });
        return await experiment.run(
          { out: `${world.folder}/again`, config, name: "a", isFresh: false },
          { logEvery: 1, signal: controller.signal, progress },
        );
      };
      strictEqual(await train(1), undefined);
      const again = await train(Infinity) ?? "";
      for (const name of ["last", "last.optimizer", "best"]) {
        const file = `checkpoints/${name}.safetensors`;
        deepStrictEqual(await Deno.readFile(`${again}/${file}`), await Deno.readFile(`${run}/${file}`), name);
      }
      for (const name of ["log.jsonl", "table.txt"]) {
        strictEqual(
          await Deno.readTextFile(`${again}/${name}`),
          await Deno.readTextFile(`${run}/${name}`),
          name,
        );
      }
    });
  },
);

runtimeTest(
  "without native code, or over a picture that has changed, training says what to do",
  async (world) => {
    const store = await world.store("folder", "clip"), weights = await world.weights("clip");
    const flags = [
      "--batch-norm",
      "batch",
      "--store",
      store,
      "--weights",
      weights,
      "--batch-size",
      String(BATCH),
    ];
    const file = `experiments/${NAME}.ts`, cwd = world.folder;
    const permissions = ["--no-npm", "--no-prompt", "--allow-read", "--allow-write", "--allow-env=CALA_*"];
    const bare = await task(file, flags, { permissions, cwd });
    strictEqual(bare.code, 2, bare.stderr);
    match(bare.stderr, /onnxruntime-node cannot be loaded[^]*--allow-ffi/);
    const { dataset } = await openFeatureStore(store);
    const { path: picture = "" } = dataset.images[dataset.splits.train.triplets[0].reference];
    await Deno.writeFile(picture, new Uint8Array(1), { append: true });
    const changed = await task(file, [...flags, "--no-validate-first"], { cwd });
    strictEqual(changed.code, 2, changed.stderr);
    match(changed.stderr, /is not as it was for .*\n[^]*deno task features/);
  },
);
