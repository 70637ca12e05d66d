import assert from "node:assert/strict";
import { ConfigError, DataError } from "../../lib/core/errors.ts";
import { readSafetensors, type SafetensorsFile, tensorOf } from "../../lib/io/safetensors.ts";
import { NO_RANK, subsetRanks, targetRanks, topK } from "../../lib/metrics/ranking.ts";
import {
  CIRR_CRITERION,
  cirrMetrics,
  FASHION_IQ_CRITERION,
  fashionIqMetrics,
  hitsAt,
  recallAt,
  retrievalMetrics,
} from "../../lib/metrics/recall.ts";

interface RecallConfig {
  index_names: string[];
  target_names: string[];
  reference_names: string[];
  group_members: string[][];
  ranked_names_top50: Record<string, string[]>;
  ranked_group_names: Record<string, string[]>;
  metric_names: string[];
  metrics: Record<string, number>;
}

const open = (name: string) =>
  readSafetensors(new URL(`../oracle/${name}.safetensors`, import.meta.url).pathname);
const configOf = (file: SafetensorsFile): RecallConfig => JSON.parse(file.metadata.config);

/** Cosine scores `[Q, G]` from un-normalised features, as the released code computes them; sums in f64. */
function cosineScores(file: SafetensorsFile): Float32Array {
  const unit = (key: string): number[][] => {
    const { shape: [rows, D], data } = tensorOf(file, key, "F32");
    return Array.from({ length: rows }, (_, r) => {
      const row = [...data.subarray(r * D, (r + 1) * D)], norm = Math.max(Math.hypot(...row), 1e-12);
      return row.map((v) => v / norm);
    });
  };
  const gallery = unit("in.index_features");
  return Float32Array.from(
    unit("in.predicted_features").flatMap((query) =>
      gallery.map((image) => image.reduce((sum, v, d) => sum + v * query[d], 0))
    ),
  );
}

for (const name of ["recall_fiq_200", "recall_cirr_120"]) {
  Deno.test(`${name}: scores and the whole ranking agree with PyTorch`, async () => {
    const file = await open(name), config = configOf(file);
    const { shape: [Q, G], data: distances } = tensorOf(file, "out.distances", "F32");
    const { data: ranking } = tensorOf(file, "out.ranking", "I32");
    const scores = cosineScores(file), { atol } = JSON.parse(file.metadata.tolerances)["out.distances"];
    const worst = Math.max(...scores.map((score, i) => Math.abs(1 - score - distances[i])));
    assert.ok(worst <= atol, `distances differ by ${worst}, allowed ${atol}`);
    assert.equal(scores.length, Q * G);
    assert.deepEqual(topK(scores, G, { gallerySize: G }), Uint32Array.from(ranking));

    const targets = config.target_names.map((target) => config.index_names.indexOf(target));
    const ranks = targetRanks(scores, { gallerySize: G, targets });
    assert.deepEqual(
      [...ranks],
      targets.map((target, q) => ranking.subarray(q * G, (q + 1) * G).indexOf(target)),
    );
  });
}

/** Compares with the case's metrics: names, order, values within its tolerance. */
function checkMetrics(file: SafetensorsFile, got: [string, number][]): void {
  const { metric_names, metrics } = configOf(file);
  const { atol } = JSON.parse(file.metadata.tolerances)["out.metrics"];
  assert.deepEqual(got.map(([name]) => name), metric_names);
  const { data } = tensorOf(file, "out.metrics", "F32");
  got.forEach(([name, value], i) => {
    assert.ok(Math.abs(value - metrics[name]) <= atol, `${name}: ${value}, expected ${metrics[name]}`);
    assert.ok(Math.abs(value - data[i]) <= atol, `${name}: ${value}, expected ${data[i]}`);
  });
}

Deno.test("recall_cirr_120: metrics, names without the reference, and group names agree with the released code", async () => {
  const file = await open("recall_cirr_120"), config = configOf(file);
  const indexOf = (name: string) => config.index_names.indexOf(name);
  const scores = cosineScores(file);
  const options = {
    gallerySize: config.index_names.length,
    targets: config.target_names.map(indexOf),
    exclude: config.reference_names.map(indexOf),
    members: config.group_members.map((group) => group.map(indexOf)),
  };
  const subset = subsetRanks(scores, options);
  checkMetrics(file, Object.entries(cirrMetrics(targetRanks(scores, options), subset)));

  const best = topK(scores, 50, options);
  for (const [query, names] of Object.entries(config.ranked_names_top50)) {
    const got = [...best.subarray(50 * Number(query), 50 * Number(query) + names.length)];
    assert.deepEqual(got.map((g) => config.index_names[g]), names, `query ${query}`);
  }
  for (const [query, names] of Object.entries(config.ranked_group_names)) {
    assert.equal(names[subset[Number(query)]], config.target_names[Number(query)], `query ${query}`);
  }
});

