/** Layers of the Q-Former: BERT's, with a cross attention and a second feed-forward for the query tokens. */
import type { Random } from "../core/random.ts";
import type { LinearInit } from "../nn/init.ts";
import { LayerNorm } from "../nn/layer_norm.ts";
import { Linear, projectApart, projectTogether } from "../nn/linear.ts";
import { params } from "../nn/module.ts";
import { attention, isOneLaunch } from "../ops/attention.ts";
import { dropout } from "../ops/dropout.ts";
import { add } from "../ops/elementwise.ts";
import { concat, expand, slice } from "../ops/movement.ts";
import { scope } from "../tensor/trace.ts";
import type { Param, Tensor } from "../tensor/tensor.ts";

/** Sizes that a layer needs. */
export interface QFormerLayerConfig {
  readonly hiddenSize: number;
  readonly numHeads: number;
  readonly intermediateSize: number;
  /** Width of the image tokens. */
  readonly encoderWidth: number;
  readonly layerNormEps: number;
  /** Probability on attention probabilities and on each block's output; active in training only. */
  readonly dropout: number;
}

interface Init {
  readonly random?: Random;
  readonly init: LinearInit;
}

/** `LayerNorm(dropout(dense(x)) + residual)`: `BertSelfOutput` and `BertOutput`. */
class ResidualOutput {
  readonly dense: Linear;
  readonly LayerNorm: LayerNorm;
  readonly dropout: number;

  constructor(inFeatures: number, config: QFormerLayerConfig, init: Init) {
    this.dense = new Linear(inFeatures, config.hiddenSize, init);
    this.LayerNorm = new LayerNorm(config.hiddenSize, { eps: config.layerNormEps });
    this.dropout = config.dropout;
  }

  forward(x: Tensor, residual: Tensor): Tensor {
    return this.LayerNorm.forward(add(dropout(this.dense.forward(x), this.dropout), residual));
  }
}

/** `BertAttention`: attention over `states`, output projection, residual, LayerNorm. */
export class BertAttention {
  readonly self: { readonly query: Linear; readonly key: Linear; readonly value: Linear };
  readonly output: ResidualOutput;
  readonly numHeads: number;
  readonly dropout: number;

  /** @param keyWidth Width of what is attended to: the hidden size, or the image tokens' width. */
  constructor(config: QFormerLayerConfig, keyWidth: number, init: Init) {
    const { hiddenSize } = config;
    this.self = {
      query: new Linear(hiddenSize, hiddenSize, init),
      key: new Linear(keyWidth, hiddenSize, init),
      value: new Linear(keyWidth, hiddenSize, init),
    };
    this.output = new ResidualOutput(hiddenSize, config, init);
    this.numHeads = config.numHeads;
    this.dropout = config.dropout;
  }

  /**
   * `x [B, Lq, D]` asks, `states [B, Lk, W]` answers; `[B, Lq, D]`. A batch of one in `x` stands for all samples.
   *
   * @param mask 1 for keys that are seen, 0 for hidden ones: `[B, Lk]`.
   */
  forward(x: Tensor, states: Tensor, mask?: Tensor): Tensor {
    const { query: q, key: k, value: v } = this.self, { numHeads: heads, dropout } = this;
    const [, Lq, D] = x.shape, [B, Lk] = states.shape;
    // One product for several projections pays where attention then reads its parts in place.
    const project = isOneLaunch({ Lq, Lk, D }, { heads, dropout }) ? projectTogether : projectApart;
    const [asked, key, value] = x === states
      ? project(x, [q, k, v])
      : [q.forward(x), ...project(states, [k, v])];
    const query = x.shape[0] === B ? asked : expand(asked, [B, ...asked.shape.slice(1)]);
    const context = attention(query, key, value, { heads, mask, dropout });
    return this.output.forward(context, x);
  }
}

/** What goes into a layer besides the sequence. */
export interface LayerContext {
  /** Query tokens in front of the sequence; 0 in mode text. */
  readonly numQueries: number;
  /** Normalised image tokens `[B, N, W]`, for the cross attention of the query tokens. */
  readonly imageTokens?: Tensor;
  /** `[B, S]`: 1 for positions that are seen. */
  readonly mask?: Tensor;
  /** How many positions from the front are wanted of the result: those that the last layer's readers use. */
  readonly rows?: number;
}

/** One layer; every other one has a cross attention. */
export class QFormerLayer {
  readonly attention: BertAttention;
  readonly crossattention?: BertAttention;
  readonly intermediate: { readonly dense: Linear };
  readonly output: ResidualOutput;
  readonly intermediate_query: { readonly dense: Linear };
  readonly output_query: ResidualOutput;

  constructor(config: QFormerLayerConfig, hasCrossAttention: boolean, init: Init) {
    const { hiddenSize, intermediateSize, encoderWidth } = config;
    this.attention = new BertAttention(config, hiddenSize, init);
    if (hasCrossAttention) this.crossattention = new BertAttention(config, encoderWidth, init);
    this.intermediate = { dense: new Linear(hiddenSize, intermediateSize, init) };
    this.output = new ResidualOutput(intermediateSize, config, init);
    this.intermediate_query = { dense: new Linear(hiddenSize, intermediateSize, init) };
    this.output_query = new ResidualOutput(intermediateSize, config, init);
  }

  /** `[B, S, D]` to `[B, S, D]`, or `[B, rows, D]`. Positions that are not wanted are keys and values only. */
  forward(x: Tensor, { numQueries, imageTokens, mask, rows }: LayerContext): Tensor {
    const wanted = rows === undefined ? x : slice(x, 1, 0, rows);
    const h = scope("attention", () => this.attention.forward(wanted, x, mask));
    if (numQueries === 0) return this.#textFeedForward(h);
    const length = h.shape[1];
    const queries = this.#queryBlock(length > numQueries ? slice(h, 1, 0, numQueries) : h, imageTokens);
    if (length <= numQueries) return queries;
    return concat([queries, this.#textFeedForward(slice(h, 1, numQueries, length))], 1);
  }

  /** The text's feed-forward: what the last layer of mode multimodal computes and drops. */
  get textParams(): Param[] {
    return params({ intermediate: this.intermediate, output: this.output });
  }

  #queryBlock(h: Tensor, imageTokens?: Tensor): Tensor {
    const { crossattention } = this;
    const seen = crossattention && imageTokens
      ? scope("crossattention", () => crossattention.forward(h, imageTokens))
      : h;
    const inner = this.intermediate_query.dense.forward(seen, "gelu");
    return scope("output_query", () => this.output_query.forward(inner, seen));
  }

  #textFeedForward(h: Tensor): Tensor {
    return scope("output", () => this.output.forward(this.intermediate.dense.forward(h, "gelu"), h));
  }
}
