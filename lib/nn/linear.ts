import type { Random } from "../core/random.ts";
import { type Activation, linear } from "../ops/linear.ts";
import { concat, slice } from "../ops/movement.ts";
import { type Param, param, type Tensor } from "../tensor/tensor.ts";
import { type LinearInit, torchLinear } from "./init.ts";

/** Options of `Linear`. */
export interface LinearOptions {
  /** Draws the initial values. Without one they are zeros, to be loaded. */
  readonly random?: Random;
  /** How they are drawn: as default like PyTorch. */
  readonly init?: LinearInit;
}

/**
 * `y = x Wᵀ + b`, as `torch.nn.Linear`.
 *
 * @example Usage
 * ```ts
 * const layer = new Linear(3, 2);
 * if (layer.weight.shape.join() !== "2,3") throw new Error("the weight is [out, in]");
 * ```
 */
export class Linear {
  readonly weight: Param; // [out, in]
  readonly bias: Param; // [out]

  constructor(inFeatures: number, outFeatures: number, { random, init = torchLinear }: LinearOptions = {}) {
    const values = random
      ? init(random, outFeatures, inFeatures)
      : { weight: new Float32Array(outFeatures * inFeatures), bias: new Float32Array(outFeatures) };
    this.weight = param([outFeatures, inFeatures], values.weight);
    this.bias = param([outFeatures], values.bias);
  }

  /** `[..., in]` to `[..., out]`; the activation is part of the same launch. */
  forward(x: Tensor, activation: Activation = "none"): Tensor {
    return linear(x, this.weight, this.bias, { activation });
  }
}

/** What several layers make of one input, from one product: `[..., in]` to `[..., out]` each. */
export function projectTogether(x: Tensor, layers: readonly Linear[]): Tensor[] {
  const weight = concat(layers.map((layer) => layer.weight), 0),
    bias = concat(layers.map((layer) => layer.bias), 0);
  const y = linear(x, weight, bias);
  let end = 0;
  return layers.map((layer) => slice(y, -1, end, end += layer.bias.shape[0]));
}

/** The same from a product each. */
export const projectApart = (x: Tensor, layers: readonly Linear[]): Tensor[] =>
  layers.map((layer) => layer.forward(x));
