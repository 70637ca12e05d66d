/** How CaLa's three logits become one loss. */
import { ConfigError } from "../core/errors.ts";
import { crossEntropy } from "../ops/cross_entropy.ts";
import { add, scale } from "../ops/elementwise.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Weights of the heads; 0 and 0 is the baseline. */
export interface CalaWeights {
  /** Share of TAC's logits in the contrastive logits. */
  readonly tacWeight: number;
  /** Share of HCA's loss. */
  readonly hcaWeight: number;
}

/** Logits `[B, B]`: row i is sample i as query, the diagonal is right. A head whose weight is 0 may be left out. */
export interface CalaLogits {
  readonly matching: Tensor;
  readonly tac?: Tensor;
  readonly hca?: Tensor;
}

/** Named terms, all scalars but the logits. */
export type CalaTerms = {
  readonly loss: Tensor;
  /** Cross entropy of the blended logits. */
  readonly contrastive: Tensor;
  /** HCA's cross entropy; absent without HCA. */
  readonly reasoning?: Tensor;
  /** TAC's own cross entropy, where it has one: `paperLoss`. */
  readonly aligning?: Tensor;
};

/**
 * `w·tac + (1 − w)·matching`: TAC is blended into the logits, before the softmax.
 *
 * @throws {ConfigError} If the weight is not in [0, 1], or TAC's logits are missing.
 */
export function contrastiveLogits(
  { matching, tac }: CalaLogits,
  { tacWeight }: Pick<CalaWeights, "tacWeight">,
): Tensor {
  checkWeight("tacWeight", tacWeight);
  if (tacWeight === 0) return matching;
  if (!tac) throw new ConfigError(`tacWeight is ${tacWeight}, but there are no TAC logits`);
  return add(scale(tac, tacWeight), scale(matching, 1 - tacWeight));
}

/**
 * `loss = h·CE(hca) + (1 − h)·CE(w·tac + (1 − w)·matching)`, over rows, against the diagonal.
 *
 * Source: `blip_fine_tune.py`, training loop. The heads of weight 0 get no gradient, not one of zeros.
 *
 * @throws {ConfigError} If a weight is not in [0, 1], or a head's logits are missing.
 */
export function calaLoss(logits: CalaLogits, { tacWeight, hcaWeight }: CalaWeights): CalaTerms {
  checkWeight("hcaWeight", hcaWeight);
  const contrastive = crossEntropy(contrastiveLogits(logits, { tacWeight }));
  if (hcaWeight === 0) return { loss: contrastive, contrastive };
  if (!logits.hca) throw new ConfigError(`hcaWeight is ${hcaWeight}, but there are no HCA logits`);
  const reasoning = crossEntropy(logits.hca);
  return {
    loss: add(scale(reasoning, hcaWeight), scale(contrastive, 1 - hcaWeight)),
    contrastive,
    reasoning,
  };
}

/**
 * `loss = CE(matching) + h·CE(hca) + w·CE(tac)`: the sum of three losses that the paper writes, where the released code
 * blends. The paper's weights could not be read: these are not they.
 *
 * @throws {ConfigError} If a weight is not in [0, 1], or a head's logits are missing.
 */
export function paperLoss(
  { matching, tac, hca }: CalaLogits,
  { tacWeight, hcaWeight }: CalaWeights,
): CalaTerms {
  checkWeight("tacWeight", tacWeight);
  checkWeight("hcaWeight", hcaWeight);
  const term = (name: string, logits: Tensor | undefined, weight: number) => {
    if (weight === 0) return undefined;
    if (!logits) {
      throw new ConfigError(`${name}Weight is ${weight}, but there are no ${name.toUpperCase()} logits`);
    }
    return crossEntropy(logits);
  };
  const contrastive = crossEntropy(matching);
  const reasoning = term("hca", hca, hcaWeight), aligning = term("tac", tac, tacWeight);
  let loss = contrastive;
  if (reasoning) loss = add(loss, scale(reasoning, hcaWeight));
  if (aligning) loss = add(loss, scale(aligning, tacWeight));
  return { loss, contrastive, ...(reasoning ? { reasoning } : {}), ...(aligning ? { aligning } : {}) };
}

function checkWeight(name: string, weight: number) {
  if (!(weight >= 0 && weight <= 1)) {
    throw new ConfigError(`${name} is ${weight}; expected a share from 0 to 1`);
  }
}
