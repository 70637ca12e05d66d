/**
 * CIRR, BLIP-2, frame sum.
 *
 * Paper   CaLa (SIGIR 2024), CIRR test1: R@1 49.11, R@5 81.21, R@10 89.59, R@50 98.00, as reported in later papers;
 *         presumably this backbone
 * Run     deno task train cirr_blip2_sum
 * Needs   a feature store of CIRR (deno task features) and blip2_pretrained_vitL.pth; without them it says how
 * Time    not measured
 * Result  not measured: the pictures are licence-gated, and test1's targets are known to CIRR's server alone
 *
 * `--encoder multi` leaves the visual copy as it is; `--baseline` trains without CaLa.
 */
import {
  blip2Flags,
  blip2From,
  calaHeads,
  calaLoss,
  checkEmbedsDim,
  experiment,
  openReleasedData,
  openReleasedWeights,
  paperLoss,
  releasedOptimizer,
  sumFrame,
} from "../mod.ts";

export default experiment(import.meta, blip2Flags("cirr", "sum"), {
  data: (run, c) => openReleasedData(run, c),

  model: async (run, c, data) => {
    using weights = await openReleasedWeights(run, c, data);
    const encoders = await blip2From(weights, {
      train: c.encoder,
      masksCaptionPadding: c.maskCaptionPadding,
    });
    const { embedDim } = encoders, tac = c.tacWeight > 0, hca = c.hcaWeight > 0;
    checkEmbedsDim(c, embedDim);
    return {
      frame: sumFrame(encoders, { tac, hca, matchScale: c.matchingTemperature }),
      heads: calaHeads({ embedDim, seed: c.seed, tacScale: c.tacTemperature, hcaScale: c.hcaTemperature }),
    };
  },

  encode: ({ frame }, batch) => frame.encode(batch),

  loss: ({ frame, heads }, encoded, c) =>
    (c.loss === "paper" ? paperLoss : calaLoss)({
      matching: frame.logits(encoded),
      tac: c.tacWeight > 0 ? heads.tac(encoded) : undefined,
      hca: c.hcaWeight > 0 ? heads.hca(encoded) : undefined,
    }, c),

  optimizer: ({ frame, heads }, c) => releasedOptimizer([...frame.paramGroups, ...heads.paramGroups], c),
});
