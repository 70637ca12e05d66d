/** A tiny experiment over data in memory: seconds on any adapter. It has all that a resume must restore: dropout, moments, buckets. */
import { flag } from "../../lib/core/flags.ts";
import { Random } from "../../lib/core/random.ts";
import type { ImageSource } from "../../lib/data/image_source.ts";
import type { Dataset, Triplet } from "../../lib/data/triplet.ts";
import { sha256Hex } from "../../lib/io/atomic.ts";
import { Embedding } from "../../lib/nn/embedding.ts";
import type { Embeddings, Frame, ImageBatch, TextBatch } from "../../lib/nn/frame.ts";
import { Linear } from "../../lib/nn/linear.ts";
import { named } from "../../lib/nn/module.ts";
import { crossEntropy } from "../../lib/ops/cross_entropy.ts";
import { dropout } from "../../lib/ops/dropout.ts";
import { add, mul } from "../../lib/ops/elementwise.ts";
import { l2Normalize } from "../../lib/ops/l2_normalize.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { reshape } from "../../lib/ops/movement.ts";
import { sum } from "../../lib/ops/reduce.ts";
import type { Tensor } from "../../lib/tensor/tensor.ts";
import { experiment } from "../../lib/train/experiment.ts";
import { AdamW } from "../../lib/train/optimizer.ts";
import { warmupCosine } from "../../lib/train/rate.ts";

const D = 8, FEATURES = 6, VOCABULARY = 8;

/** Pictures are points; a caption moves one by a fixed direction. */
function toyData(seed: number) {
  const random = new Random(seed, "toy"), count = 24;
  const points = random.normal(count * FEATURES);
  const triplet = (i: number): Triplet => ({
    reference: i % count,
    target: (i * 5 + 1) % count,
    captions: [Array.from({ length: 1 + i % 4 }, (_, k) => `w${(i + k) % 5}`).join(" ")],
    group: [0, 1, 2, 3].map((k) => (i * 5 + 1 + k * 7) % count),
  });
  const split = (from: number, n: number) => ({
    triplets: Array.from({ length: n }, (_, i) => triplet(from + i)).filter((t) => t.reference !== t.target),
    gallery: Array.from({ length: count }, (_, i) => i),
  });
  const splits = { train: split(0, 20), val: split(3, 9), test: split(11, 7) };
  const dataset: Dataset = {
    name: "toy",
    images: Array.from({ length: count }, (_, i) => ({ name: `p${i}` })),
    splits,
    hash: sha256Hex(JSON.stringify([[...points], splits])),
  };
  const images: ImageSource = {
    fields: { point: { shape: [FEATURES], dtype: "f32" } },
    count,
    read(ids, into) {
      for (let i = 0; i < ids.length; i++) {
        into.point.set(points.subarray(ids[i] * FEATURES, (ids[i] + 1) * FEATURES), i * FEATURES);
      }
    },
  };
  const tokenizer = {
    size: VOCABULARY,
    encode: (text: string, maxLength: number) =>
      [1, ...text.split(" ").map((w) => 2 + Number(w[1]))].slice(0, maxLength),
  };
  return { dataset, images, text: { tokenizer, bucketLengths: [4, 5] } };
}

class Encoder {
  readonly image: Linear;
  readonly words: Embedding;
  readonly text: Linear;
  /** In the checkpoint, in no loss: never trained. */
  readonly unused: Linear;
  constructor(random: Random) {
    this.image = new Linear(FEATURES, D, { random });
    this.words = new Embedding(VOCABULARY, D, { random });
    this.text = new Linear(D, D, { random });
    this.unused = new Linear(D, 1, { random });
  }
  encodeImage({ point }: ImageBatch): Tensor {
    return this.image.forward(point);
  }
  encodeText({ inputIds, attentionMask }: TextBatch): Tensor {
    const [B, L] = inputIds.shape;
    const words = mul(this.words.forward(inputIds), reshape(attentionMask, [B, L, 1]));
    return this.text.forward(sum(words, { axis: 1 }));
  }
}

const cosines = (q: Tensor, g: Tensor) => matmul(l2Normalize(q), l2Normalize(g), { transposeB: true });

function toyFrame(encoder: Encoder, drop: number): Frame {
  const params = named({ toy: encoder });
  const compose = (image: Tensor, text: Tensor) => add(dropout(image, drop), text);
  const scores = ({ query }: Embeddings, { image }: Embeddings) => cosines(query, image);
  return {
    params,
    groups: { scheduled: [...params.values()], constant: [] },
    encode: (batch) => ({
      query: compose(encoder.encodeImage(batch.reference), encoder.encodeText(batch)),
      image: encoder.encodeImage(batch.target),
    }),
    logits: ({ query, image }) =>
      matmul(l2Normalize(query), l2Normalize(image), { transposeB: true, scale: 10 }),
    encodeGallery: (image) => ({ image: encoder.encodeImage(image) }),
    queries: {
      composed: {
        encode: (b) => ({ query: compose(encoder.encodeImage(b.reference), encoder.encodeText(b)) }),
        scores,
      },
      image: { encode: (b) => ({ query: encoder.encodeImage(b.reference) }), scores },
      text: { encode: (b) => ({ query: encoder.encodeText(b) }), scores },
    },
  };
}

const config = {
  seed: flag(1, "seed", { integer: true, min: 0 }),
  steps: flag(12, "optimiser steps", { integer: true, min: 1 }),
  batchSize: flag(4, "triplets a step", { integer: true, min: 1 }),
  lr: flag(0.02, "learning rate"),
  drop: flag(0.2, "dropout", { min: 0, max: 0.9 }),
  evalEvery: flag(5, "steps between validations", { integer: true, min: 0 }),
};

export default experiment(import.meta, config, {
  data: (_, c) => toyData(c.seed),
  model: (_, c) => ({ frame: toyFrame(new Encoder(new Random(c.seed, "encoder")), c.drop) }),
  encode: ({ frame }, batch) => frame.encode(batch),
  loss({ frame }, encoded) {
    const matching = crossEntropy(frame.logits(encoded));
    return { loss: matching, matching };
  },
  optimizer: ({ frame }, c) => ({
    adamw: new AdamW([{ params: frame.groups.scheduled, lr: c.lr, isScheduled: true }], {
      weightDecay: 0.05,
    }),
    schedule: warmupCosine({ warmup: 3, steps: c.steps }),
  }),
});
