/** Galleries of categories, secret targets, groups: against a plain sort, on points with whole coordinates, so that ties are exact. */
import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { DataError } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import type { ImageSource } from "../../lib/data/image_source.ts";
import type { Dataset, Split, Triplet } from "../../lib/data/triplet.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { NO_RANK } from "../../lib/metrics/ranking.ts";
import type { Embeddings, Frame, ImageBatch } from "../../lib/nn/frame.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { State } from "../../lib/plan/state.ts";
import { Evaluator, type Ranking } from "../../lib/train/evaluate.ts";
import { rankGallery } from "../../lib/train/score.ts";

const F = 4, COUNT = 90;
const EMPTY: Split = { triplets: [], gallery: [] };
const random = new Random(3, "evaluate test");
const points = Float32Array.from({ length: COUNT * F }, () => random.nextInt(5) - 2);
const images: ImageSource = {
  fields: { point: { shape: [F], dtype: "f32" } },
  count: COUNT,
  read(ids, into) {
    for (let i = 0; i < ids.length; i++) into.point.set(points.subarray(ids[i] * F, (ids[i] + 1) * F), i * F);
  },
};
const scores = (query: Embeddings, gallery: Embeddings) =>
  matmul(query.feats, gallery.feats, { transposeB: true });
const feats = ({ point }: ImageBatch): Embeddings => ({ feats: point });
const frame: Frame = {
  params: new Map(),
  groups: { scheduled: [], constant: [] },
  encode: () => ({}),
  logits: ({ feats }) => feats,
  encodeGallery: feats,
  queries: { composed: { encode: ({ reference }) => feats(reference), scores } },
};

async function rank(split: Split, keepsReference: boolean): Promise<Ranking> {
  const dataset: Dataset = {
    name: "points",
    images: Array.from({ length: COUNT }, (_, i) => ({ name: `p${i}` })),
    splits: { train: EMPTY, val: split, test: EMPTY },
    hash: "00",
  };
  const text = { tokenizer: { size: 2, encode: () => [1] }, bucketLengths: [2] };
  using gpu = await openDevice();
  using state = new State(gpu, []);
  using evaluator = new Evaluator(gpu, frame, state, { dataset, images, text, keepsReference }, {
    batchSize: 8,
  });
  const ranking = (await evaluator.rank(split, ["composed"])).get("composed");
  ok(ranking);
  return ranking;
}

