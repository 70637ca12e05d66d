/**
 * CaLa's three copies of the BLIP-2 Q-Former: textual, multimodal, visual. They start alike and train apart.
 *
 * Source: the released code of CaLa (SIGIR 2024), `blip_fine_tune.py`.
 */
import { ConfigError } from "../core/errors.ts";
import { Random } from "../core/random.ts";
import type { ImageBatch, QueryBatch, TextBatch, TripletBatch } from "../nn/frame.ts";
import { params } from "../nn/module.ts";
import { addScalar, castF32, relu, sub } from "../ops/elementwise.ts";
import { l2Normalize } from "../ops/l2_normalize.ts";
import { concat, expand, reshape, slice } from "../ops/movement.ts";
import { constant, type Tensor } from "../tensor/tensor.ts";
import { scope } from "../tensor/trace.ts";
import {
  type Encoded,
  type Encoders,
  type HeadsRead,
  imageField,
  type ParamGroup,
  type QueryFeats,
} from "./encoders.ts";
import { QFormer, type QFormerConfig, type QFormerInit } from "./qformer.ts";
import type { Stem } from "./stem.ts";

/** Options of `Blip2`. */
export interface Blip2Options {
  readonly config: QFormerConfig;
  /** What is trained: all three copies, or all but the visual one, which then also has no dropout. */
  readonly train?: "both" | "multi";
  /** Small trained vision, for images that come as pixels. Without it they come as tokens of a feature store. */
  readonly stem?: Stem;
  /** True if the store's tokens are those before `ln_vision`: each copy then normalises them itself. */
  readonly hasRawTokens?: boolean;
  /** HCA reads no padding at all; the released code reads it up to the batch's longest caption (quirk Q19). */
  readonly masksCaptionPadding?: boolean;
  /** Seed of the copies' common random start. Without one they are zeros, to be loaded. */
  readonly seed?: number;
  /** Distributions of the random start; default BERT's. */
  readonly init?: QFormerInit;
}

/**
 * Three Q-Formers as encoders. Images bring `pixels` with a stem, `tokens [B, N, W]` without; with `train: "multi"` they
 * may bring `embeds [B, K, D]`, what `imageEmbeds` gave of them: nothing else is then read of targets and galleries.
 */
export class Blip2 implements Encoders {
  readonly textual: QFormer;
  readonly multimodal: QFormer;
  readonly visual: QFormer;
  readonly stem?: Stem;
  readonly embedDim: number;
  readonly #train: "both" | "multi";
  readonly #hasRawTokens: boolean;
  readonly #masksCaptionPadding: boolean;

  constructor(
    { config, train = "both", stem, hasRawTokens = false, masksCaptionPadding = false, seed, init }:
      Blip2Options,
  ) {
    const copy = (dropout: number) => {
      // One stream for all: the copies start alike, as the released ones do.
      const random = seed === undefined ? undefined : new Random(seed, "qformer");
      return new QFormer({ ...config, dropout }, { random, init });
    };
    this.textual = copy(config.dropout);
    this.multimodal = copy(config.dropout);
    this.visual = copy(train === "both" ? config.dropout : 0);
    this.stem = stem;
    this.embedDim = config.hiddenSize;
    this.#train = train;
    this.#hasRawTokens = hasRawTokens;
    this.#masksCaptionPadding = masksCaptionPadding;
  }

  get modules(): Record<string, object> {
    const { textual, multimodal, visual, stem } = this;
    return { textual, multimodal, visual, ...(stem ? { stem } : {}) };
  }

  /** Groups 0 to 4 of the released optimiser (0 to 2 in `multi`), and the stem where there is one. */
  get paramGroups(): ParamGroup[] {
    const { textual, multimodal, visual, stem } = this;
    const group = (name: string, module: object, isScheduled = false): ParamGroup => ({
      name,
      params: params(module),
      lrMultiplier: 1,
      isScheduled,
    });
    return [
      group("multimodal.Qformer.bert", multimodal.Qformer.bert, true),
      group("multimodal.query_tokens", { query_tokens: multimodal.query_tokens }),
      group("textual.Qformer.bert", textual.Qformer.bert),
      ...(this.#train === "both"
        ? [
          group("visual.Qformer.bert", visual.Qformer.bert),
          group("visual.query_tokens", { query_tokens: visual.query_tokens }),
        ]
        : []),
      ...(stem ? [group("stem", stem)] : []),
    ];
  }

