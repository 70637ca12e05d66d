/** CaLa's encoders from OpenAI's checkpoint of CLIP, whatever its size. */
import type { WeightsFile } from "../io/weights_file.ts";
import { CheckpointShapes, type WeightsShapes } from "./checkpoint_shapes.ts";
import { Clip, type ClipOptions } from "./clip.ts";
import { ClipText, type ClipTextConfig } from "./clip_text.ts";
import { loadWeights } from "./weights.ts";

const MODEL = "CLIP's text transformer";

/**
 * The sizes of the text transformer in a file. Heads are 64 wide.
 *
 * @throws {DataError} If a tensor that tells a size is missing or of another rank.
 */
export function clipTextConfigOf(file: WeightsShapes): ClipTextConfig {
  const shapes = new CheckpointShapes(file, MODEL);
  const [vocabSize, width] = shapes.dims("token_embedding.weight", "V", "W");
  const [contextLength] = shapes.dims("positional_embedding", "L", "W");
  const [, embedDim] = shapes.dims("text_projection", "W", "D");
  const numLayers = shapes.layers("transformer.resblocks", "attn.in_proj_weight");
  return { width, numHeads: shapes.heads(width), numLayers, contextLength, vocabSize, embedDim };
}

/**
 * CLIP's text transformer as CaLa's encoders, with the weights of OpenAI's `RN50x4.pt` or any file with its keys. The
 * file's vision is left alone: images come as a feature store's `pooled` and `map`.
 *
 * @param weights An open file; it may be closed afterwards.
 * @throws {DataError} If a tensor is missing or of another shape: the key, both shapes and the model are named.
 *
 * @example Usage
 * ```ts ignore
 * using weights = await openWeights("RN50x4.pt");
 * const encoders = await clipFrom(weights);
 * ```
 */
export async function clipFrom(weights: WeightsFile, options: ClipOptions = {}): Promise<Clip> {
  const text = new ClipText(clipTextConfigOf(weights));
  await loadWeights(weights, MODEL, text);
  return new Clip(text, options);
}
