/** What the frames ask of a pair of image and text encoders, whichever it is. */
import { ConfigError } from "../core/errors.ts";
import type { Embeddings, ImageBatch, QueryBatch, TextBatch, TripletBatch } from "../nn/frame.ts";
import type { Param, Tensor } from "../tensor/tensor.ts";

/** Parameters that share a learning rate. Lists of groups are in the released order. */
export interface ParamGroup {
  readonly name: string;
  readonly params: readonly Param[];
  /** Factor on the run's learning rate. */
  readonly lrMultiplier: number;
  /** True for the group that follows the schedule; the others stay constant, as released (Q15). */
  readonly isScheduled: boolean;
}

/** Which heads read the result of `encode`: what only they need is not computed without them. */
export interface HeadsRead {
  readonly tac: boolean;
  readonly hca: boolean;
}

/** A query's two sides: `[B, D]` each, not normalised. */
export type QueryFeats = {
  /** Of the reference image, with its caption where the encoder fuses them. */
  readonly referenceFeats: Tensor;
  readonly textFeats: Tensor;
};

/**
 * A batch of triplets, encoded. What heads read besides, by name: `targetEmbeds` (both: tokens `[B, K, D]` or map
 * `[B, C, H, W]`); `referenceEmbedsForTac` (like it); for HCA `referenceEmbeds` (tokens, of which row 0 is read, or map),
 * `textEmbeds [B, L, D]` and `textKeep [B, L]` (0 behind the batch's longest caption). `clsToken [B, 1, D]`, if there is
 * one, takes the place of the token that TAC draws for maps.
 */
export type Encoded = QueryFeats & Embeddings & {
  /** `[B, D]`, unit length. */
  readonly targetFeats: Tensor;
};

/** An embedding that must be there. @throws {ConfigError} */
export function embeddingOf(embeddings: Embeddings, name: string, fix?: string): Tensor {
  return fieldOf(embeddings, name, "embedding", fix);
}

/** A field of the images. @throws {ConfigError} If the image source has no such field. */
export function imageField(image: ImageBatch, name: string): Tensor {
  return fieldOf(image, name, "image field");
}

function fieldOf(record: Readonly<Record<string, Tensor>>, name: string, what: string, fix?: string): Tensor {
  const field = record[name];
  if (!field) {
    throw new ConfigError(`no ${what} "${name}"; there are ${Object.keys(record).join(", ")}`, { fix });
  }
  return field;
}

/** Image and text encoders behind one face. */
export interface Encoders {
  /** Modules by checkpoint prefix: `{ textual, multimodal, visual }`. */
  readonly modules: Readonly<Record<string, object>>;
  /** What is trained, in the released order. */
  readonly paramGroups: readonly ParamGroup[];
  /** Size of the features: `D`. */
  readonly embedDim: number;
  /** All sides of a batch of triplets, for the losses. */
  encode(batch: TripletBatch, heads: HeadsRead): Encoded;
  /** The query side, for evaluation. */
  encodeQuery(batch: QueryBatch): QueryFeats;
  /** The caption alone: `[B, D]`, not normalised. */
  encodeText(text: TextBatch): Tensor;
  /** Images alone, in the gallery's space: `[B, D]`, not normalised. */
  encodeImage(image: ImageBatch): Tensor;
}
