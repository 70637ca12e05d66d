/**
 * CIRR, CLIP RN50x4, frame ARTEMIS.
 *
 * Paper   CaLa (SIGIR 2024): its row for this backbone could not be read, so none is given
 * Run     deno task train cirr_clip_artemis
 * Needs   a feature store of CIRR (deno task features) and RN50x4.pt; without them it says how
 * Time    not measured
 * Result  not measured: the pictures are licence-gated, and test1's targets are known to CIRR's server alone
 *
 * The text side is trained, the image side is the store's. `--baseline` trains without CaLa.
 */
import {
  artemisFrame,
  calaHeads,
  calaLoss,
  checkEmbedsDim,
  clipFlags,
  clipFrom,
  experiment,
  openReleasedData,
  openReleasedWeights,
  paperLoss,
  releasedOptimizer,
} from "../mod.ts";

export default experiment(import.meta, clipFlags("cirr", "artemis"), {
  data: (run, c) => openReleasedData(run, c),

  model: async (run, c, data) => {
    using weights = await openReleasedWeights(run, c, data);
    const encoders = await clipFrom(weights, { masksCaptionPadding: c.maskCaptionPadding });
    const { embedDim } = encoders, tac = c.tacWeight > 0, hca = c.hcaWeight > 0;
    checkEmbedsDim(c, embedDim);
    return {
      frame: artemisFrame(encoders, { tac, hca, seed: c.seed, matchScale: c.artemisTemperature }),
      heads: calaHeads({
        embedDim,
        featureDim: data.images.fields.map.shape[0], // channels
        seed: c.seed,
        tacScale: c.tacTemperature,
        hcaScale: c.hcaTemperature,
        hasSpatialTokens: c.spatialTokens,
        hasLearnedToken: c.learnedClassToken,
      }),
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
