/**
 * What training, evaluation and search need of a model. `lib/cala/frames` makes frames, `lib/train` uses them:
 * both know only this file. All tensors are symbolic: a frame builds graph.
 */
import type { Param, Tensor } from "../tensor/tensor.ts";

/** What a model reads of a batch of images: the fields of the image source, each `[B, ...]`. */
export type ImageBatch = Readonly<Record<string, Tensor>>;

/** A batch of captions. */
export interface TextBatch {
  /** Token ids, padded with 0: u32 `[B, L]`. */
  readonly inputIds: Tensor;
  /** 1 for a token, 0 for padding: f32 `[B, L]`. */
  readonly attentionMask: Tensor;
  /** Length of the batch's longest caption in tokens: u32 `[1]`. HCA reads padding up to here (quirk Q19). */
  readonly longest: Tensor;
  /** Features of the texts, where they are stored and not to be computed: `[B, D]`. */
  readonly features?: Tensor;
}

/** A batch of queries: reference image and caption. */
export interface QueryBatch extends TextBatch {
  readonly reference: ImageBatch;
}

/** A batch of triplets. */
export interface TripletBatch extends QueryBatch {
  readonly target: ImageBatch;
}

/** Named embeddings of a batch. */
export type Embeddings = Readonly<Record<string, Tensor>>;

/** A way to ask: what is stored of a query, and how it is scored. */
export interface QueryKind {
  /** Embeddings of a query, each `[B, ...]`. */
  encode(batch: QueryBatch): Embeddings;
  /** Scores, higher is better: `[B, N]`, from embeddings of B queries and N gallery images. */
  scores(query: Embeddings, gallery: Embeddings): Tensor;
}

/** A retrieval model. */
export interface Frame {
  /** Every parameter by its checkpoint key: prefix (`textual.`, `visual.`, ...) and PyTorch state-dict key. */
  readonly params: ReadonlyMap<string, Param>;
  /** The optimiser's two groups: `scheduled` follows the schedule, `constant` does not (quirk Q15). */
  readonly groups: { readonly scheduled: readonly Param[]; readonly constant: readonly Param[] };
  /** Training: everything that the losses need. */
  encode(batch: TripletBatch): Embeddings;
  /** Training: the query-target logits `[B, B]` from what `encode` gave. */
  logits(encoded: Embeddings): Tensor;
  /** Evaluation: what is stored of a gallery image, each `[B, ...]`. */
  encodeGallery(image: ImageBatch): Embeddings;
  /** Evaluation: the ways to ask. `composed` is the method; `image` and `text` show shortcuts. */
  readonly queries: { readonly composed: QueryKind; readonly image?: QueryKind; readonly text?: QueryKind };
}
