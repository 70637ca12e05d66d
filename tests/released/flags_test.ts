/** The released command line: its names, the README's defaults, and what is refused. */
import { deepStrictEqual, match, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { type FlagSpecs, helpText, parseFlags } from "../../lib/core/flags.ts";
import type { ParamGroup } from "../../lib/models/encoders.ts";
import { openReleasedData } from "../../lib/released/data.ts";
import { blip2Flags, clipFlags, combinerFlags } from "../../lib/released/flags.ts";
import { releasedOptimizer } from "../../lib/released/optimizer.ts";
import { checkEmbedsDim, openReleasedWeights } from "../../lib/released/weights.ts";
import { configDifferences, runFlags, type StoredConfig } from "../../lib/train/config.ts";
import { openExperiment } from "../../tasks/experiments.ts";
import { writeTinyBlip2 } from "../models/tiny_checkpoints.ts";
import { writeTinyStore } from "./tiny_store.ts";

/** No test here looks into the cache. */
const HERE = { cacheDir: "no/such/cache", progress: () => {} };

/** As a user types it. */
const parse = <S extends FlagSpecs>(flags: S, line: string) =>
  parseFlags({ ...flags, ...runFlags }, line.split(" ").filter(Boolean)).values;

/** The README's command, without the names of its data and of its experiment. */
const README =
  "--num-epochs 30 --batch-size 64 --max-epoch 15 --min-lr 0 --learning-rate 5e-6 --transform targetpad " +
  "--target-ratio 1.25 --save-training --save-best --validation-frequency 1 --tac-weight 0.45 --hca-weight 0.1";

Deno.test("the README's commands are taken as they are, and change no default", () => {
  const commands = [
    [
      blip2Flags("cirr", "sum"),
      "--dataset CIRR --encoder both --encoder-arch blip2 --cir-frame sum --embeds-dim 0",
    ],
    [blip2Flags("fashioniq", "artemis"), "--dataset fashionIQ --encoder both --cir-frame artemis"],
    [clipFlags("cirr", "sum"), "--dataset CIRR --encoder-arch clip --model-name RN50x4 --cir-frame sum"],
    [clipFlags("fashioniq", "artemis"), "--dataset fashionIQ --encoder-arch clip --cir-frame artemis"],
  ] as const;
  for (const [flags, own] of commands) deepStrictEqual(parse(flags, `${own} ${README}`), parse(flags, ""));
  strictEqual(parse(blip2Flags("cirr", "sum"), "--experiment-name one").name, "one");
});

Deno.test("every flag of the released command line is there", () => {
  const released =
    "dataset api-key workspace experiment-name encoder encoder-arch model-name num-epochs learning-rate " +
    "batch-size min-lr max-epoch target-ratio transform validation-frequency save-training save-best cir-frame " +
    "tac-weight hca-weight hca-temperature tac-temperature embeds-dim";
  for (const flags of [blip2Flags("cirr", "sum"), clipFlags("fashioniq", "artemis")]) {
    const help = helpText({ ...flags, ...runFlags });
    for (const name of released.split(" ")) match(help, new RegExp(`--(no-)?${name}[ ,]`));
  }
});

Deno.test("presets and the baseline bring values along; what is given holds", () => {
  const flags = blip2Flags("cirr", "sum");
  strictEqual(parse(flags, "").learningRate, 5e-6);
  strictEqual(parse(flags, "--preset paper").learningRate, 1e-5);
  strictEqual(parse(flags, "--preset paper --learning-rate 1e-4").learningRate, 1e-4);
  const { tacWeight, hcaWeight } = parse(flags, "--baseline");
  deepStrictEqual([tacWeight, hcaWeight], [0, 0]);
});

Deno.test("replay: the README's learning rate against the paper's is named where a run would go on with the other", async () => {
  const experiment = await openExperiment("cirr_blip2_sum");
  const differences = (given: StoredConfig) =>
    configDifferences(experiment.configFrom(), experiment.configFrom(given));
  const rate = "--learning-rate is 0.000005 there, 0.00001 here";
  deepStrictEqual(differences({ learningRate: 1e-5 }), [rate]);
  deepStrictEqual(differences({ preset: "paper" }), ['--preset is "readme" there, "paper" here', rate]);
});

Deno.test("a choice that is another experiment's is refused with its help", () => {
  for (
    const [line, text] of [
      ["--dataset fashionIQ", '--dataset: expected cirr, got "fashionIQ"'],
      ["--cir-frame artemis", '--cir-frame: expected sum, got "artemis"'],
      ["--encoder text", '--encoder: expected both or multi, got "text"'], // Q3: its default there, and it crashes
      ["--learning-rate 0", "--learning-rate: expected a number of at least"],
      ["--tac-weight 1.5", "--tac-weight: expected a number from 0 to 1"],
    ]
  ) {
    throws(() => parse(blip2Flags("cirr", "sum"), line), (error: Error) => {
      ok(error instanceof ConfigError && error.message.startsWith(text), error.message);
      return true;
    });
  }
  for (const line of ["--tac-weight 0.45", "--cir-frame artemis", "--no-learned-class-token"]) {
    throws(() => parse(combinerFlags("cirr"), line), (error: ConfigError) => {
      strictEqual(
        error.message,
        `${line.split(" ")[0]} belongs to what --first-stage names`,
      );
      match(
        error.fix ?? "",
        /^run folder or checkpoint of cirr_clip_sum or cirr_clip_artemis, trained with its own/,
      );
      return true;
    });
  }
  const { projectionDim, hiddenDim } = parse(
    combinerFlags("cirr"),
    "--combining-function combiner --projection-dim 64 --hidden-dim 128",
  );
  deepStrictEqual([projectionDim, hiddenDim], [64, 128]);
});

Deno.test("the optimiser has the released rates; the cosine is for the first group", () => {
  const groups: ParamGroup[] = [
    { name: "multimodal.Qformer.bert", params: [], lrMultiplier: 1, isScheduled: true },
    { name: "textual.Qformer.bert", params: [], lrMultiplier: 1, isScheduled: false },
    { name: "tac", params: [], lrMultiplier: 2, isScheduled: false },
    { name: "artemis", params: [], lrMultiplier: 10, isScheduled: false },
  ];
  const flags = parse(blip2Flags("cirr", "sum"), "");
  const rates = (changes: Partial<typeof flags>, epoch: number) => {
    const { adamw, schedule } = releasedOptimizer(groups, { ...flags, ...changes });
    return adamw.learningRates(schedule({ step: 0, epoch })).map((rate) => Number((rate / 5e-6).toFixed(4)));
  };
  deepStrictEqual(rates({}, 0), [1, 1, 2, 10]);
  deepStrictEqual(rates({}, 10), [0.25, 1, 2, 10]);
  deepStrictEqual(rates({}, 15), [0, 1, 2, 10]);
  deepStrictEqual(rates({}, 25), [0.75, 1, 2, 10]); // it climbs back
  deepStrictEqual(rates({ lrAfterMax: "hold" }, 25), [0, 1, 2, 10]);
  deepStrictEqual(rates({ minLr: 1e-6 }, 15), [0.2, 1, 2, 10]);
  deepStrictEqual(rates({ scheduleAllGroups: true }, 10), [0.25, 0.25, 0.5, 2.5]);
});

Deno.test("a store that is missing or of something else is refused, with the command that makes it", async () => {
  const folder = await Deno.makeTempDir();
  await writeTinyBlip2(`${folder}/blip2.pth`);
  const store = await writeTinyStore(folder, "cirr", "blip2", `${folder}/blip2.pth`);
  const flags = { ...parse(blip2Flags("cirr", "sum"), `--store ${store}`), baseline: false };
  const data = await openReleasedData(HERE, flags);
  deepStrictEqual([data.captionJoin, data.keepsReference, data.text.bucketLengths], ["single", undefined, [
    16,
  ]]);
  deepStrictEqual(data.protocol, { textLength: undefined, features: "f32" });
  data.images[Symbol.dispose]();
  const attempt = (changes: Partial<typeof flags>) =>
    rejects(openReleasedData(HERE, { ...flags, ...changes }), (error: ConfigError) => {
      ok(error instanceof ConfigError);
      messages.push(error.message.replaceAll(folder, ""), error.fix?.replaceAll(folder, "") ?? "");
      return true;
    });
  const messages: string[] = [];
  await attempt({ store: `${folder}/none` });
  strictEqual(messages[0], "/none: no such feature store");
  match(
    messages[1],
    /deno task features --dataset cirr --data DIR --encoder blip2 --weights blip2_pretrained_vitL\.pth/,
  );
  match(messages[1], /--transform targetpad --target-ratio 1\.25 --out \/none$/);
  messages.length = 0;
  await attempt({ transform: "squarepad" });
  strictEqual(
    messages[0],
    "/store: was made with targetpad 1.25, --transform and --target-ratio say squarepad",
  );
  messages.length = 0;
  await attempt({ saveBest: false });
  await attempt({ baseline: true });
  strictEqual(messages[0], "last and best checkpoints are always kept");
  match(messages[2], /^--baseline has no CaLa, but --tac-weight is 0\.45/);
  await rejects(
    openReleasedData(HERE, { ...parse(blip2Flags("fashioniq", "sum"), `--store ${store}`) }),
    /holds features of "CIRR", not of fashioniq/,
  );
  await rejects(
    openReleasedData(HERE, { ...parse(clipFlags("cirr", "sum"), `--store ${store}`) }),
    /the store's encoder is blip2, not clip/,
  );
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a checkpoint that is missing is named with its publisher; it must be the one of the features", async () => {
  const folder = await Deno.makeTempDir(), weights = `${folder}/blip2.pth`;
  await writeTinyBlip2(weights);
  await rejects(
    openReleasedWeights({}, { weights, encoderArch: "blip2" }, { store: "s", backbone: "0123456789abcdef" }),
    (error: ConfigError) => {
      strictEqual(error.message, `${weights}: the features of s come from another checkpoint`);
      strictEqual(error.where, "--weights, --store; the store's backbone is 0123456789ab");
      return true;
    },
  );
  await Deno.remove(folder, { recursive: true });
  await rejects(
    openReleasedWeights({}, { weights: "no/blip2.pth", encoderArch: "blip2" }, { store: "s", backbone: "" }),
    (error: ConfigError) => {
      strictEqual(error.message, "no/blip2.pth: no such checkpoint");
      match(error.fix ?? "", /LAVIS.*pretrain_vitL/);
      return true;
    },
  );
  checkEmbedsDim({ embedsDim: 0 }, 64);
  throws(
    () => checkEmbedsDim({ embedsDim: 768 }, 64),
    /--embeds-dim is 768, the checkpoint's features have 64/,
  );
});