  encode(batch: TripletBatch, { tac, hca }: HeadsRead): Encoded {
    const stored = this.#stored(tac ? [batch.reference, batch.target] : [batch.target]);
    const [reference, target] = this.#tokens(stored ? [batch.reference] : [batch.reference, batch.target]);
    // In the stem's order: together the two are its whole result, not a copy of it.
    const tokens = tac ? [reference, target] : [target];
    const embeds = stored ?? this.#visual(tokens, tac || hca ? undefined : 1);
    const targetEmbeds = embeds[embeds.length - 1], referenceEmbedsForTac = embeds[0];
    const referenceEmbeds = this.#multimodal(reference, batch); // [B, 1, D]
    const textEmbeds = this.#textual(batch, hca ? undefined : 1);
    return {
      referenceFeats: firstRow(referenceEmbeds),
      textFeats: firstRow(textEmbeds),
      targetFeats: l2Normalize(firstRow(targetEmbeds)),
      ...(tac || hca ? { targetEmbeds } : {}),
      ...(tac ? { referenceEmbedsForTac } : {}),
      ...(hca ? { referenceEmbeds, textEmbeds, textKeep: this.#textKeep(batch) } : {}),
    };
  }

  encodeQuery(batch: QueryBatch): QueryFeats {
    const [reference] = this.#tokens([batch.reference]);
    return {
      referenceFeats: firstRow(this.#multimodal(reference, batch)),
      textFeats: this.encodeText(batch),
    };
  }

  encodeText(text: TextBatch): Tensor {
    return firstRow(this.#textual(text, 1));
  }

  encodeImage(image: ImageBatch): Tensor {
    const [embeds] = this.#stored([image]) ?? this.#visual(this.#tokens([image]), 1);
    return firstRow(embeds);
  }

  /** The visual copy's whole output, `[B, K, D]`: what a store keeps of a frozen one. */
  imageEmbeds(image: ImageBatch): Tensor {
    return this.#visual(this.#tokens([image]))[0];
  }

  /** Image tokens `[B, N, W]` of each batch of images. */
  #tokens(images: readonly ImageBatch[]): Tensor[] {
    const { stem } = this;
    if (!stem) return images.map((image) => imageField(image, "tokens"));
    const pixels = images.map((image) => imageField(image, "pixels"));
    return parted(scope("stem", () => stem.forward(...pixels)), pixels);
  }

  /** The frozen copy's output, `[B, K, D]` of each batch of images, where all bring it. */
  #stored(images: readonly ImageBatch[]): Tensor[] | undefined {
    const isStored = this.#train === "multi" && images.every(({ embeds }) => embeds);
    return isStored ? images.map(({ embeds }) => embeds) : undefined;
  }

  /** `[B, K, D]`, or `[B, rows, D]`, of each batch of images. */
  #visual(tokens: readonly Tensor[], rows?: number): Tensor[] {
    const encode = (x: Tensor) =>
      scope("visual", () => this.visual.image(this.#normalised(this.visual, x), { rows }));
    // A store's tokens are large: those of two batches of 64 joined would pass the 128 MiB that a binding has at least.
    return this.stem ? together(tokens, encode) : tokens.map(encode);
  }

  /** Only query token 0 of the multimodal copy is ever read: by the sum, by ARTEMIS, and by HCA. `[B, 1, D]` */
  #multimodal(tokens: Tensor, { inputIds, attentionMask }: TextBatch): Tensor {
    const { multimodal } = this;
    return scope(
      "multimodal",
      () => multimodal.multimodal(this.#normalised(multimodal, tokens), inputIds, attentionMask, { rows: 1 }),
    );
  }

  #textual({ inputIds, attentionMask }: TextBatch, rows?: number): Tensor {
    return scope("textual", () => this.textual.text(inputIds, attentionMask, { rows }));
  }

  /** `[B, L]`: which caption positions HCA reads. */
  #textKeep(batch: TextBatch): Tensor {
    return this.#masksCaptionPadding ? batch.attentionMask : keepUpToLongest(batch);
  }

  #normalised(copy: QFormer, tokens: Tensor): Tensor {
    if (!this.#hasRawTokens) return tokens;
    if (!copy.ln_vision) {
      throw new ConfigError("raw tokens need ln_vision, and the Q-Former's config leaves it out");
    }
    return copy.ln_vision.forward(tokens);
  }
}

/** `[B, K, D]` to `[B, D]`. */
function firstRow(x: Tensor): Tensor {
  const [B, L, D] = x.shape;
  return reshape(L === 1 ? x : slice(x, 1, 0, 1), [B, D]);
}

/** Applies `encode` to the batches as one, and cuts its result at the same places. */
const together = (parts: readonly Tensor[], encode: (x: Tensor) => Tensor): Tensor[] =>
  parted(encode(concat(parts, 0)), parts);

/** Cuts the first axis into parts as long as those of `like`. */
function parted(y: Tensor, like: readonly Tensor[]): Tensor[] {
  let end = 0;
  return like.map(({ shape: [B] }) => slice(y, 0, end, end += B));
}

/**
 * `[B, L]`: 1 for positions up to the batch's longest caption, 0 for those that only the bucket's length adds. Padding
 * up to the longest caption takes part in HCA (Q19), so a batch gives the same loss in every bucket.
 */
function keepUpToLongest({ inputIds, longest }: TextBatch): Tensor {
  const [B, L] = inputIds.shape;
  const positions = constant([L], Float32Array.from({ length: L }, (_, i) => i));
  const left = sub(castF32(longest), positions); // a whole number: above 0 within the longest caption
  return expand(sub(relu(left), relu(addScalar(left, -1))), [B, L]);
}
