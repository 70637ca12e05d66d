import { embeddingOf, type Encoders, type QueryFeats } from "../../models/encoders.ts";
import { add } from "../../ops/elementwise.ts";
import { l2Normalize } from "../../ops/l2_normalize.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { type CalaFrame, cosines, type FrameOptions, frameOver } from "./frame.ts";

/** The query is the normalised sum of the two features: `[B, D]`. */
export const sumQuery = ({ referenceFeats, textFeats }: QueryFeats): Tensor =>
  l2Normalize(add(referenceFeats, textFeats));

/**
 * Frame `sum`: `matchScale · normalize(reference + text) · targetᵀ`.
 *
 * Source: CLIP4Cir's element-wise sum; CaLa, `--cir-frame sum`, with `matchScale` 100.
 */
export const sumFrame = (encoders: Encoders, options: FrameOptions = {}): CalaFrame =>
  frameOver(encoders, options, {
    paramGroups: encoders.paramGroups,
    composed: (batch) => ({ feats: sumQuery(encoders.encodeQuery(batch)) }),
    scores: (query, gallery) => cosines(embeddingOf(query, "feats"), gallery),
    logits: (encoded) => cosines(sumQuery(encoded), encoded.targetFeats, options.matchScale ?? 100),
  });
