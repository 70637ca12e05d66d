/** CaLa's encoders from LAVIS's checkpoint of BLIP-2, whatever its size. */
import { Blip2, type Blip2Options } from "./blip2.ts";
import { CheckpointShapes, type WeightsShapes } from "./checkpoint_shapes.ts";
import type { QFormerConfig } from "./qformer.ts";
import { loadWeights } from "./weights.ts";
import type { WeightsFile } from "../io/weights_file.ts";

const MODEL = "BLIP-2's Q-Former", BERT = "Qformer.bert", LAYER = `${BERT}.encoder.layer`;
/** What no shape tells: `bert-base-uncased`'s. */
const BERT_EPS = 1e-12, BERT_DROPOUT = 0.1;

/**
 * The sizes of the Q-Former in a file. Heads are 64 wide.
 *
 * @throws {DataError} If a tensor that tells a size is missing or of another rank, or the layers with cross attention
 * are not every n-th from the first.
 */
export function qformerConfigOf(file: WeightsShapes): QFormerConfig {
  const shapes = new CheckpointShapes(file, MODEL);
  const [, numQueryTokens, hiddenSize] = shapes.dims("query_tokens", "1", "K", "D");
  const numLayers = shapes.layers(LAYER, "attention.self.query.weight");
  const [vocabSize] = shapes.dims(`${BERT}.embeddings.word_embeddings.weight`, "V", "D");
  const [maxPositions] = shapes.dims(`${BERT}.embeddings.position_embeddings.weight`, "L", "D");
  const [intermediateSize] = shapes.dims(`${LAYER}.0.intermediate.dense.weight`, "F", "D");
  const [, encoderWidth] = shapes.dims(`${LAYER}.0.crossattention.self.key.weight`, "D", "W");
  return {
    hiddenSize,
    numLayers,
    numHeads: shapes.heads(hiddenSize),
    intermediateSize,
    numQueryTokens,
    crossAttentionFreq: crossAttentionFreq(shapes, numLayers),
    encoderWidth,
    vocabSize,
    maxPositions,
    layerNormEps: BERT_EPS,
    dropout: BERT_DROPOUT,
  };
}

/** Layers 0, n, 2n, ... have a cross attention: n. */
function crossAttentionFreq(shapes: CheckpointShapes, numLayers: number): number {
  const found = Array.from({ length: numLayers }, (_, i) => i)
    .filter((i) => shapes.has(`${LAYER}.${i}.crossattention.self.key.weight`));
  const n = found[1] ?? numLayers; // layer 0 is one: its width was read
  const isRegular = found.length === Math.ceil(numLayers / n) && found.every((layer, i) => layer === i * n);
  if (isRegular) return n;
  throw shapes.error(
    `layers ${found.join(", ")} of ${numLayers} have a cross attention; ${MODEL} has it in every n-th`,
  );
}

/**
 * CaLa's three copies of BLIP-2, with the weights of LAVIS's `blip2_pretrained_vitL.pth` or any file with its keys.
 * The copies start from the same values, in the same memory. Vision and language heads of the file are left alone:
 * images come as a feature store's `tokens`, as they are before `ln_vision`.
 *
 * @param weights An open file; it may be closed afterwards.
 * @throws {DataError} If a tensor is missing or of another shape: the key, both shapes and the model are named.
 *
 * @example Usage
 * ```ts ignore
 * using weights = await openWeights("blip2_pretrained_vitL.pth");
 * const encoders = await blip2From(weights, { train: "both" });
 * ```
 */
export async function blip2From(
  weights: WeightsFile,
  options: Pick<Blip2Options, "train" | "masksCaptionPadding"> = {},
): Promise<Blip2> {
  const blip2 = new Blip2({ ...options, config: qformerConfigOf(weights), hasRawTokens: true });
  await loadWeights(weights, MODEL, blip2.textual, blip2.multimodal, blip2.visual);
  return blip2;
}
