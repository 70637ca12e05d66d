/**
 * BLIP-2's Q-Former: a BERT over query tokens and text, whose query tokens see the image by cross attention.
 *
 * Source: Li et al., "BLIP-2" (ICML 2023), section 3; LAVIS, `Blip2Qformer.extract_features`. The field names are the
 * keys of LAVIS's state dict.
 */
import { ShapeError } from "../core/errors.ts";
import type { Random } from "../core/random.ts";
import { showShape } from "../core/shape.ts";
import { Embedding } from "../nn/embedding.ts";
import { type LinearInit, normalLinear } from "../nn/init.ts";
import { LayerNorm } from "../nn/layer_norm.ts";
import { Linear } from "../nn/linear.ts";
import { withZeroGradient } from "../nn/zero_gradient.ts";
import { dropout } from "../ops/dropout.ts";
import { add, ones } from "../ops/elementwise.ts";
import { concat, expand, slice } from "../ops/movement.ts";
import { type Param, param, type Tensor } from "../tensor/tensor.ts";
import { isTraining, scope, segment } from "../tensor/trace.ts";
import { type LayerContext, QFormerLayer, type QFormerLayerConfig } from "./qformer_layer.ts";

/** Sizes of a Q-Former. */
export interface QFormerConfig extends QFormerLayerConfig {
  readonly numLayers: number;
  /** Query tokens: `K`. */
  readonly numQueryTokens: number;
  /** Every how many layers, from layer 0, the query tokens see the image. */
  readonly crossAttentionFreq: number;
  /** Words of the table: `V`. */
  readonly vocabSize: number;
  /** Longest text. */
  readonly maxPositions: number;
  /** Width of the two projections that LAVIS has and CaLa does not use; without it they are left out. */
  readonly projDim?: number;
  /** False where the image tokens come normalised and nothing is to be loaded: the demo's stem. */
  readonly hasLnVision?: boolean;
}

/** `blip2_feature_extractor`, type `pretrain_vitL`. */
export const BLIP2_CONFIG: QFormerConfig = {
  hiddenSize: 768,
  numLayers: 12,
  numHeads: 12,
  intermediateSize: 3072,
  numQueryTokens: 32,
  crossAttentionFreq: 2,
  encoderWidth: 1024,
  vocabSize: 30_523, // bert-base-uncased and [DEC]
  maxPositions: 512,
  layerNormEps: 1e-12,
  dropout: 0.1,
};

/** How a Q-Former that is not loaded starts. The defaults are BERT's. */
export interface QFormerInit {
  readonly linear?: LinearInit;
  readonly wordStd?: number;
  readonly positionStd?: number;
  readonly queryStd?: number;
}

/** How much of the last layer's output is wanted. Rows that nobody reads are not computed; the others do not change. */
export interface RowsOption {
  /** Positions from the front; as default all of them. */
  readonly rows?: number;
}

/** One copy of the Q-Former. */
export class QFormer {
  readonly query_tokens: Param; // [1, K, D]
  readonly Qformer: {
    readonly bert: {
      readonly embeddings: {
        readonly word_embeddings: Embedding;
        readonly position_embeddings: Embedding;
        readonly LayerNorm: LayerNorm;
      };
      readonly encoder: { readonly layer: readonly QFormerLayer[] };
    };
  };
  /** Applied by whoever makes the image tokens, once for all copies: see `Blip2`. */
  readonly ln_vision?: LayerNorm;
  readonly vision_proj?: Linear;
  readonly text_proj?: Linear;
  readonly config: QFormerConfig;

