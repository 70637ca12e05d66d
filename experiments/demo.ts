/**
 * The demo: CaLa in small, trained from scratch on emoji pictures. No download beyond npm, no dataset to ask for.
 *
 * Paper   none: the method of CaLa (SIGIR 2024) on a data set of our own
 * Run     deno task train
 * Needs   the npm packages at the first run, which renders the pictures; later Deno alone
 * Time    2 min 7 s from an existing cache, on two cores without a GPU (llvmpipe of Mesa 25.0.7)
 * Result  R@10 58.45 on val, 50.19 on test (seed 42, 24 November 2026); the whole table: docs/results.md
 *
 * What differs from the released training: three one-layer Q-Formers of width 64 and a small trained stem instead of
 * BLIP-2; the scales of TAC's and HCA's logits are 1 instead of 10, which from scratch swamp the matching; one learning
 * rate for all parameters, 50 steps of warm-up, then a cosine to 0 over all steps.
 */
import {
  AdamW,
  artemisFrame,
  Blip2,
  calaHeads,
  calaLoss,
  experiment,
  flag,
  openDemo,
  Random,
  Stem,
  sumFrame,
  warmupCosine,
  xavierNormalLinear,
} from "../mod.ts";

const config = {
  seed: flag(42, "seed of every random number", { integer: true, min: 0 }),
  steps: flag(1000, "optimiser steps", { integer: true, min: 1 }),
  batchSize: flag(128, "triplets a step; the other targets of the batch are the negatives", {
    integer: true,
    min: 2,
  }),
  lr: flag(2e-3, "learning rate of all parameters", { min: 0 }),
  warmup: flag(50, "steps over which the learning rate rises", { integer: true, min: 0 }),
  weightDecay: flag(0.05, "AdamW's decoupled weight decay", { min: 0 }),
  tacWeight: flag(0.45, "share of the TAC logits in the contrastive logits; 0 is the baseline", {
    min: 0,
    max: 1,
  }),
  hcaWeight: flag(0.1, "share of the HCA loss; 0 is the baseline", { min: 0, max: 1 }),
  matchScale: flag(100, "factor on the matching scores"),
  tacScale: flag(1, "factor on TAC's scores; released 10"),
  hcaScale: flag(1, "factor on HCA's scores; released 10"),
  frame: flag("sum", "how image and text become a query", { choices: ["sum", "artemis"] }),
  size: flag(32, "side of the pictures in pixels", { choices: [32, 64] }),
  shift: flag(2, "pictures are moved by up to so many pixels", { integer: true, min: 0, max: 16 }),
  trainTriplets: flag(20_000, "use at most so many of the training triplets", { integer: true, min: 1 }),
  evalEvery: flag(250, "steps between validations; 0: at the end only", { integer: true, min: 0 }),
};

export default experiment(import.meta, config, {
  data: async (run, c) => {
    const onProgress = (p: { what: string; done: number; total: number }) =>
      run.progress(`${p.what} ${p.done}/${p.total}`);
    const { dataset, images } = await openDemo({
      cacheDir: run.cacheDir,
      size: c.size,
      trainTriplets: c.trainTriplets,
      onProgress,
    });
    return {
      dataset,
      images,
      text: { tokenizer: dataset.vocabulary, bucketLengths: [10] },
      maxShift: c.shift,
    };
  },

  model: (_, c, { dataset }) => {
    const stem = new Stem({ size: c.size, patchWidth: 32, width: 64, random: new Random(c.seed, "stem") });
    const encoders = new Blip2({
      config: {
        hiddenSize: 64,
        numLayers: 1,
        numHeads: 4,
        intermediateSize: 128,
        numQueryTokens: 4,
        crossAttentionFreq: 1,
        encoderWidth: 64,
        vocabSize: dataset.vocabulary.size,
        maxPositions: 10,
        layerNormEps: 1e-5,
        dropout: 0,
        hasLnVision: false, // the stem's last step
      },
      stem,
      seed: c.seed,
      init: { linear: xavierNormalLinear, wordStd: 0.5, positionStd: 0.1, queryStd: 0.5 },
    });
    const options = { matchScale: c.matchScale, tac: c.tacWeight > 0, hca: c.hcaWeight > 0 };
    return {
      frame: c.frame === "sum"
        ? sumFrame(encoders, options)
        : artemisFrame(encoders, { ...options, seed: c.seed }),
      heads: calaHeads({ embedDim: 64, seed: c.seed, tacScale: c.tacScale, hcaScale: c.hcaScale }), // training only
    };
  },

  encode: ({ frame }, batch) => frame.encode(batch),

  loss: ({ frame, heads }, encoded, c) =>
    calaLoss({
      matching: frame.logits(encoded),
      tac: c.tacWeight > 0 ? heads.tac(encoded) : undefined,
      hca: c.hcaWeight > 0 ? heads.hca(encoded) : undefined,
    }, c),

  optimizer: ({ frame, heads }, c) => ({
    adamw: new AdamW([
      { params: [...frame.params.values(), ...heads.params.values()], lr: c.lr, isScheduled: true },
    ], { weightDecay: c.weightDecay }),
    schedule: warmupCosine({ warmup: c.warmup, steps: c.steps }),
  }),
});
