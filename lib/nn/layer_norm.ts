import { layerNorm } from "../ops/layer_norm.ts";
import { type Param, param, type Tensor } from "../tensor/tensor.ts";

/** Options of `LayerNorm`. */
export interface LayerNormOptions {
  /** Added to the variance: 1e-5 in PyTorch, 1e-12 in BERT. */
  readonly eps?: number;
}

/** Normalises the last axis, then scales and shifts it, as `torch.nn.LayerNorm`. */
export class LayerNorm {
  readonly weight: Param; // [D]
  readonly bias: Param; // [D]
  readonly eps: number;

  constructor(dim: number, { eps = 1e-5 }: LayerNormOptions = {}) {
    this.weight = param([dim], new Float32Array(dim).fill(1));
    this.bias = param([dim], new Float32Array(dim));
    this.eps = eps;
  }

  /** `[..., D]` to `[..., D]`. */
  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, this.eps);
  }
}