Deno.test("recall_fiq_200: metrics and the first 50 names agree with the released code", async () => {
  const file = await open("recall_fiq_200"), config = configOf(file);
  const gallerySize = config.index_names.length, scores = cosineScores(file);
  const ranks = targetRanks(scores, {
    gallerySize,
    targets: config.target_names.map((n) => config.index_names.indexOf(n)),
  });
  const metrics = fashionIqMetrics({ dress: ranks, toptee: ranks, shirt: ranks });
  checkMetrics(file, [["recall_at10", metrics.dress_recall_at10], [
    "recall_at50",
    metrics.dress_recall_at50,
  ]]);
  const best = topK(scores, 50, { gallerySize });
  for (const [query, names] of Object.entries(config.ranked_names_top50)) {
    const got = [...best.subarray(50 * Number(query), 50 * Number(query) + 50)];
    assert.deepEqual(got.map((g) => config.index_names[g]), names, `query ${query}`);
  }
});

Deno.test("recallAt() counts ranks below k", () => {
  assert.equal(recallAt([0, 3, 12, 1], 1), 25);
  assert.equal(recallAt([0, 3, 12, 1], 3), 50);
  assert.equal(recallAt([0, 3, 12, 1], 4), 75);
  assert.equal(recallAt(new Uint32Array([12]), 13), 100);
  for (const k of [0, -1, 1.5, NaN]) assert.throws(() => recallAt([0], k), ConfigError);
  assert.throws(() => recallAt([], 1), DataError);
  assert.throws(() => recallAt([0, NO_RANK], 1), /query 1 has no rank/);
  assert.deepEqual([...hitsAt([0, 3, 1], 2)], [100, 0, 100]);
});

Deno.test("retrievalMetrics() has the subset recalls of the queries with a group, and their number", () => {
  const ranks = [0, 4, 9, 49];
  assert.deepEqual(retrievalMetrics(ranks), { "R@1": 25, "R@5": 50, "R@10": 75, "R@50": 100, queries: 4 });
  const { "R_subset@1": one, "R_subset@2": two, "subset queries": count } = retrievalMetrics(ranks, [
    0,
    NO_RANK,
    1,
    NO_RANK,
  ]);
  assert.deepEqual([one, two, count], [50, 100, 2]);
  assert.deepEqual(retrievalMetrics(ranks, Array(4).fill(NO_RANK)), retrievalMetrics(ranks));
});

Deno.test("fashionIqMetrics() has the columns of the released CSV in order, and its averages", () => {
  const metrics = fashionIqMetrics({ dress: [0, 20, 60], toptee: [0, 1], shirt: [99, 40] });
  assert.deepEqual(
    Object.keys(metrics).join(", "),
    "dress_recall_at10, dress_recall_at50, toptee_recall_at10, toptee_recall_at50, shirt_recall_at10, " +
      "shirt_recall_at50, average_recall_at10, average_recall_at50, average_recall",
  );
  const third = 100 * Math.fround(1 / 3), twoThirds = 100 * Math.fround(2 / 3);
  assert.deepEqual(Object.values(metrics).slice(0, 6), [third, twoThirds, 100, 100, 0, 50]);
  assert.equal(metrics.average_recall_at10, (third + 100) / 3);
  assert.equal(metrics.average_recall, (metrics.average_recall_at10 + metrics.average_recall_at50) / 2);
  assert.ok(FASHION_IQ_CRITERION in metrics);
});

Deno.test("released recalls are 100 f32(hits / queries) for every count", () => {
  for (let Q = 1; Q <= 64; Q++) {
    for (let hits = 0; hits <= Q; hits++) {
      const ranks = Array.from({ length: Q }, (_, q) => q < hits ? 0 : 70);
      assert.equal(cirrMetrics(ranks, ranks).recall_at50, 100 * Math.fround(hits / Q));
    }
  }
});

Deno.test("cirrMetrics() has the columns of the released CSV in order, and means that are 0 where a recall is", () => {
  const metrics = cirrMetrics([0, 4, 9, 49], [0, 1, 2, 2]);
  assert.equal(
    Object.keys(metrics).join(", "),
    "group_recall_at1, group_recall_at2, group_recall_at3, recall_at1, recall_at5, recall_at10, recall_at50, " +
      "mean(R@5+R_s@1), arithmetic_mean, harmonic_mean, geometric_mean",
  );
  assert.deepEqual(Object.values(metrics).slice(0, 8), [25, 50, 100, 25, 50, 75, 100, 37.5]);
  assert.ok(Math.abs(metrics.arithmetic_mean - 425 / 7) < 1e-9);
  assert.ok(Math.abs(metrics.geometric_mean - (25 * 50 * 100 * 25 * 50 * 75 * 100) ** (1 / 7)) < 1e-9);
  assert.ok(Math.abs(metrics.harmonic_mean - 7 / (2 / 25 + 2 / 50 + 1 / 75 + 2 / 100)) < 1e-9);
  assert.ok(CIRR_CRITERION in metrics);
  const missed = cirrMetrics([3, 4], [0, 1]); // R@1 is 0
  assert.deepEqual([missed.harmonic_mean, missed.geometric_mean], [0, 0]);
  assert.throws(() => cirrMetrics([0], [0, 1]), /1 ranks, but 2 subset ranks/);
});
