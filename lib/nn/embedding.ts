import type { Random } from "../core/random.ts";
import { embedding } from "../ops/gather.ts";
import { type Param, param, type Tensor } from "../tensor/tensor.ts";

/** Options of `Embedding`. */
export interface EmbeddingOptions {
  /** Draws the initial values. Without one they are zeros, to be loaded. */
  readonly random?: Random;
  /** Standard deviation of the initial values: 1 in PyTorch, 0.02 in BERT. */
  readonly std?: number;
}

/** A table of vectors, as `torch.nn.Embedding` without a padding row. */
export class Embedding {
  readonly weight: Param; // [V, D]

  constructor(numEmbeddings: number, dim: number, { random, std = 1 }: EmbeddingOptions = {}) {
    const size = numEmbeddings * dim;
    this.weight = param([numEmbeddings, dim], random ? random.normal(size, 0, std) : new Float32Array(size));
  }

  /** Ids u32 `[...]` to `[..., D]`. */
  forward(ids: Tensor): Tensor {
    return embedding(ids, this.weight);
  }
}
