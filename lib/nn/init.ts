/** How new parameters are drawn. Every number comes from the `Random` that is passed in. */
import type { Random } from "../core/random.ts";

type Values = Float32Array<ArrayBuffer>;

/** Draws a linear layer's weight `[out, in]` and bias `[out]`. */
export type LinearInit = (random: Random, outFeatures: number, inFeatures: number) => {
  readonly weight: Values;
  readonly bias: Values;
};

/** `torch.nn.Linear`'s default: both uniform in `±1/√in` (Kaiming uniform with `a = √5`). */
export const torchLinear: LinearInit = (random, outFeatures, inFeatures) => {
  const bound = 1 / Math.sqrt(inFeatures);
  return {
    weight: random.uniform(outFeatures * inFeatures, -bound, bound),
    bias: random.uniform(outFeatures, -bound, bound),
  };
};

/** Weight `N(0, std)`, bias 0. BERT uses std 0.02. */
export const normalLinear = (std: number): LinearInit => (random, outFeatures, inFeatures) => ({
  weight: random.normal(outFeatures * inFeatures, 0, std),
  bias: new Float32Array(outFeatures),
});

/** Weight `N(0, √(2 / (in + out)))`, bias 0: what small models trained from scratch start with. */
export const xavierNormalLinear: LinearInit = (random, outFeatures, inFeatures) =>
  normalLinear(Math.sqrt(2 / (inFeatures + outFeatures)))(random, outFeatures, inFeatures);

/** `torch.nn.init.xavier_uniform_`: uniform in `±√(6 / (in + out))`. `[out, in]`. */
export function xavierUniform(random: Random, outFeatures: number, inFeatures: number): Values {
  const bound = Math.sqrt(6 / (inFeatures + outFeatures));
  return random.uniform(outFeatures * inFeatures, -bound, bound);
}
