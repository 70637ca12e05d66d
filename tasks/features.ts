/** Runs the frozen vision backbone once over the images of a data set, and stores what training reads instead of images. */
import { note, parseCommand, printJson, runCommand } from "../lib/core/command.ts";
import { env } from "../lib/core/env.ts";
import { ConfigError } from "../lib/core/errors.ts";
import { flag, type FlagValues } from "../lib/core/flags.ts";
import { formatBytes, formatCount, formatDuration } from "../lib/core/format.ts";
import type { OnProgress } from "../lib/core/progress.ts";
import { COMPUTING, extractFeatures, type ExtractSummary } from "../lib/data/extract.ts";
import { DATASET_KINDS, openDataset } from "../lib/data/open.ts";
import type { Dataset } from "../lib/data/triplet.ts";
import { openWeights, type WeightsFile } from "../lib/io/weights_file.ts";
import { embedsFolder } from "../lib/released/belonging.ts";
import { EMBEDDING, storeEmbeds } from "../lib/released/embeds.ts";
import { storeInCache } from "../lib/released/store.ts";
import { CLIP_CONTEXT_LENGTH, clipBpe } from "../lib/text/clip_bpe.ts";
import { wordPiece } from "../lib/text/wordpiece.ts";
import { Progress } from "../lib/train/progress.ts";
import { type Backbone, openBackbone } from "../lib/vision/backbone.ts";
import { VISION_PROVIDERS } from "../lib/vision/runtime.ts";

const spec = {
  name: "features",
  summary:
    `Runs a checkpoint's frozen vision backbone once over every image of a data set, and stores the features, the data
set and the token ids of its texts in a folder: what train and eval read instead of images (--store).
Ctrl-C, a crash or a full disk lose nothing: the same command goes on. On a finished store it compares images and
checksums, and computes only what is new, changed or damaged.
Without --out it lies in the cache, where deno task train --data DIR finds it. With --embeds it then computes, on the GPU, what the frozen visual Q-Former of --encoder multi makes of them; without
--data it adds that to a finished store.`,
  flags: {
    dataset: flag("cirr", "what is in --data", { choices: DATASET_KINDS }),
    data: flag("", "folder of the data set, or the folder that this is in (needed, unless --embeds)"),
    encoder: flag("blip2", "blip2: the ViT of LAVIS's BLIP-2; clip: CLIP's ResNet", {
      choices: ["blip2", "clip"],
      also: ["encoder-arch"],
    }),
    weights: flag(
      "",
      "checkpoint: blip2_pretrained_vitL.pth, RN50x4.pt, or one of these as safetensors (needed)",
    ),
    out: flag(
      "",
      "folder of the store; empty: the one in the cache that belongs to --data (needed without --data)",
    ),
    storeDtype: flag("f16", "f16 takes half the space; docs/numerics.md says what it changes", {
      choices: ["f16", "f32"],
    }),
    transform: flag(
      "targetpad",
      "what comes before the resize: limits the ratio of the sides, makes a square, or nothing",
      {
        choices: ["targetpad", "squarepad", "clip"],
      },
    ),
    targetRatio: flag(1.25, "largest ratio of the sides after targetpad", { min: 1 }),
    visionProvider: flag("auto", "what runs the backbone; auto: WebGPU on a GPU in hardware, else the CPU", {
      choices: VISION_PROVIDERS,
    }),
    batchSize: flag(16, "images a call of the backbone", { integer: true, min: 1 }),
    workers: flag(navigator.hardwareConcurrency, "threads that decode images", { integer: true, min: 1 }),
    galleryImages: flag(
      "original",
      "FashionIQ: the gallery's images; union is of all candidates and targets",
      {
        choices: ["original", "union"],
      },
    ),
    embeds: flag(
      false,
      "blip2: also store the visual Q-Former's output, in the store's own number type: --encoder multi then reads it",
    ),
    skipMissing: flag(false, "leave out the triplets and gallery images whose file is missing"),
    replace: flag(
      false,
      "remove features in --out that another checkpoint, transform or type made, that are another data set's or damaged",
    ),
    json: flag(false, "last line of stdout: what was done, as one JSON object"),
  },
};
type Flags = FlagValues<typeof spec.flags>;

/** BERT's positions, where the checkpoint does not tell. */
const BERT_LENGTH = 512;
const BERT_POSITIONS = "Qformer.bert.embeddings.position_embeddings.weight"; // [positions, hidden]

async function features(argv: readonly string[], signal: AbortSignal): Promise<void> {
  const args = parseCommand(spec, argv);
  if (!args) return;
  const { values } = args;
  for (const name of ["data", "weights", "out"] as const) {
    const isNeeded = { data: !values.embeds, weights: true, out: !values.data }[name];
    if (isNeeded && !values[name]) {
      throw new ConfigError(`--${name} is missing`, { fix: spec.flags[name].help });
    }
  }
  const flags = { ...values, out: values.out || await storeInCache(env("CALA_CACHE"), values) };
  if (flags.embeds && flags.encoder !== "blip2") {
    throw new ConfigError(`--embeds: ${flags.encoder} has no visual Q-Former`, { fix: "leave out --embeds" });
  }
  const startMs = performance.now();
  using progress = new Progress();
  const onProgress = shown(progress);
  signal.addEventListener(
    "abort",
    () => progress.note("stopping after this batch; Ctrl-C again stops at once"),
  );
  const { dataset: kind, data: root, skipMissing, galleryImages: gallery } = flags;
  const dataset = root
    ? await openDataset({ dataset: kind, root, skipMissing, gallery, onProgress })
    : undefined;
  if (dataset?.missing) {
    const { images, queries } = dataset.missing;
    progress.note(
      `left out: ${formatCount(images.length)} images without a readable file and ${
        formatCount(queries.length)
      } queries that need them; each is named under "missing" in ${flags.out}/dataset.json`,
    );
  }
  using weights = await openWeights(flags.weights);
  const extracted = dataset ? await extract(dataset, weights, flags, progress, signal) : undefined;
  const isReady = extracted?.isDone ?? true;
  const embeds = flags.embeds && isReady
    ? await storeEmbeds({
      store: flags.out,
      weights,
      batchSize: flags.batchSize,
      replace: flags.replace,
      signal,
      onProgress,
    })
    : undefined;
  report(extracted, embeds, flags, performance.now() - startMs);
}

