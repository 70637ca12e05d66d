/** Tiny checkpoints in the published formats, of random numbers: the tables of words alone have their real size. */
import { writeTorchCheckpoint } from "../../lib/io/torch_writer.ts";
import {
  type Blip2Sizes,
  type ClipSizes,
  randomBlip2,
  randomClip,
} from "../../tasks/bench/random_checkpoint.ts";

/** A Q-Former of two layers and one head over a vision transformer of two heads, for images of 16 x 16. */
export const TINY_BLIP2: Blip2Sizes = {
  hiddenSize: 64,
  numLayers: 2,
  intermediateSize: 128,
  numQueryTokens: 4,
  crossAttentionFreq: 2,
  vocabSize: 30_523, // bert-base-uncased and [DEC]
  maxPositions: 64,
  projDim: 16,
  visionWidth: 128,
  visionLayers: 2,
  patchSize: 4,
  gridSize: 4, // 17 tokens
};

/** A text transformer of one head and a ResNet whose attention pool has two, for images of 64 x 64. */
export const TINY_CLIP: ClipSizes = {
  embedDim: 64,
  textWidth: 64,
  textLayers: 2,
  contextLength: 77,
  vocabSize: 49_408,
  visionWidth: 4,
  visionLayers: [1, 2, 1, 1],
  gridSize: 2, // a map [128, 2, 2]
};

/** Options of both writers. */
export interface TinyOptions {
  readonly seed?: number;
}

/** LAVIS's format: a zip checkpoint `{ "model": state dict of Blip2Qformer }`, vision included. */
export async function writeTinyBlip2(path: string, { seed = 1 }: TinyOptions = {}): Promise<void> {
  await writeTorchCheckpoint(path, { model: randomBlip2(TINY_BLIP2, seed) });
}

/** The state dict of CLIP RN50x4, in a zip checkpoint. */
export async function writeTinyClip(path: string, { seed = 1 }: TinyOptions = {}): Promise<void> {
  await writeTorchCheckpoint(path, { state_dict: randomClip(TINY_CLIP, seed) });
}
