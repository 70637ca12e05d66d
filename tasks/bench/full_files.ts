/** What a training step of the published size reads, written with random numbers: checkpoint and feature store. */
import { Random } from "../../lib/core/random.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import { openFeatureWriter } from "../../lib/data/feature_writer.ts";
import type { Dataset } from "../../lib/data/triplet.ts";
import { sha256Hex } from "../../lib/io/atomic.ts";
import { writeTorchCheckpoint } from "../../lib/io/torch_writer.ts";
import { openWeights } from "../../lib/io/weights_file.ts";
import { TokenTable } from "../../lib/text/token_table.ts";
import type { Tokenizer } from "../../lib/text/wordpiece.ts";
import { backboneHash } from "../../lib/vision/backbone_hash.ts";
import { type Blip2Sizes, randomBlip2 } from "./random_checkpoint.ts";

/** LAVIS's format, `{ "model": state dict }`, vision and language head included. */
export const writeFullCheckpoint = (path: string, sizes: Blip2Sizes, seed: number): Promise<void> =>
  writeTorchCheckpoint(path, { model: randomBlip2(sizes, seed) });

/** Images, and the words of captions: of different lengths, all of which are padded to 32 tokens. */
const IMAGES = 6, WORDS = [30, 26, 24, 28];

/** Words are numbers; an id each, behind BERT's own. */
const tokenizerOf = (vocabSize: number): Tokenizer => ({
  size: vocabSize,
  encode: (text, maxLength) =>
    [101, ...text.split(" ").filter(Boolean).map((word) => 1000 + Number(word) % (vocabSize - 1000))]
      .slice(0, maxLength - 1).concat(102),
});

/** A store of random features of a small data set named like CIRR, as if a checkpoint's vision had made them. */
export async function writeFullStore(
  folder: string,
  checkpoint: string,
  sizes: Blip2Sizes,
  seed: number,
): Promise<void> {
  const random = new Random(seed, "captions");
  const triplets = WORDS.map((length, i) => ({
    reference: i,
    target: (i + 2) % IMAGES,
    captions: [Array.from({ length }, () => random.nextInt(sizes.vocabSize)).join(" ")],
  }));
  const split = { triplets, gallery: Array.from({ length: IMAGES }, (_, i) => i) };
  const dataset: Dataset = {
    name: "cirr",
    images: split.gallery.map((i) => ({ name: `random ${i}` })),
    splits: { train: split, val: split, test: split },
    hash: sha256Hex(`random ${seed}`),
  };
  const shape = [sizes.gridSize ** 2 + 1, sizes.visionWidth];
  const images = dataset.images.map(({ name }) => sha256Hex(name));
  using weights = await openWeights(checkpoint);
  const backbone = backboneHash(weights, "blip2");
  using writer = await openFeatureWriter(folder, {
    encoder: "blip2",
    backbone,
    preprocess: {
      transform: "targetpad",
      dim: sizes.gridSize * sizes.patchSize,
      targetRatio: 1.25,
      convertRgbFirst: false,
    },
    dtype: "f16",
    fields: { tokens: shape },
  });
  await writer.missing(images);
  for (const image of images) {
    await writer.put([image], { tokens: new Random(seed, image).normal(sizeOf(shape)) });
  }
  const { table } = TokenTable.of(
    triplets.flatMap(({ captions }) => captions),
    tokenizerOf(sizes.vocabSize),
    512,
  );
  await writer.finish({ dataset, images, texts: table });
}
