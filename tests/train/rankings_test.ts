import { deepStrictEqual, match, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { type ConfigError, DataError } from "../../lib/core/errors.ts";
import type { Dataset, Split, Triplet } from "../../lib/data/triplet.ts";
import { CATEGORY_GALLERY } from "../../lib/data/union_gallery.ts";
import { NO_RANK } from "../../lib/metrics/ranking.ts";
import type { Kind, Ranking } from "../../lib/train/evaluate.ts";
import { readRankings, saveRankings } from "../../lib/train/rankings.ts";
import { seedRanksOf } from "../../lib/train/seed_ranks.ts";
import { criterion, metricsOf, perfectRanking, validationMetrics } from "../../lib/train/split_metrics.ts";

const CATEGORIES = ["dress", "shirt", "toptee"];
const protocol = { dataset: "small", split: "val", gallery: "original", referenceRemoved: false };

/** Two queries a category over galleries of three images; shirt has a third. */
const fashion: Split = {
  triplets: [...CATEGORIES, ...CATEGORIES, "shirt"].map((category, q): Triplet => {
    const first = 3 * CATEGORIES.indexOf(category);
    return {
      reference: first + q % 3,
      target: first + (q + 1) % 3,
      captions: ["is red", "has dots"],
      category,
    };
  }),
  gallery: [],
  galleries: { dress: [0, 1, 2], shirt: [3, 4, 5], toptee: [6, 7, 8] },
};
const ranked = (split: Split, target: number[], rest: Partial<Ranking> = {}): Ranking => ({
  ...perfectRanking(split),
  target: Uint32Array.from(target),
  ...rest,
});

Deno.test("metrics of categories are averaged over them, and have the released columns", () => {
  // dress: 0 and 60, shirt: 12, 0 and 0, toptee: 70 and 70
  const ranking = ranked(fashion, [0, 12, 70, 60, 0, 70, 0]);
  const { all, categories } = metricsOf(fashion, ranking);
  const recall = (hits: number, queries: number) => 100 * hits / queries;
  deepStrictEqual(Object.keys(categories ?? {}), CATEGORIES);
  strictEqual(categories?.shirt["R@10"], recall(2, 3));
  strictEqual(all["R@10"], (recall(1, 2) + recall(2, 3) + 0) / 3);
  strictEqual(all["R@50"], (recall(1, 2) + 100 + 0) / 3);
  strictEqual(all.average_recall, (all["R@10"] + all["R@50"]) / 2);
  strictEqual(all.queries, 7);
  const released = validationMetrics(fashion, ranking);
  deepStrictEqual(Object.keys(released).slice(0, 3), [
    "dress_recall_at10",
    "dress_recall_at50",
    "toptee_recall_at10",
  ]);
  ok(Math.abs(released.average_recall - all.average_recall) < 1e-5);
  strictEqual(criterion("average_recall", fashion, ranking), released.average_recall);
  strictEqual(criterion("R@10", fashion, ranking), all["R@10"]);
  throws(() => criterion("R@7", fashion, ranking), /no metric "R@7"/);
  throws(() => criterion("queries", fashion, ranking), (error: ConfigError) => {
    match(error.fix ?? "", /^one of R@1, R@5, (?!.*queries)/);
    return error.message === '--best-by: no metric "queries"';
  });
});

Deno.test("where every query has a group the metrics are CIRR's, elsewhere the table's", () => {
  const group = [0, 1, 2, 3, 4, 5];
  const triplets: Triplet[] = [0, 1, 2].map((q) => ({
    reference: q,
    target: q + 1,
    captions: ["x"],
    group,
  }));
  const cirr: Split = { triplets, gallery: group };
  const ranking = ranked(cirr, [0, 4, 9], { subset: Uint32Array.of(0, 1, 2) });
  const metrics = validationMetrics(cirr, ranking);
  strictEqual(Object.keys(metrics)[0], "group_recall_at1");
  strictEqual(metricsOf(cirr, ranking).all["mean(R@5+R_s@1)"], (200 / 3 + 100 / 3) / 2);
  strictEqual(criterion("arithmetic_mean", cirr, ranking), metrics.arithmetic_mean);
  strictEqual(criterion("mean(R@5+R_s@1)", cirr, ranking), metrics["mean(R@5+R_s@1)"]);

  const mixed: Split = { ...cirr, triplets: [...triplets.slice(0, 2), { ...triplets[2], group: undefined }] };
  const half = ranked(mixed, [0, 4, 9], { subset: Uint32Array.of(0, 1, NO_RANK) });
  deepStrictEqual(validationMetrics(mixed, half), metricsOf(mixed, half).all);
  strictEqual(metricsOf(mixed, half).all["subset queries"], 2);
  throws(() => criterion("arithmetic_mean", mixed, half), /no metric/);
});

Deno.test("several targets bring mAP, and missing files an interval", () => {
  const triplets = [0, 1].map((q): Triplet => ({
    reference: 9,
    target: q,
    targets: [q, q + 2],
    captions: ["x"],
  }));
  const split: Split = { triplets, gallery: [0, 1, 2, 3], leftOut: { "": { queries: 2, images: 1 } } };
  const ranking = ranked(split, [0, 1], { top: [[0, 1, 2, 3], [0, 1, 2, 3]] });
  const { all, bounds } = metricsOf(split, ranking);
  strictEqual(all["mAP@5"], 100 * ((1 + 2 / 3) / 2 + (1 / 2 + 2 / 4) / 2) / 2);
  strictEqual(all["R@1"], 50);
  // A query of one target counts too: there its precision is the reciprocal rank.
  const single = { ...split, triplets: [triplets[0], { ...triplets[1], targets: undefined }] };
  strictEqual(metricsOf(single, ranking).all["mAP@5"], 100 * ((1 + 2 / 3) / 2 + 1 / 2) / 2);
  deepStrictEqual(bounds?.["R@1"], [0, 75]);
  deepStrictEqual(bounds?.["R@5"], [50, 100]);
  const behind = 100 * ((1 / 2 + 2 / 4) / 2 + (1 / 3 + 2 / 5) / 2) / 4; // the missing image stands first
  deepStrictEqual(
    bounds?.["mAP@5"].map((end) => end.toFixed(6)),
    [behind, (2 * all["mAP@5"] + 200) / 4].map((end) => end.toFixed(6)),
  );
  // A category of which nothing is left may be anything.
  const lost: Split = {
    ...fashion,
    triplets: fashion.triplets.filter(({ category }) => category !== "dress"),
    leftOut: { dress: { queries: 2, images: 0 } },
  };
  const best = metricsOf(lost, ranked(lost, [0, 0, 0, 0, 0]));
  deepStrictEqual([best.all["R@1"], best.bounds?.["R@1"]], [100, [200 / 3, 100]]);
  deepStrictEqual(best.bounds?.average_recall, [200 / 3, 100]);
  deepStrictEqual(best.bounds?.["dress R@10"], [0, 100]);
  strictEqual(best.bounds?.["shirt R@10"], undefined, "nothing of it is missing");

  const grouped: Split = {
    triplets: [0, 1, 2].map((q) => ({ reference: 5, target: q, captions: ["x"], group: [0, 1, 2, 5] })),
    gallery: [0, 1, 2, 3, 4, 5],
    leftOut: { "": { queries: 1, images: 0 } },
  };
  const half = metricsOf(grouped, ranked(grouped, [0, 7, 7], { subset: Uint32Array.of(0, 1, 2) }));
  deepStrictEqual(half.bounds?.["R_subset@2"], [50, 75]);
  deepStrictEqual(half.bounds?.["mean(R@5+R_s@1)"], [25, 50]);
  strictEqual(metricsOf({ ...split, leftOut: { "": { queries: 0, images: 0 } } }, ranking).bounds, undefined);
});

Deno.test("rankings come back as they were written, the same bytes each time, and a damaged file is named", async () => {
  const names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
  const dataset: Dataset = {
    name: "small",
    images: names.map((name) => ({ name })),
    splits: { train: fashion, val: fashion, test: fashion },
    hash: "ab",
  };
  const top = fashion.triplets.map(({ target }) => [Number(target)]);
  const groups = fashion.triplets.map((_, q) => q === 1 ? [5, 3] : undefined);
  const composed = ranked(fashion, [0, 1, 2, 0, 1, 2, 0], { top, groups });
  const image = ranked(fashion, Array(7).fill(NO_RANK), {
    top,
    subset: Uint32Array.from({ length: 7 }, (_, q) => q % 2),
  });
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/rankings_val.jsonl`;
    const rankings = new Map<Kind, Ranking>([["image", image], ["composed", composed]]);
    await saveRankings(path, dataset, protocol, "val", rankings);
    const text = await Deno.readTextFile(path);
    await saveRankings(path, dataset, protocol, "val", rankings);
    strictEqual(await Deno.readTextFile(path), text);

    const { split, images, queries, protocol: kept, dataset: about } = await readRankings(path);
    deepStrictEqual([split, images, kept, about], ["val", names, protocol, { name: "small", hash: "ab" }]);
    strictEqual(queries.length, 7);
    deepStrictEqual(queries[1], {
      query: 1,
      reference: "e",
      target: "f",
      captions: ["is red", "has dots"],
      category: "shirt",
      image: { rank: null, subset: 1, top: [5] },
      composed: { rank: 1, group: [5, 3], top: [5] },
    });

    // Categories count alike where each has its own gallery; elsewhere they are kinds of queries.
    const ranks = (gallery: string) =>
      seedRanksOf({ split, images, queries, protocol: { ...kept, gallery }, dataset: about }, {
        file: path,
        seed: 1,
      });
    deepStrictEqual(ranks(CATEGORY_GALLERY).categories?.slice(0, 2), ["dress", "shirt"]);
    deepStrictEqual(ranks("all images of the split").categories, undefined);
    deepStrictEqual(ranks("all images of the split").rules.slice(0, 2), ["dress", "shirt"]);

    const lines = text.split("\n");
    for (
      const [broken, message] of [
        ["", /no such file, or an empty one$/],
        [lines.slice(1).join("\n"), /line 1: not the head of "cala rankings 1"$/],
        [text.slice(0, -20), /line 8: the line is cut short$/],
        [text.replace('"top":[5]', '"top":[9]'), /line 3: not the ranking of query 1$/],
        [[lines[0], ...lines.slice(2)].join("\n"), /line 2: not the ranking of query 0$/],
        [text.replace('"composed"', '"compsed"'), /line 2: not the ranking of query 0$/],
      ] as const
    ) {
      await Deno.writeTextFile(path, broken);
      await rejects(readRankings(path), (error: unknown) => {
        ok(error instanceof DataError);
        match(error.message, message);
        return true;
      });
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
