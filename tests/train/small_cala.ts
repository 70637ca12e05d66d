/** CaLa on a BLIP-2 of a few thousand parameters, over random features: what the ways to save memory are tested on. */
import { calaHeads } from "../../lib/cala/heads.ts";
import { calaLoss } from "../../lib/cala/loss.ts";
import { artemisFrame } from "../../lib/cala/frames/artemis.ts";
import { sumFrame } from "../../lib/cala/frames/sum.ts";
import { flag } from "../../lib/core/flags.ts";
import { Random } from "../../lib/core/random.ts";
import type { ImageSource } from "../../lib/data/image_source.ts";
import type { Dataset } from "../../lib/data/triplet.ts";
import { Blip2 } from "../../lib/models/blip2.ts";
import { normalLinear } from "../../lib/nn/init.ts";
import { experiment } from "../../lib/train/experiment.ts";
import { AdamW } from "../../lib/train/optimizer.ts";
import { warmupCosine } from "../../lib/train/rate.ts";

const D = 12, TOKENS = 5, WIDTH = 8, VOCABULARY = 17, IMAGES = 20;

function smallData(seed: number) {
  const random = new Random(seed, "features"), size = TOKENS * WIDTH, features = random.normal(IMAGES * size);
  const triplets = Array.from({ length: 16 }, (_, i) => ({
    reference: i,
    target: (i * 7 + 3) % IMAGES,
    captions: [Array.from({ length: 1 + i % 4 }, (_, k) => `w${(5 * i + k) % 9}`).join(" ")],
  }));
  const split = { triplets, gallery: Array.from({ length: IMAGES }, (_, i) => i) };
  const dataset: Dataset = {
    name: "small",
    images: Array.from({ length: IMAGES }, (_, i) => ({ name: `p${i}` })),
    splits: { train: split, val: split, test: split },
    hash: `small ${seed}`,
  };
  const images: ImageSource = {
    fields: { tokens: { shape: [TOKENS, WIDTH], dtype: "f32" } },
    count: IMAGES,
    read(ids, into) {
      for (let i = 0; i < ids.length; i++) {
        into.tokens.set(features.subarray(ids[i] * size, (ids[i] + 1) * size), i * size);
      }
    },
  };
  const tokenizer = {
    size: VOCABULARY,
    encode: (text: string, maxLength: number) =>
      [1, ...text.split(" ").map((w) => 4 + Number(w[1])), 2].slice(0, maxLength),
  };
  return { dataset, images, text: { tokenizer, bucketLengths: [4, 7] } };
}

const config = {
  seed: flag(1, "seed", { integer: true, min: 0 }),
  steps: flag(4, "optimiser steps", { integer: true, min: 1 }),
  batchSize: flag(8, "triplets a step", { integer: true, min: 1 }),
  tacWeight: flag(0.45, "share of TAC", { min: 0, max: 1 }),
  hcaWeight: flag(0.1, "share of HCA", { min: 0, max: 1 }),
  frame: flag("sum", "frame", { choices: ["sum", "artemis"] }),
  train: flag("both", "encoders", { choices: ["both", "multi"] }),
};

export default experiment(import.meta, config, {
  data: (_, c) => smallData(c.seed),
  model(_, c) {
    const encoders = new Blip2({
      config: {
        hiddenSize: D,
        numLayers: 3,
        numHeads: 3,
        intermediateSize: 20,
        numQueryTokens: 4,
        crossAttentionFreq: 2,
        encoderWidth: WIDTH,
        vocabSize: VOCABULARY,
        maxPositions: 9,
        layerNormEps: 1e-12,
        dropout: 0.1,
      },
      train: c.train,
      hasRawTokens: true,
      seed: c.seed,
      init: { linear: normalLinear(0.3), wordStd: 0.5, positionStd: 0.3, queryStd: 0.5 },
    });
    const options = { tac: c.tacWeight > 0, hca: c.hcaWeight > 0, matchScale: 10 };
    return {
      frame: c.frame === "sum"
        ? sumFrame(encoders, options)
        : artemisFrame(encoders, { ...options, seed: 2 }),
      heads: calaHeads({ embedDim: D, seed: c.seed, tacScale: 1, hcaScale: 1 }),
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
      { params: frame.groups.scheduled, lr: 1e-3, isScheduled: true },
      { params: frame.groups.constant, lr: 1e-3, isScheduled: false },
      { params: [...heads.params.values()], lr: 2e-3, isScheduled: false },
    ]),
    schedule: warmupCosine({ warmup: 1, steps: c.steps }),
  }),
});
