/** Feature stores of the miniature data sets, with random features of the tiny checkpoints' sizes: no vision needed. */
import { Random } from "../../lib/core/random.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import type { StoreDType } from "../../lib/data/feature_layout.ts";
import { openFeatureWriter } from "../../lib/data/feature_writer.ts";
import { openDataset } from "../../lib/data/open.ts";
import type { Dataset } from "../../lib/data/triplet.ts";
import { sha256Hex } from "../../lib/io/atomic.ts";
import { openWeights } from "../../lib/io/weights_file.ts";
import type { ReleasedDataset } from "../../lib/released/flags.ts";
import { captionTexts } from "../../lib/text/captions.ts";
import { clipBpe } from "../../lib/text/clip_bpe.ts";
import { TokenTable } from "../../lib/text/token_table.ts";
import { wordPiece } from "../../lib/text/wordpiece.ts";
import { backboneHash } from "../../lib/vision/backbone_hash.ts";
import { writeMiniCirr, writeMiniFashionIq, writeMiniFolder } from "../data/mini.ts";
import { TINY_BLIP2, TINY_CLIP } from "../models/tiny_checkpoints.ts";

const FIELDS = {
  blip2: { tokens: [TINY_BLIP2.gridSize ** 2 + 1, TINY_BLIP2.visionWidth] },
  clip: {
    map: [TINY_CLIP.visionWidth * 32, TINY_CLIP.gridSize, TINY_CLIP.gridSize],
    pooled: [TINY_CLIP.embedDim],
  },
};

/** Writes a data set below `folder` and its store at `folder/store`, as if `weights` had made it. Returns the store's path. */
export async function writeTinyStore(
  folder: string,
  dataset: ReleasedDataset,
  encoder: "blip2" | "clip",
  weights: string,
  dtype: StoreDType = "f32",
): Promise<string> {
  const root = `${folder}/${dataset}`, store = `${folder}/store`;
  await { cirr: writeMiniCirr, fashioniq: writeMiniFashionIq, folder: writeMiniFolder }[dataset](root);
  await writeStoreOf(await openDataset({ dataset, root }), store, encoder, weights, dtype);
  return store;
}

/** Writes the store of a data set, as if `weights` had made it. */
export async function writeStoreOf(
  opened: Dataset,
  store: string,
  encoder: "blip2" | "clip",
  weights: string,
  dtype: StoreDType = "f32",
): Promise<void> {
  using file = await openWeights(weights);
  const fields = FIELDS[encoder];
  const images = await Promise.all(
    opened.images.map(async ({ name, path }) => sha256Hex(path ? await Deno.readFile(path) : name)),
  );
  using writer = await openFeatureWriter(store, {
    encoder,
    backbone: backboneHash(file, encoder),
    preprocess: {
      transform: "targetpad",
      dim: 64,
      targetRatio: 1.25,
      convertRgbFirst: opened.convertRgbFirst ?? false,
    },
    dtype,
    fields,
  });
  await writer.missing(images);
  const distinct = [...new Set(images)];
  const rows = distinct.map((image) => {
    const random = new Random(1, image);
    return Object.values(fields).map((shape) => random.normal(sizeOf(shape)));
  });
  const fieldOf = (field: number) => Float32Array.from(rows.flatMap((row) => Array.from(row[field])));
  await writer.put(distinct, Object.fromEntries(Object.keys(fields).map((name, i) => [name, fieldOf(i)])));
  const texts = Object.values(opened.splits).flatMap(({ triplets }) =>
    triplets.flatMap(({ captions }) => captionTexts(captions))
  );
  const tokenizer = encoder === "clip" ? await clipBpe() : await wordPiece();
  const { table } = TokenTable.of(texts, tokenizer, encoder === "clip" ? 77 : TINY_BLIP2.maxPositions);
  await writer.finish({ dataset: opened, images, texts: table });
}
