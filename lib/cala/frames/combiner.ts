/**
 * Frame `combiner`: a small network that joins two frozen features.
 *
 * Source: Baldrati et al., "Conditioned and composed image retrieval combining and partially fine-tuning CLIP-based
 * features" (CVPR Workshops 2022); CLIP4Cir, `combiner.py`.
 */
import { Random } from "../../core/random.ts";
import { embeddingOf, type Encoders, type QueryFeats } from "../../models/encoders.ts";
import { Linear } from "../../nn/linear.ts";
import { params } from "../../nn/module.ts";
import { dropout } from "../../ops/dropout.ts";
import { add, mul, sigmoid, sub } from "../../ops/elementwise.ts";
import { l2Normalize } from "../../ops/l2_normalize.ts";
import { concat } from "../../ops/movement.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { scope } from "../../tensor/trace.ts";
import { type CalaFrame, cosines, type FrameOptions, frameOver } from "./frame.ts";

/** Sizes of the Combiner. */
export interface CombinerOptions {
  /** `P`. */
  readonly projectionDim?: number;
  /** `H`. */
  readonly hiddenDim?: number;
  readonly random?: Random;
}

const DROPOUT = 0.5;

/** Two projections, a joint layer, and a gate between the two features. */
export class Combiner {
  readonly text_projection_layer: Linear;
  readonly image_projection_layer: Linear;
  readonly combiner_layer: Linear;
  readonly output_layer: Linear;
  readonly dynamic_scalar: { readonly 0: Linear; readonly 3: Linear };

  constructor(embedDim: number, { projectionDim = 2560, hiddenDim = 5120, random }: CombinerOptions = {}) {
    this.text_projection_layer = new Linear(embedDim, projectionDim, { random });
    this.image_projection_layer = new Linear(embedDim, projectionDim, { random });
    this.combiner_layer = new Linear(2 * projectionDim, hiddenDim, { random });
    this.output_layer = new Linear(hiddenDim, embedDim, { random });
    this.dynamic_scalar = {
      0: new Linear(2 * projectionDim, hiddenDim, { random }),
      3: new Linear(hiddenDim, 1, { random }),
    };
  }

  /** `[B, D]` twice to the query, `[B, D]` of unit length. */
  forward({ referenceFeats, textFeats }: QueryFeats): Tensor {
    return scope("combiner", () => {
      const block = (layer: Linear, x: Tensor) => dropout(layer.forward(x, "relu"), DROPOUT);
      const joint = concat(
        [block(this.text_projection_layer, textFeats), block(this.image_projection_layer, referenceFeats)],
        1,
      );
      const combined = this.output_layer.forward(block(this.combiner_layer, joint));
      const gate = sigmoid(this.dynamic_scalar[3].forward(block(this.dynamic_scalar[0], joint))); // [B, 1]
      // gate·t + (1 − gate)·r
      const between = add(referenceFeats, mul(gate, sub(textFeats, referenceFeats)));
      return l2Normalize(add(combined, between));
    });
  }
}

/**
 * The Combiner over encoders, which stay as they are: only the Combiner is trained. CLIP4Cir trains it without CaLa's heads.
 *
 * @param options.seed Seed of the Combiner's initial values. Without one they are zeros, to be loaded.
 */
export function combinerFrame(
  encoders: Encoders,
  { matchScale = 100, tac = false, hca = false, seed, ...sizes }:
    & FrameOptions
    & Omit<CombinerOptions, "random">
    & { seed?: number } = {},
): CalaFrame {
  const random = seed === undefined ? undefined : new Random(seed, "combiner");
  const combiner = new Combiner(encoders.embedDim, { ...sizes, random });
  return frameOver(encoders, { tac, hca }, {
    modules: { combiner },
    paramGroups: [{ name: "combiner", params: params(combiner), lrMultiplier: 1, isScheduled: true }],
    composed: (batch) => ({ feats: combiner.forward(encoders.encodeQuery(batch)) }),
    scores: (query, gallery) => cosines(embeddingOf(query, "feats"), gallery),
    logits: (encoded) => cosines(combiner.forward(encoded), encoded.targetFeats, matchScale),
  });
}