/** The whole ranking of a gallery by a stable sort. */
function naive(reference: number, gallery: readonly number[], keepsReference: boolean): number[] {
  const dot = (a: number, b: number) =>
    Array.from({ length: F }, (_, f) => points[a * F + f] * points[b * F + f]).reduce((x, y) => x + y);
  return gallery.filter((image) => keepsReference || image !== reference)
    .map((image) => ({ image, score: dot(reference, image) }))
    .sort((a, b) => b.score - a.score).map(({ image }) => image);
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const triplet = (reference: number, target: number | null, rest: Partial<Triplet> = {}): Triplet => ({
  reference,
  target,
  captions: ["x"],
  ...rest,
});

Deno.test("each query is ranked in its category's gallery, the reference kept", async () => {
  // Categories in mixed order; one gallery has 60 images, one 30 in descending order, which ties follow.
  const galleries = { dress: range(0, 60), shirt: range(60, 90).reverse() };
  const triplets = range(0, 21).map((q) =>
    q % 3 ? triplet(q, 59 - q, { category: "dress" }) : triplet(60 + q, 89 - q, { category: "shirt" })
  );
  const split = { triplets, gallery: range(0, 90), galleries };
  const { target, top, subset, groups } = await rank(split, true);
  for (const [q, { reference, target: wanted, category }] of triplets.entries()) {
    const ranking = naive(reference, galleries[category as keyof typeof galleries], true);
    strictEqual(target[q], ranking.indexOf(Number(wanted)), `query ${q}`);
    deepStrictEqual(top[q], ranking.slice(0, 50), `query ${q}`);
  }
  ok(subset.every((rank) => rank === NO_RANK) && groups.every((group) => group === undefined));
});

Deno.test("groups are ranked without the reference, and a split with secret targets has rankings without ranks", async () => {
  const gallery = range(0, 70);
  const groupOf = (q: number) => [q, q + 1, q + 20, q + 30, q + 40, q + 50];
  const open = range(0, 15).map((q) => triplet(q, q + 20, { group: groupOf(q) }));
  const secret = open.map((one) => ({ ...one, target: null }));
  const measured = await rank({ triplets: open, gallery }, false);
  const unmeasured = await rank({ triplets: secret, gallery }, false);
  for (const q of open.keys()) {
    const ranking = naive(q, gallery, false), group = ranking.filter((image) => groupOf(q).includes(image));
    strictEqual(measured.target[q], ranking.indexOf(q + 20));
    strictEqual(measured.subset[q], group.indexOf(q + 20));
    for (const { top, groups } of [measured, unmeasured]) {
      deepStrictEqual(top[q], ranking.slice(0, 50));
      deepStrictEqual(groups[q], group);
    }
  }
  ok(
    unmeasured.target.every((rank) => rank === NO_RANK) &&
      unmeasured.subset.every((rank) => rank === NO_RANK),
  );
});

Deno.test("a gallery that lacks a target, lists an image twice or is of no category is refused by name", async () => {
  const refused = (split: Split, message: RegExp) =>
    rejects(rank(split, true), (error: unknown) => error instanceof DataError && message.test(error.message));
  await refused(
    { triplets: [triplet(1, 40)], gallery: range(0, 40) },
    /^query 0: its target "p40" is not in the gallery of 40$/,
  );
  await refused(
    { triplets: [triplet(1, 2)], gallery: [1, 2, 1] },
    /^the gallery of 3 lists image "p1" twice$/,
  );
  await refused(
    {
      triplets: [triplet(1, 2), triplet(1, 3, { category: "hat" })],
      gallery: [],
      galleries: { dress: [1, 2] },
    },
    /^query 0: its category "" has no gallery$/,
  );
  await refused(
    { triplets: [triplet(1, 2, { group: [1, 2, 50] })], gallery: range(0, 9) },
    /^query 0: its group member "p50" is not in the gallery of 9$/,
  );
  await refused(
    { triplets: [triplet(1, 2), triplet(1, null)], gallery: range(0, 9) },
    /^1 of 2 queries have no target$/,
  );
  await refused(
    { triplets: [triplet(1, 2, { group: [1, 3] })], gallery: range(0, 9) },
    /^query 0: its target is not in its group$/,
  );
});

Deno.test("a score that is no number is an error that names category and query", async () => {
  const triplets = [triplet(1, 2, { category: "dress" }), triplet(COUNT - 1, 7, { category: "shirt" })];
  const split = { triplets, gallery: [], galleries: { dress: [1, 2], shirt: [7, COUNT - 1] } };
  const before = points[(COUNT - 1) * F];
  points[(COUNT - 1) * F] = NaN;
  try {
    await rejects(
      rank(split, true),
      (error: unknown) =>
        error instanceof DataError &&
        /^shirt: query 0: its score of gallery image \d is NaN$/.test(error.message),
    );
  } finally {
    points[(COUNT - 1) * F] = before;
  }
});

Deno.test("rankGallery() joins blocks of queries and of a gallery too large for one binding", async () => {
  // Rows of 2^22 elements: 16 MiB each, so that four images fill a block.
  const width = 2 ** 22, Q = 3, N = 6;
  const rows = (count: number, seed: number) => {
    const data = new Float32Array(count * width), draw = new Random(seed, "wide");
    for (let i = 0; i < count; i++) {
      data.set(Float32Array.from({ length: 8 }, () => draw.nextInt(3)), i * width);
    }
    return { feats: { shape: [width], data } };
  };
  const queries = rows(Q, 1), gallery = rows(N, 2);
  using gpu = await openDevice();
  const { targets, top } = await rankGallery(gpu, frame.queries.composed, {
    queries,
    gallery,
    search: {
      gallery: range(0, N),
      queries: range(0, Q),
      targets: new Uint32Array([0, 4, 5]),
      members: Array(Q).fill(undefined),
    },
  });
  for (const q of range(0, Q)) {
    const score = (g: number) =>
      range(0, 8).reduce(
        (sum, i) => sum + queries.feats.data[q * width + i] * gallery.feats.data[g * width + i],
        0,
      );
    const naive = range(0, N).sort((a, b) => score(b) - score(a));
    deepStrictEqual([...top[q]], naive);
    strictEqual(targets?.[q], naive.indexOf([0, 4, 5][q]));
  }
});
