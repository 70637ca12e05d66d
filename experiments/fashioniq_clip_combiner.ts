/**
 * FashionIQ, CLIP RN50x4, Combiner.
 *
 * Paper   CaLa (SIGIR 2024): its row for this backbone could not be read, so none is given
 * Run     deno task train fashioniq_clip_sum, then deno task train fashioniq_clip_combiner --first-stage runs/fashioniq_clip_sum/NAME
 * Needs   a feature store of FashionIQ (deno task features) and RN50x4.pt; without them it says how
 * Time    not measured
 * Result  not measured: the pictures are licence-gated
 *
 * The second stage: a small network over stored features, of images and of texts; the latter are computed once, first.
 * It has no CaLa of its own: the text encoder comes from a first stage with it, or without, which `--baseline` demands;
 * without `--first-stage` it is the published one.
 */
import {
  checkEmbedsDim,
  clipFrom,
  combinerFlags,
  combinerFrame,
  combinerOptimizer,
  crossEntropy,
  experiment,
  openCombinerData,
  openReleasedWeights,
} from "../mod.ts";

export default experiment(import.meta, combinerFlags("fashioniq"), {
  data: (run, c) => openCombinerData(run, c),

  model: async (run, c, data) => {
    using weights = await openReleasedWeights(run, c, data);
    const encoders = await clipFrom(weights);
    checkEmbedsDim(c, encoders.embedDim);
    const { seed, projectionDim, hiddenDim, matchingTemperature: matchScale } = c;
    return { frame: combinerFrame(encoders, { seed, projectionDim, hiddenDim, matchScale }) };
  },

  encode: ({ frame }, batch) => frame.encode(batch),

  loss: ({ frame }, encoded) => ({ loss: crossEntropy(frame.logits(encoded)) }),

  optimizer: ({ frame }, c) => combinerOptimizer(frame.paramGroups, c),
});
