import assert from "node:assert/strict";
import { DataError, ShapeError } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import { NO_RANK, subsetRanks, targetRanks, topK } from "../../lib/metrics/ranking.ts";

/** Queries with scores of few distinct values, so that ties are the rule; every second one leaves an image out. */
function randomCase(seed: number) {
  const random = new Random(seed, "ranking test");
  const Q = 1 + random.nextInt(6), gallerySize = 3 + random.nextInt(30), values = 1 + random.nextInt(12);
  const scores = Float32Array.from({ length: Q * gallerySize }, () => (random.nextInt(values) - 3) / 7);
  const special = [Infinity, -Infinity, -0, 0, 1e-45];
  for (let i = 0; i < 5; i++) scores[random.nextInt(scores.length)] = special[i];
  const lists = Array.from({ length: Q }, (_, q) => {
    const [target, reference, ...others] = random.permutation(gallerySize);
    const group = [target, reference, ...others.slice(0, 4)].sort((a, b) => a - b);
    return { target, exclude: q % 2 ? reference : -1, group };
  });
  return {
    Q,
    scores,
    gallerySize,
    targets: lists.map((l) => l.target),
    exclude: lists.map((l) => l.exclude),
    members: lists.map((l) => l.group),
  };
}

/** The whole ranking of one row by a stable sort. */
function naiveRanking(row: Float32Array, exclude: number): number[] {
  return [...row.keys()].filter((g) => g !== exclude).sort((a, b) => {
    if (row[a] !== row[b]) return row[b] > row[a] ? 1 : -1;
    return a - b;
  });
}

Deno.test("targetRanks(), subsetRanks() and topK() agree with a sort, with ties and left-out references", () => {
  for (let seed = 0; seed < 300; seed++) {
    const { Q, scores, ...c } = randomCase(seed);
    const naive = Array.from(
      { length: Q },
      (_, q) => naiveRanking(scores.subarray(q * c.gallerySize, (q + 1) * c.gallerySize), c.exclude[q]),
    );
    const ranks = targetRanks(scores, c);
    assert.deepEqual([...ranks], naive.map((ranking, q) => ranking.indexOf(c.targets[q])), `seed ${seed}`);
    assert.deepEqual(
      [...subsetRanks(scores, c)],
      naive.map((ranking, q) => ranking.filter((g) => c.members[q].includes(g)).indexOf(c.targets[q])),
      `seed ${seed}`,
    );
    for (const k of [0, 1, 2, 1 + seed % (c.gallerySize - 1), c.gallerySize - 1]) {
      assert.deepEqual(
        [...topK(scores, k, c)],
        naive.flatMap((ranking) => ranking.slice(0, k)),
        `seed ${seed}, k ${k}`,
      );
    }
  }
});

Deno.test("blocks of rows give the ranks of the whole", () => {
  for (let seed = 0; seed < 50; seed++) {
    const { Q, scores, ...c } = randomCase(seed);
    const block = (firstQuery: number, rows: number) => ({
      scores: scores.subarray(firstQuery * c.gallerySize, (firstQuery + rows) * c.gallerySize),
      options: { ...c, firstQuery },
    });
    const ranks: number[] = [], subset: number[] = [], best: number[] = [];
    for (let first = 0; first < Q; first += 2) {
      const { scores, options } = block(first, Math.min(2, Q - first));
      ranks.push(...targetRanks(scores, options));
      subset.push(...subsetRanks(scores, options));
      best.push(...topK(scores, 2, options));
    }
    assert.deepEqual(ranks, [...targetRanks(scores, c)]);
    assert.deepEqual(subset, [...subsetRanks(scores, c)]);
    assert.deepEqual(best, [...topK(scores, 2, c)]);
  }
});

Deno.test("topK() with the whole gallery is the whole ranking", () => {
  const scores = new Float32Array([3, 1, 2, 3, 0]);
  assert.deepEqual([...topK(scores, 5, { gallerySize: 5 })], [0, 3, 2, 1, 4]);
  assert.throws(() => topK(scores, 5, { gallerySize: 5, exclude: [0] }), /query 0: the first 5 of 4 images/);
});

