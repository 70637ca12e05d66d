/**
 * CLIP's text transformer. The field names are the keys of OpenAI's state dict.
 *
 * Source: Radford et al., "Learning transferable visual models from natural language supervision" (ICML 2021); openai/CLIP,
 * `model.py`; CaLa's README for the second output.
 */
import { ShapeError } from "../core/errors.ts";
import type { Random } from "../core/random.ts";
import { showShape } from "../core/shape.ts";
import { MultiheadAttention } from "../nn/attention.ts";
import { Embedding } from "../nn/embedding.ts";
import { LayerNorm } from "../nn/layer_norm.ts";
import { Linear } from "../nn/linear.ts";
import { add, sub, zeros } from "../ops/elementwise.ts";
import { matmul } from "../ops/matmul.ts";
import { concat, reshape, slice } from "../ops/movement.ts";
import { type Param, param, type Tensor } from "../tensor/tensor.ts";
import { scope, segment } from "../tensor/trace.ts";

/** Sizes of the text transformer. */
export interface ClipTextConfig {
  readonly width: number;
  readonly numHeads: number;
  readonly numLayers: number;
  /** Every text has this many ids: `L`. */
  readonly contextLength: number;
  readonly vocabSize: number;
  /** Size of the projected feature: `D`. */
  readonly embedDim: number;
}

/** The text side of RN50x4. */
export const RN50X4_TEXT: ClipTextConfig = {
  width: 640,
  numHeads: 10,
  numLayers: 12,
  contextLength: 77,
  vocabSize: 49_408,
  embedDim: 640,
};

/** Pre-norm block: causal self attention, then a feed-forward with QuickGELU. */
class ResidualAttentionBlock {
  readonly attn: MultiheadAttention;
  readonly ln_1: LayerNorm;
  readonly mlp: { readonly c_fc: Linear; readonly c_proj: Linear };
  readonly ln_2: LayerNorm;

  constructor(width: number, numHeads: number, random?: Random) {
    this.attn = new MultiheadAttention(width, numHeads, { random });
    this.ln_1 = new LayerNorm(width);
    this.mlp = {
      c_fc: new Linear(width, 4 * width, { random }),
      c_proj: new Linear(4 * width, width, { random }),
    };
    this.ln_2 = new LayerNorm(width);
  }

  forward(x: Tensor): Tensor {
    const h = add(x, this.attn.selfAttention(this.ln_1.forward(x), { causal: true }));
    return add(h, this.mlp.c_proj.forward(this.mlp.c_fc.forward(this.ln_2.forward(h), "quickGelu")));
  }
}

/** What CaLa takes from CLIP's `encode_text`. */
export interface ClipTextOutput {
  /** The end token's row, projected: `[B, D]`. */
  readonly features: Tensor;
  /** All rows after `ln_final`, not projected: `[B, L, width]`. */
  readonly sequence: Tensor;
}

/** CLIP's text encoder. */
export class ClipText {
  readonly positional_embedding: Param; // [L, width]
  readonly text_projection: Param; // [width, D], used as x P
  readonly transformer: { readonly resblocks: readonly ResidualAttentionBlock[] };
  readonly token_embedding: Embedding;
  readonly ln_final: LayerNorm;
  readonly config: ClipTextConfig;

  /** @param options.random Draws the initial values (not OpenAI's: they are there to be loaded over). Without one: zeros. */
  constructor(config: ClipTextConfig, { random }: { random?: Random } = {}) {
    const { width, numHeads, numLayers, contextLength, vocabSize, embedDim } = config;
    const normal = (n: number, std: number) => random ? random.normal(n, 0, std) : new Float32Array(n);
    this.config = config;
    this.positional_embedding = param([contextLength, width], normal(contextLength * width, 0.01));
    this.text_projection = param([width, embedDim], normal(width * embedDim, 1 / Math.sqrt(width)));
    this.transformer = {
      resblocks: Array.from({ length: numLayers }, () => new ResidualAttentionBlock(width, numHeads, random)),
    };
    this.token_embedding = new Embedding(vocabSize, width, { random, std: 0.02 });
    this.ln_final = new LayerNorm(width);
  }

  /**
   * @param ids u32 `[B, L]`, padded with 0 to the context length.
   * @param mask `[B, L]`: 1 for tokens, up to and with the end token, 0 behind. Tells where a text ends: padding is
   * neither hidden nor dropped, as in CLIP.
   * @throws {ShapeError} If texts are not as long as the context.
   */
  forward(ids: Tensor, mask: Tensor): ClipTextOutput {
    if (ids.shape[1] !== this.config.contextLength) {
      throw new ShapeError(`CLIP reads ${this.config.contextLength} ids a text, got ${showShape(ids.shape)}`);
    }
    const embedded = add(this.token_embedding.forward(ids), this.positional_embedding);
    const x = this.transformer.resblocks.reduce(
      (h, block, i) => scope(`resblocks.${i}`, () => segment(() => block.forward(h))),
      embedded,
    );
    const sequence = this.ln_final.forward(x);
    return { features: matmul(endRow(sequence, mask), this.text_projection), sequence };
  }
}

/** The row of each text's last token: `[B, L, D]` to `[B, D]`. */
function endRow(sequence: Tensor, mask: Tensor): Tensor {
  const [B, L, D] = sequence.shape;
  const last = zeros([B, 1]);
  const next = L === 1 ? last : concat([slice(mask, 1, 1, L), last], 1);
  const isEnd = reshape(sub(mask, next), [B, 1, L]); // 1 where a token is followed by none
  return reshape(matmul(isEnd, sequence), [B, D]);
}
