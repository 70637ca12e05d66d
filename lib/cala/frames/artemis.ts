/**
 * Frame `artemis`: explicit matching of the text with the target, and implicit similarity of the two images.
 *
 * Source: Delmas et al., "ARTEMIS: attention-based retrieval with text-explicit matching and implicit similarity" (ICLR
 * 2022); CaLa, `artemis.py`.
 */
import { Random } from "../../core/random.ts";
import { embeddingOf, type Encoders, type ParamGroup, type QueryFeats } from "../../models/encoders.ts";
import { Linear } from "../../nn/linear.ts";
import { params } from "../../nn/module.ts";
import { add, div, mul, scale, sqrt, square } from "../../ops/elementwise.ts";
import { l2Normalize } from "../../ops/l2_normalize.ts";
import { matmul } from "../../ops/matmul.ts";
import { softmax } from "../../ops/softmax.ts";
import { type Param, param, type Tensor } from "../../tensor/tensor.ts";
import { scope } from "../../tensor/trace.ts";
import { type CalaFrame, type FrameOptions, frameOver } from "./frame.ts";

/** `softmax(W₂ ReLU(W₁ m + b₁) + b₂)` over the features. */
class FeatureAttention {
  readonly attention: { readonly 0: Linear; readonly 2: Linear };
  constructor(embedDim: number, random?: Random) {
    this.attention = {
      0: new Linear(embedDim, embedDim, { random }),
      2: new Linear(embedDim, embedDim, { random }),
    };
  }
  forward(m: Tensor): Tensor {
    return softmax(this.attention[2].forward(this.attention[0].forward(m, "relu")));
  }
}

/** Parameters and scores. */
export class Artemis {
  /** In the released state dict and never used (Q17). */
  readonly temperature: Param; // [1]
  readonly Transform_m: { readonly 0: Linear };
  readonly Attention_EM: FeatureAttention;
  readonly Attention_IS: FeatureAttention;

  constructor(embedDim: number, { random }: { random?: Random } = {}) {
    this.temperature = param([1], new Float32Array([2.65926]));
    this.Transform_m = { 0: new Linear(embedDim, embedDim, { random }) };
    this.Attention_EM = new FeatureAttention(embedDim, random);
    this.Attention_IS = new FeatureAttention(embedDim, random);
  }

  /** EM: how well the text describes the target. `[B, D]`, `[N, D]` to `[B, N]`. */
  explicitMatching(textFeats: Tensor, targets: Tensor): Tensor {
    const transformed = bareNormalize(this.Transform_m[0].forward(textFeats));
    return attendedCosine(transformed, this.Attention_EM.forward(textFeats), targets);
  }

  /** IS: how alike the two images are in what the text leaves alone. `[B, D]` twice, `[N, D]` to `[B, N]`. */
  implicitSimilarity({ referenceFeats, textFeats }: QueryFeats, targets: Tensor): Tensor {
    const a = this.Attention_IS.forward(textFeats);
    return attendedCosine(bareNormalize(mul(a, referenceFeats)), a, targets);
  }

  /** `EM + IS`, in [-2, 2]: `[B, N]`. All pairs at once, in training and against a whole gallery alike. */
  scores(query: QueryFeats, targets: Tensor): Tensor {
    return scope(
      "artemis",
      () => add(this.explicitMatching(query.textFeats, targets), this.implicitSimilarity(query, targets)),
    );
  }
}

/** `x / ‖x‖`, without an epsilon, as released. */
const bareNormalize = (x: Tensor): Tensor => l2Normalize(x, { eps: 0 });

/**
 * `⟨left_i, l2(a_i ∘ t_j)⟩ = (left_i ∘ a_i)·t_j / √((a_i ∘ a_i)·(t_j ∘ t_j))`: two matrix products where the released
 * code makes a tensor `[B, N, D]`.
 */
function attendedCosine(left: Tensor, a: Tensor, targets: Tensor): Tensor {
  const product = matmul(mul(left, a), targets, { transposeB: true });
  const squares = matmul(square(a), square(targets), { transposeB: true });
  return div(product, sqrt(squares));
}

/**
 * ARTEMIS over encoders, with `matchScale` 1 as released (Q17). Its group learns at ten times the rate, with CLIP too (Q11:
 * the released code forgets it there).
 *
 * @param options.seed Seed of ARTEMIS's initial values. Without one they are zeros, to be loaded.
 */
export function artemisFrame(encoders: Encoders, options: FrameOptions & { seed?: number } = {}): CalaFrame {
  const { seed, matchScale = 1 } = options;
  const random = seed === undefined ? undefined : new Random(seed, "artemis");
  const artemis = new Artemis(encoders.embedDim, { random });
  const group: ParamGroup = {
    name: "artemis",
    params: params(artemis),
    lrMultiplier: 10,
    isScheduled: false,
  };
  return frameOver(encoders, options, {
    modules: { artemis },
    paramGroups: [...encoders.paramGroups, group],
    composed: (batch) => encoders.encodeQuery(batch),
    scores: (query, gallery) =>
      artemis.scores({
        referenceFeats: embeddingOf(query, "referenceFeats"),
        textFeats: embeddingOf(query, "textFeats"),
      }, gallery),
    logits(encoded) {
      const scores = artemis.scores(encoded, encoded.targetFeats);
      return matchScale === 1 ? scores : scale(scores, matchScale);
    },
  });
}
