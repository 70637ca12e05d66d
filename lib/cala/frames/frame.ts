/** What CaLa's frames share: encoders in front, a way to make queries and to score them behind. */
import type { Encoded, Encoders, HeadsRead, ParamGroup } from "../../models/encoders.ts";
import { embeddingOf } from "../../models/encoders.ts";
import type { Embeddings, Frame, QueryBatch, QueryKind, TripletBatch } from "../../nn/frame.ts";
import { named } from "../../nn/module.ts";
import { l2Normalize } from "../../ops/l2_normalize.ts";
import { matmul } from "../../ops/matmul.ts";
import type { Tensor } from "../../tensor/tensor.ts";

/** A frame with what its experiments need: the released groups, and modules to load and save. */
export interface CalaFrame extends Frame {
  /** All that is trained, in the released order, with each group's factor on the learning rate. */
  readonly paramGroups: readonly ParamGroup[];
  /** Modules by checkpoint prefix. */
  readonly modules: Readonly<Record<string, object>>;
  encode(batch: TripletBatch): Encoded;
}

/** Options of every frame. What a head alone needs is not encoded if it is off. */
export interface FrameOptions extends Partial<HeadsRead> {
  /** Factor on the matching scores in the training logits. */
  readonly matchScale?: number;
}

/** How frames differ: modules of their own, what is trained, composed queries, and their scores. */
export interface FrameParts {
  readonly modules?: Readonly<Record<string, object>>;
  readonly paramGroups: readonly ParamGroup[];
  /** What is stored of a composed query: tensors `[B, ...]`. */
  composed(batch: QueryBatch): Embeddings;
  /** Scores `[B, N]` of composed queries against unit vectors `[N, D]`. */
  scores(query: Embeddings, gallery: Tensor): Tensor;
  /** Training logits `[B, B]`. */
  logits(encoded: Encoded): Tensor;
}

/** A frame over encoders. The gallery holds unit vectors: `{ feats: [N, D] }`. */
export function frameOver(
  encoders: Encoders,
  { tac = true, hca = true }: FrameOptions,
  { modules: own, paramGroups, ...parts }: FrameParts,
): CalaFrame {
  const modules = { ...encoders.modules, ...own };
  const paramsWhere = (isScheduled: boolean) =>
    paramGroups.flatMap((group) => group.isScheduled === isScheduled ? group.params : []);
  /** Queries of an image or a text alone, in the gallery's space. */
  const alone = (feats: (batch: QueryBatch) => Tensor): QueryKind => ({
    encode: (batch) => ({ feats: l2Normalize(feats(batch)) }),
    scores: (query, gallery) => cosines(embeddingOf(query, "feats"), embeddingOf(gallery, "feats")),
  });
  return {
    params: named(modules),
    groups: { scheduled: paramsWhere(true), constant: paramsWhere(false) },
    paramGroups,
    modules,
    encode: (batch) => encoders.encode(batch, { tac, hca }),
    logits: (encoded) => parts.logits(asEncoded(encoded)),
    encodeGallery: (image) => ({ feats: l2Normalize(encoders.encodeImage(image)) }),
    queries: {
      composed: {
        encode: (batch) => parts.composed(batch),
        scores: (query, gallery) => parts.scores(query, embeddingOf(gallery, "feats")),
      },
      image: alone(({ reference }) => encoders.encodeImage(reference)),
      text: alone((batch) => encoders.encodeText(batch)),
    },
  };
}

/** Inner products of all pairs, times `scale`: `[B, D]`, `[N, D]` to `[B, N]`. */
export const cosines = (query: Tensor, gallery: Tensor, scale = 1): Tensor =>
  matmul(query, gallery, { transposeB: true, scale });

const asEncoded = (embeddings: Embeddings): Encoded => ({
  ...embeddings,
  referenceFeats: embeddingOf(embeddings, "referenceFeats"),
  textFeats: embeddingOf(embeddings, "textFeats"),
  targetFeats: embeddingOf(embeddings, "targetFeats"),
});
