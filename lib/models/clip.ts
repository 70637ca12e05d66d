/** CLIP as CaLa's encoders: the text transformer is trained, the image side comes from the feature store. */
import { ConfigError } from "../core/errors.ts";
import type { ImageBatch, QueryBatch, TextBatch, TripletBatch } from "../nn/frame.ts";
import { params } from "../nn/module.ts";
import { l2Normalize } from "../ops/l2_normalize.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { scope } from "../tensor/trace.ts";
import type { ClipText, ClipTextOutput } from "./clip_text.ts";
import {
  type Encoded,
  type Encoders,
  type HeadsRead,
  imageField,
  type ParamGroup,
  type QueryFeats,
} from "./encoders.ts";

/** Options of `Clip`. */
export interface ClipOptions {
  /** HCA does not read behind a caption's end; the released code reads all positions (quirk Q19). */
  readonly masksCaptionPadding?: boolean;
}

/** Texts may bring their `features`, which are then not computed. Images bring `pooled [B, D]` and, for TAC and HCA, `map [B, C, H, W]`. */
export class Clip implements Encoders {
  readonly clip: ClipText;
  readonly embedDim: number;
  readonly #masksCaptionPadding: boolean;

  constructor(text: ClipText, { masksCaptionPadding = false }: ClipOptions = {}) {
    this.clip = text;
    this.embedDim = text.config.embedDim;
    this.#masksCaptionPadding = masksCaptionPadding;
  }

  get modules(): Record<string, object> {
    return { clip: this.clip };
  }

  /** Group 0 of the released optimiser: everything that is not visual. */
  get paramGroups(): ParamGroup[] {
    return [{ name: "clip", params: params(this.clip), lrMultiplier: 1, isScheduled: true }];
  }

  /** @throws {ConfigError} If HCA is to read texts of which only the features are stored. */
  encode(batch: TripletBatch, { tac, hca }: HeadsRead): Encoded {
    if (hca && batch.features) {
      throw new ConfigError("HCA reads whole texts, and only their features are stored");
    }
    const { features, sequence } = batch.features ? { features: batch.features } : this.#text(batch);
    return {
      referenceFeats: this.encodeImage(batch.reference),
      textFeats: features,
      targetFeats: l2Normalize(this.encodeImage(batch.target)),
      ...(tac || hca ? { targetEmbeds: imageField(batch.target, "map") } : {}),
      ...(tac ? { referenceEmbedsForTac: imageField(batch.reference, "map") } : {}),
      // All positions take part in HCA, padding included (Q19): every text has the context length.
      ...(hca && sequence
        ? { referenceEmbeds: imageField(batch.reference, "map"), textEmbeds: sequence }
        : {}),
      ...(hca && this.#masksCaptionPadding ? { textKeep: batch.attentionMask } : {}),
    };
  }

  encodeQuery(batch: QueryBatch): QueryFeats {
    return { referenceFeats: this.encodeImage(batch.reference), textFeats: this.encodeText(batch) };
  }

  encodeText(text: TextBatch): Tensor {
    return text.features ?? this.#text(text).features;
  }

  encodeImage(image: ImageBatch): Tensor {
    return imageField(image, "pooled");
  }

  #text({ inputIds, attentionMask }: TextBatch): ClipTextOutput {
    return scope("clip", () => this.clip.forward(inputIds, attentionMask));
  }
}
