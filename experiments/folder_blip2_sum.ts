/**
 * Your own pictures and triplets, BLIP-2, frame sum.
 *
 * Paper   none: the method of CaLa (SIGIR 2024) on a data set of your own
 * Run     deno task train folder_blip2_sum
 * Needs   a feature store of a folder with triplets.json (deno task features) and blip2_pretrained_vitL.pth; without them it says how
 * Time    not measured
 * Result  none
 *
 * `--baseline` trains without CaLa. Where queries have groups or categories, `--best-by` takes their metrics too.
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

export default experiment(import.meta, blip2Flags("folder", "sum"), {
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