  /** @param options.random Draws the initial values. Without one they are zeros, to be loaded. */
  constructor(config: QFormerConfig, { random, init = {} }: { random?: Random; init?: QFormerInit } = {}) {
    const { linear = normalLinear(0.02), wordStd = 0.02, positionStd = 0.02, queryStd = 0.02 } = init;
    const { hiddenSize: D, numQueryTokens: K, layerNormEps: eps } = config;
    this.config = config;
    this.query_tokens = param(
      [1, K, D],
      random ? random.normal(K * D, 0, queryStd) : new Float32Array(K * D),
    );
    this.Qformer = {
      bert: {
        embeddings: {
          word_embeddings: new Embedding(config.vocabSize, D, { random, std: wordStd }),
          position_embeddings: new Embedding(config.maxPositions, D, { random, std: positionStd }),
          LayerNorm: new LayerNorm(D, { eps }),
        },
        encoder: {
          layer: Array.from(
            { length: config.numLayers },
            (_, i) => new QFormerLayer(config, i % config.crossAttentionFreq === 0, { random, init: linear }),
          ),
        },
      },
    };
    if (config.hasLnVision ?? true) this.ln_vision = new LayerNorm(config.encoderWidth);
    if (config.projDim) {
      this.vision_proj = new Linear(D, config.projDim, { random });
      this.text_proj = new Linear(D, config.projDim, { random });
    }
  }

  /**
   * Mode text: `ids [B, L]` (u32) and `mask [B, L]` (1 for words, 0 for padding) to `[B, L, D]`.
   * Padded positions are hidden as keys; they still have outputs.
   */
  text(ids: Tensor, mask: Tensor, { rows }: RowsOption = {}): Tensor {
    return this.#encode(this.#words(ids), { numQueries: 0, mask }, rows);
  }

  /** Mode image: normalised image tokens `[B, N, W]` to `[B, K, D]`. */
  image(imageTokens: Tensor, { rows }: RowsOption = {}): Tensor {
    // Until they first see the image, the query tokens are the same for all samples, unless dropout differs.
    const B = isTraining() && this.config.dropout > 0 ? imageTokens.shape[0] : 1;
    return this.#encode(this.#queries(B), { numQueries: this.config.numQueryTokens, imageTokens }, rows);
  }

  /**
   * Mode multimodal: image tokens `[B, N, W]`, `ids` and `mask` `[B, L]` to the query positions `[B, K, D]`.
   *
   * The original computes the last layer's text positions and drops them, so their feed-forward gets gradients of
   * zeros, which AdamW answers with weight decay; here they get the zeros without being computed.
   */
  multimodal(imageTokens: Tensor, ids: Tensor, mask: Tensor, { rows }: RowsOption = {}): Tensor {
    const { numQueryTokens: K } = this.config;
    const [B] = ids.shape;
    const seen = concat([ones([B, K]), mask], 1);
    const y = this.#encode(
      concat([this.#queries(B), this.#words(ids)], 1),
      { numQueries: K, imageTokens, mask: seen },
      rows ?? K,
    );
    const last = this.Qformer.bert.encoder.layer.at(-1);
    return last ? withZeroGradient(y, last.textParams) : y;
  }

  #queries(B: number): Tensor {
    const [, K, D] = this.query_tokens.shape;
    return B === 1 ? this.query_tokens : expand(this.query_tokens, [B, K, D]);
  }

  #words(ids: Tensor): Tensor {
    const { word_embeddings, position_embeddings } = this.Qformer.bert.embeddings;
    const L = ids.shape[1];
    if (L > this.config.maxPositions) {
      throw new ShapeError(
        `ids are ${showShape(ids.shape)}; the position table has ${this.config.maxPositions} rows`,
      );
    }
    return add(word_embeddings.forward(ids), slice(position_embeddings.weight, 0, 0, L));
  }

  /** One LayerNorm over queries and text together, then the layers. */
  #encode(embedded: Tensor, context: LayerContext, rows?: number): Tensor {
    const { embeddings, encoder } = this.Qformer.bert;
    const x = dropout(embeddings.LayerNorm.forward(embedded), this.config.dropout);
    const last = encoder.layer.length - 1;
    return encoder.layer.reduce(
      (h, layer, i) =>
        scope(
          `layer.${i}`,
          () => segment(() => layer.forward(h, i === last ? { ...context, rows } : context)),
        ),
      x,
    );
  }
}
