/** Cases of whole encoders. */
import { ClipText } from "../../lib/models/clip_text.ts";
import { QFormer, type QFormerConfig } from "../../lib/models/qformer.ts";
import { ConfigError } from "../../lib/core/errors.ts";
import { castF32 } from "../../lib/ops/elementwise.ts";
import { l2Normalize } from "../../lib/ops/l2_normalize.ts";
import type { Linear } from "../../lib/nn/linear.ts";
import { constant, type Tensor } from "../../lib/tensor/tensor.ts";
import type { OracleCase } from "./case.ts";
import { graphRunner } from "./runner.ts";

/** The configuration of a case's Q-Former. */
export function qformerConfig(oracle: OracleCase, config: Readonly<Record<string, unknown>>): QFormerConfig {
  const number = (key: string) => oracle.number(key, config);
  return {
    hiddenSize: number("hidden"),
    numLayers: number("layers"),
    numHeads: number("heads"),
    intermediateSize: number("intermediate"),
    numQueryTokens: number("query_tokens"),
    crossAttentionFreq: number("cross_attention_freq"),
    encoderWidth: number("encoder_width"),
    vocabSize: number("vocab"),
    maxPositions: number("max_position"),
    projDim: number("proj_dim"),
    layerNormEps: number("layer_norm_eps"),
    dropout: 0,
  };
}

const qformer = (oracle: OracleCase): QFormer => new QFormer(qformerConfig(oracle, oracle.config));

/** `normalize(x Wᵀ + b)`: the projections that CaLa does not use. */
const projected = (projection: Linear | undefined, x: Tensor): Tensor => {
  if (!projection) throw new ConfigError("the Q-Former was made without projections");
  return l2Normalize(projection.forward(x));
};

/** `[B, L]` of ones up to each text's end token: the first highest id. */
export function clipMask(ids: ArrayLike<number>, length: number): Float32Array<ArrayBuffer> {
  const mask = new Float32Array(ids.length);
  for (let start = 0; start < ids.length; start += length) {
    const row = Array.from({ length }, (_, i) => ids[start + i]);
    mask.fill(1, start, start + row.indexOf(Math.max(...row)) + 1);
  }
  return mask;
}

export const encoders = {
  qformer_text: graphRunner((oracle) => {
    const module = qformer(oracle);
    return {
      module,
      forward({ input_ids, attention_mask }) {
        const text_embeds = module.text(input_ids, castF32(attention_mask));
        return { out: { text_embeds, text_embeds_proj: projected(module.text_proj, text_embeds) } };
      },
    };
  }),
  qformer_image: graphRunner((oracle) => {
    const module = qformer(oracle);
    return {
      module,
      forward({ visual_embeds }) {
        const image_embeds = module.image(normalised(module, visual_embeds));
        return { out: { image_embeds, image_embeds_proj: projected(module.vision_proj, image_embeds) } };
      },
    };
  }),
  qformer_multimodal: graphRunner((oracle) => {
    const module = qformer(oracle);
    return {
      module,
      forward({ visual_embeds, input_ids, attention_mask }) {
        const tokens = normalised(module, visual_embeds);
        return { out: { multimodal_embeds: module.multimodal(tokens, input_ids, castF32(attention_mask)) } };
      },
    };
  }),
  clip_text: graphRunner((oracle) => {
    const module = new ClipText(clipConfig(oracle, oracle.config));
    const { shape, data } = oracle.i32("in.input_ids");
    return {
      module,
      forward({ input_ids }) {
        const mask = constant(shape, clipMask(data, shape[1]));
        const { features, sequence } = module.forward(input_ids, mask);
        return { out: { text_features: features, text_sequence: sequence } };
      },
    };
  }),
};

/** The configuration of a case's CLIP text transformer. */
export function clipConfig(oracle: OracleCase, config: Readonly<Record<string, unknown>>) {
  const number = (key: string) => oracle.number(key, config);
  return {
    width: number("width"),
    numHeads: number("heads"),
    numLayers: number("layers"),
    contextLength: number("context_length"),
    vocabSize: number("vocab"),
    embedDim: number("embed_dim"),
  };
}

function normalised({ ln_vision }: QFormer, tokens: Tensor): Tensor {
  if (!ln_vision) throw new ConfigError("the Q-Former was made without ln_vision");
  return ln_vision.forward(tokens);
}