/** The backbone's part. It is closed afterwards, so its memory is free again. */
async function extract(
  dataset: Dataset,
  weights: WeightsFile,
  flags: Flags,
  progress: Progress,
  signal: AbortSignal,
): Promise<ExtractSummary & { readonly provider: Backbone["provider"] }> {
  const { encoder, transform, targetRatio } = flags;
  const { tokenizer, maxLength } = await textOf(encoder, weights);
  await using backbone = await openBackbone({
    weights,
    arch: encoder,
    provider: flags.visionProvider,
    onProgress: (text) => progress.note(text),
  });
  progress.note(
    `${dataset.name}: ${formatCount(dataset.images.length)} images, backbone on ${backbone.provider}`,
  );
  const summary = await extractFeatures({
    dataset,
    out: flags.out,
    encoder,
    backbone,
    preprocess: { transform, targetRatio, convertRgbFirst: dataset.convertRgbFirst ?? false },
    dtype: flags.storeDtype,
    tokenizer,
    maxLength,
    batchSize: flags.batchSize,
    replace: flags.replace,
    workers: flags.workers,
    signal,
    onProgress: shown(progress),
  });
  return { ...summary, provider: backbone.provider };
}

/** The tokenizer of an encoder's text side, and how many positions it has. */
async function textOf(encoder: Flags["encoder"], { tensors }: WeightsFile) {
  if (encoder === "clip") return { tokenizer: await clipBpe(), maxLength: CLIP_CONTEXT_LENGTH };
  const [positions = BERT_LENGTH] = tensors.get(BERT_POSITIONS)?.shape ?? [];
  return { tokenizer: await wordPiece(), maxLength: Math.min(positions, BERT_LENGTH) };
}

/** Progress with its rate, and the time that is left at this rate. */
function shown(progress: Progress): OnProgress {
  let what = "", startMs = 0, startDone = 0;
  return ({ what: now, done, total }) => {
    if (now !== what) [what, startMs, startDone] = [now, performance.now(), done];
    const elapsedMs = performance.now() - startMs, counted = done - startDone;
    const perSecond = counted / elapsedMs * 1000;
    const rate = counted > 0 && elapsedMs > 0
      ? `, ${perSecond.toPrecision(3)} images/s${
        done < total ? `, ${formatDuration((total - done) / perSecond * 1000)} left` : ""
      }`
      : "";
    progress.live(`${now}: ${formatCount(done)} of ${formatCount(total)}${rate}`, {
      isMilestone: [COMPUTING, EMBEDDING].includes(now) && done === total,
    });
  };
}

type EmbedsSummary = Awaited<ReturnType<typeof storeEmbeds>>;

function report(
  extracted: Awaited<ReturnType<typeof extract>> | undefined,
  embeds: EmbedsSummary | undefined,
  { out, json }: Flags,
  elapsedMs: number,
): void {
  if (extracted) reportCut(extracted.cut);
  const parts = [...(extracted ? [extracted] : []), ...(embeds ? [embeds] : [])];
  for (const { damaged } of parts) {
    if (damaged > 0) note(`${damaged} stored features were damaged: they were made anew`);
  }
  const stopped = parts.find(({ isDone }) => !isDone);
  if (stopped) {
    return note(
      `${out}: ${formatCount(stopped.computed)} images were added; the same command goes on from there`,
    );
  }
  const images = (summary: EmbedsSummary) =>
    `${formatCount(summary.images)} images (${formatCount(summary.distinct)} distinct), ` +
    formatBytes(summary.bytes);
  const computed = (summary: EmbedsSummary) =>
    `${formatCount(summary.computed)} computed in ${formatDuration(elapsedMs)}`;
  if (extracted) {
    console.log(
      `${out}: ${images(extracted)}, ${formatCount(extracted.texts)} texts; ${computed(extracted)}`,
    );
  }
  if (embeds) console.log(`${embedsFolder(out)}: ${images(embeds)}; ${computed(embeds)}`);
  if (!json) return;
  printJson({
    store: out,
    ...(extracted ? { ...extracted, cut: extracted.cut.length } : {}),
    ...(embeds ? { embeds } : {}),
    seconds: elapsedMs / 1000,
  });
}

function reportCut(cut: readonly string[]): void {
  for (const text of cut.slice(0, MAX_CUT_SHOWN)) {
    note(
      `this text is cut: it has more tokens than the model has positions: ${
        JSON.stringify(text.slice(0, 100))
      }`,
    );
  }
  if (cut.length > MAX_CUT_SHOWN) note(`and ${cut.length - MAX_CUT_SHOWN} more texts are cut`);
}

/** A line each; further ones are counted. */
const MAX_CUT_SHOWN = 5;

if (import.meta.main) await runCommand(features, { savesOnInterrupt: true });
