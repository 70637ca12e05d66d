import assert from "node:assert/strict";
import { ConfigError, DataError } from "../../lib/core/errors.ts";
import {
  encodeTexts,
  filledBatches,
  queryBatches,
  TrainLoader,
  type TrainOptions,
} from "../../lib/data/loader.ts";
import type { Triplet } from "../../lib/data/triplet.ts";
import { fashionIqTrainCaption } from "../../lib/text/captions.ts";

/** Reads a text of n words as n ids. */
const tokenizer = {
  size: 100,
  encode: (
    text: string,
    maxLength: number,
  ) => [2, ...text.split(" ").map((w) => 4 + w.length).slice(0, maxLength - 2), 3],
};
const TRIPLETS: Triplet[] = Array.from({ length: 23 }, (_, i) => ({
  reference: i,
  target: 100 + i,
  captions: ["word ".repeat(i % 5 + 1).trim(), "other"],
}));
const OPTIONS: TrainOptions = { batchSize: 5, seed: 7, tokenizer, bucketLengths: [5, 8], maxShift: 2 };

Deno.test("TrainLoader.batchAt() is a function of (seed, step), whatever was asked before", () => {
  const walked = new TrainLoader(TRIPLETS, OPTIONS);
  const batches = Array.from({ length: 13 }, (_, step) => walked.batchAt(step));
  for (const step of [12, 3, 0, 9]) {
    assert.deepEqual(new TrainLoader(TRIPLETS, OPTIONS).batchAt(step), batches[step]);
  }
  assert.deepEqual(walked.batchAt(2), batches[2]);
  const other = new TrainLoader(TRIPLETS, { ...OPTIONS, seed: 8 }).batchAt(0);
  assert.notDeepEqual(other.references, batches[0].references);
});

Deno.test("TrainLoader shuffles each epoch anew, uses each triplet once and drops the incomplete batch", () => {
  const loader = new TrainLoader(TRIPLETS, OPTIONS);
  assert.equal(loader.stepsPerEpoch, 4);
  assert.deepEqual(loader.stateAt(9), { epoch: 2, index: 1 });
  const epoch = (e: number) => [0, 1, 2, 3].flatMap((i) => [...loader.batchAt(4 * e + i).references]);
  for (const e of [0, 1]) assert.equal(new Set(epoch(e)).size, 20);
  assert.notDeepEqual(epoch(0), epoch(1));
});

Deno.test("TrainLoader keeps references, targets and captions together", () => {
  const { references, targets, captions } = new TrainLoader(TRIPLETS, OPTIONS).batchAt(3);
  for (const [b, reference] of references.entries()) {
    assert.equal(targets[b], 100 + reference);
    assert.equal(captions[b], TRIPLETS[reference].captions[0]);
  }
});

Deno.test("TrainLoader draws one shift for the references and one for the targets, each up to maxShift", () => {
  const loader = new TrainLoader(TRIPLETS, OPTIONS);
  const seen = new Set<number>();
  for (let step = 0; step < 60; step++) {
    const { reference, target } = loader.batchAt(step).shifts;
    for (const offset of [reference.x, reference.y, target.x, target.y]) seen.add(offset);
  }
  assert.deepEqual([...seen].sort((a, b) => a - b), [-2, -1, 0, 1, 2]);
  assert.deepEqual(new TrainLoader(TRIPLETS, { ...OPTIONS, maxShift: 0 }).batchAt(0).shifts, {
    reference: { x: 0, y: 0 },
    target: { x: 0, y: 0 },
  });
});

Deno.test("TrainLoader draws the caption by (seed, epoch, triplet), whatever the batch size", () => {
  const textsOf = (batchSize: number, epoch: number) => {
    const loader = new TrainLoader(TRIPLETS, { ...OPTIONS, batchSize, caption: fashionIqTrainCaption });
    const texts = new Map<number, string>();
    for (let i = 0; i < loader.stepsPerEpoch; i++) {
      const { references, captions } = loader.batchAt(epoch * loader.stepsPerEpoch + i);
      references.forEach((reference, b) => texts.set(reference, captions[b]));
    }
    return [...texts].sort(([a], [b]) => a - b);
  };
  assert.equal(textsOf(23, 3).length, 23);
  assert.deepEqual(textsOf(1, 3), textsOf(23, 3));
  assert.notDeepEqual(textsOf(1, 4), textsOf(1, 3));
});

Deno.test("TrainLoader draws the caption of two-caption triplets at each epoch, in all four ways", () => {
  const one: Triplet[] = [{ reference: 0, target: 1, captions: ["red.", "blue."] }];
  const loader = new TrainLoader(one, { ...OPTIONS, batchSize: 1, caption: fashionIqTrainCaption });
  const texts = Array.from({ length: 40 }, (_, step) => loader.batchAt(step).captions[0]);
  assert.deepEqual([...new Set(texts)].sort(), ["Blue", "Blue and red", "Red", "Red and blue"]);
});

Deno.test("TrainLoader refuses what it cannot do", () => {
  assert.throws(() => new TrainLoader(TRIPLETS, { ...OPTIONS, batchSize: 24 }), ConfigError);
  assert.throws(() => new TrainLoader(TRIPLETS, { ...OPTIONS, bucketLengths: [8, 5] }), ConfigError);
  assert.throws(() => new TrainLoader(TRIPLETS, { ...OPTIONS, maxShift: 0.5 }), ConfigError);
  assert.throws(() => new TrainLoader(TRIPLETS, OPTIONS).batchAt(-1), ConfigError);
  const secret = TRIPLETS.map((triplet) => ({ ...triplet, target: null }));
  assert.throws(() => new TrainLoader(secret, OPTIONS).batchAt(0), DataError);
});

Deno.test("encodeTexts() pads to the shortest bucket that holds the longest text, and cuts to the last", () => {
  const short = encodeTexts(["a bb", "a"], { tokenizer, bucketLengths: [5, 8] });
  assert.deepEqual([short.length, short.paddedLength], [4, 5]);
  assert.deepEqual([...short.inputIds], [2, 5, 6, 3, 0, 2, 5, 3, 0, 0]);
  assert.deepEqual([...short.attentionMask], [1, 1, 1, 1, 0, 1, 1, 1, 0, 0]);
  const long = encodeTexts(["a ".repeat(20).trim()], { tokenizer, bucketLengths: [5, 8] });
  assert.deepEqual([long.length, long.paddedLength, long.inputIds[7]], [8, 8, 3]);
});

Deno.test("queryBatches() and filledBatches() fill up the last batch and say how much of it counts", () => {
  const batches = [...queryBatches(TRIPLETS, { batchSize: 10, tokenizer, bucketLengths: [8] })];
  assert.deepEqual(batches.map(({ rows }) => rows), [10, 10, 3]);
  assert.deepEqual([...batches[2].references], [20, 21, 22, 22, 22, 22, 22, 22, 22, 22]);
  assert.equal(batches[2].inputIds.length, 80);
  assert.deepEqual([...filledBatches([], 4)], []);
  assert.throws(() => [...filledBatches([1], 0)], ConfigError);
});
