/** The Combiner's stored features of texts: what the text encoder gives, made once, never used when damaged. */
import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { DataError } from "../../lib/core/errors.ts";
import { openWeights } from "../../lib/io/weights_file.ts";
import { clipFrom } from "../../lib/models/clip_from.ts";
import { openReleasedData, type StoreFlags } from "../../lib/released/data.ts";
import { clipFlags } from "../../lib/released/flags.ts";
import { storedTextFeatures } from "../../lib/released/text_features.ts";
import { withDefaults } from "../../lib/core/flags.ts";
import { Experiment } from "../../lib/train/experiment.ts";
import { openExperiment } from "../../tasks/experiments.ts";
import { stepsOf, TinyWorld } from "./train_tiny.ts";

Deno.test("the Combiner trains on stored features as on those that are computed at each step", async () => {
  await using world = await TinyWorld.create();
  const flags = { projectionDim: 16, hiddenDim: 16, learningRate: 1e-3, epochs: 3, validateFirst: false };
  const { flags: own, functions } = await openExperiment("fashioniq_clip_combiner");
  const computed = new Experiment(import.meta.url, own, {
    ...functions,
    data: (run, c) => openReleasedData(run, c as unknown as StoreFlags),
  });
  const stored = await stepsOf(await world.train("fashioniq_clip_combiner", flags));
  const expected = await stepsOf(await world.train("fashioniq_clip_combiner", flags, computed));
  strictEqual(stored.length, 6);
  stored.forEach(({ loss }, i) => {
    const difference = Math.abs(Number(loss) / Number(expected[i].loss) - 1);
    ok(difference < 1e-5, `step ${i + 1}: ${loss}, computed ${expected[i].loss}`);
  });
});

Deno.test("stored features are made once; damaged ones and unknown texts are refused", async () => {
  await using world = await TinyWorld.create();
  const cacheDir = `${world.folder}/cache`, store = await world.store("cirr", "clip");
  using weights = await openWeights(await world.weights("clip"));
  const { clip } = await clipFrom(weights);
  const data = await openReleasedData(
    { cacheDir: world.folder, progress: () => {} },
    withDefaults(clipFlags("cirr", "sum"), { store }) as unknown as StoreFlags,
  );
  const said: string[] = [];
  const open = () => storedTextFeatures(clip, data, { cacheDir, progress: (text) => said.push(text) });
  const texts = data.dataset.splits.val.triplets.slice(0, 3).map(({ captions: [caption] }) => caption);
  const read = async () => {
    const features = await open(), into = new Float32Array(3 * features.dim);
    features.read(texts, into);
    throws(() => features.read(["never seen"], into), /no features of the text "never seen" are stored/);
    return into;
  };
  const first = await read();
  ok(first.some((v) => v !== 0));
  strictEqual(said.length, 1);
  deepStrictEqual(await read(), first);
  strictEqual(said.length, 1);

  const [file] = [...Deno.readDirSync(`${cacheDir}/text-features`)].map(({ name }) =>
    `${cacheDir}/text-features/${name}`
  );
  const bytes = await Deno.readFile(file);
  bytes[bytes.length - 1] ^= 1;
  await Deno.writeFile(file, bytes);
  await rejects(
    open(),
    (error) => error instanceof DataError && /is not as it was written/.test(error.message),
  );
  data.images[Symbol.dispose]();
});