Deno.test("subsetRanks() leaves out queries without a group", () => {
  const scores = new Float32Array([3, 1, 2, 3, 1, 2]);
  const options = { gallerySize: 3, targets: [1, 1], members: [undefined, [1, 2]] };
  assert.deepEqual([...subsetRanks(scores, options)], [NO_RANK, 1]);
});

const scores = new Float32Array([3, 1, 2, 3, 1, 2]);
const withNaN = Float32Array.of(3, 1, 2, 3, NaN, 2);
const wrong: Record<string, [() => unknown, typeof DataError | typeof ShapeError, RegExp]> = {
  "a NaN score": [
    () => targetRanks(withNaN, { gallerySize: 3, targets: [0, 0, 0, 0], firstQuery: 2 }),
    DataError,
    /query 3: its score of gallery image 1 is NaN/,
  ],
  "a NaN score of the left-out image": [
    () => targetRanks(withNaN, { gallerySize: 3, targets: [0, 0], exclude: [-1, 1] }),
    DataError,
    /query 1: .* NaN/,
  ],
  "a NaN score in topK": [() => topK(withNaN, 1, { gallerySize: 3 }), DataError, /query 1/],
  "a target that is left out": [
    () => targetRanks(scores, { gallerySize: 3, targets: [0, 2], exclude: [1, 2] }),
    DataError,
    /query 1: target 2 is also the reference/,
  ],
  "a target outside the gallery": [
    () => targetRanks(scores, { gallerySize: 3, targets: [0, 3] }),
    DataError,
    /query 1: target 3/,
  ],
  "a target that is no index": [
    () => targetRanks(scores, { gallerySize: 3, targets: [0, 0.5] }),
    DataError,
    /target 0.5/,
  ],
  "a left-out image outside the gallery": [
    () => targetRanks(scores, { gallerySize: 3, targets: [0, 0], exclude: [-2, 0] }),
    DataError,
    /query 0: left-out image -2/,
  ],
  "too few targets": [
    () => targetRanks(scores, { gallerySize: 3, targets: [0] }),
    ShapeError,
    /targets: 1 entries for 2/,
  ],
  "too few left-out images": [
    () => targetRanks(scores, { gallerySize: 3, targets: [0, 0], exclude: [1] }),
    ShapeError,
    /exclude: 1 entries for 2/,
  ],
  "scores that are not whole rows": [
    () => targetRanks(scores, { gallerySize: 4, targets: [0, 0] }),
    ShapeError,
    /6 scores/,
  ],
  "an empty gallery": [
    () => targetRanks(scores, { gallerySize: 0, targets: [] }),
    ShapeError,
    /gallery of 0/,
  ],
  "a group without the target": [
    () => subsetRanks(scores, { gallerySize: 3, targets: [0, 0], members: [[0], [1, 2]] }),
    DataError,
    /query 1: target 0 is not in its group/,
  ],
  "a group that names an image twice": [
    () => subsetRanks(scores, { gallerySize: 3, targets: [0, 0], members: [[0, 1, 1], [0]] }),
    DataError,
    /query 0: group member 1 occurs twice/,
  ],
  "a group outside the gallery": [
    () => subsetRanks(scores, { gallerySize: 3, targets: [0, 0], members: [[0, 3], [0]] }),
    DataError,
    /query 0: group member 3/,
  ],
  "too few groups": [
    () => subsetRanks(scores, { gallerySize: 3, targets: [0, 0], members: [[0]] }),
    ShapeError,
    /members: 1/,
  ],
};

for (const [what, [call, type, message]] of Object.entries(wrong)) {
  Deno.test(`ranking refuses ${what}`, () => {
    assert.throws(call, (error) => error instanceof type && message.test(error.message));
  });
}
