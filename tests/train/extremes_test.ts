/** Intervals where files are missing: they hold whatever the missing ones would have done. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Random } from "../../lib/core/random.ts";
import type { Split, Triplet } from "../../lib/data/triplet.ts";
import { NO_RANK } from "../../lib/metrics/ranking.ts";
import type { Ranking } from "../../lib/train/evaluate.ts";
import { criterionText, metricsOf, validationMetrics, validationRow } from "../../lib/train/split_metrics.ts";

const IMAGES = 60, CATEGORIES = ["dress", "toptee", "shirt"];

/** A query over 60 images: two targets, a group of six with the first of them in it, and the ranking of all images. */
function query(random: Random, category?: string): { triplet: Triplet; order: number[] } {
  const order = [...random.permutation(IMAGES)],
    [reference, target, other, ...rest] = random.permutation(IMAGES);
  const group = [reference, target, other, ...rest.slice(0, 3)], targets = [target, other];
  const triplet = { reference, target, targets, captions: ["x"], ...(category ? { category } : { group }) };
  return { triplet, order };
}

/** What is left of queries and gallery without some images. */
function without(queries: ReturnType<typeof query>[], missing: ReadonlySet<number>): [Split, Ranking] {
  const isThere = ({ triplet: { reference, targets = [] } }: ReturnType<typeof query>) =>
    ![reference, ...targets].some((image) => missing.has(image));
  const left = queries.filter(isThere), categories = queries[0].triplet.category ? CATEGORIES : [""];
  const gallery = Array.from({ length: IMAGES }, (_, i) => i).filter((i) => !missing.has(i));
  const leftOut = Object.fromEntries(categories.map((name) => {
    const lost = queries.filter((one) => (one.triplet.category ?? "") === name && !isThere(one)).length;
    return [name, { queries: lost, images: missing.size }];
  }));
  const ranks = left.map(({ order }) => order.filter((image) => !missing.has(image)));
  const rankIn = (q: number, among: readonly number[]) =>
    ranks[q].filter((image) => among.includes(image)).indexOf(left[q].triplet.target ?? -1);
  const split = {
    triplets: left.map(({ triplet }) => {
      const groupLeftOut = triplet.group?.filter((image) => missing.has(image)).length;
      return { ...triplet, ...(groupLeftOut ? { groupLeftOut } : {}) };
    }),
    gallery,
    ...(categories.length > 1 &&
      { galleries: Object.fromEntries(categories.map((name) => [name, gallery])) }),
    leftOut,
  };
  return [split, {
    target: Uint32Array.from(left, (_, q) => rankIn(q, gallery)),
    subset: Uint32Array.from(
      left,
      ({ triplet: { group, reference } }, q) =>
        group ? rankIn(q, group.filter((image) => image !== reference)) : NO_RANK,
    ),
    top: ranks.map((order) => order.slice(0, 50)),
    groups: left.map(() => undefined),
  }];
}

Deno.test("every metric of the whole data lies between the ends that are known without some of its files", () => {
  const random = new Random(6, "extremes");
  for (let i = 0; i < 40; i++) {
    const categories = i % 2 ? CATEGORIES : [undefined];
    const queries = Array.from({ length: 60 }, (_, q) => query(random, categories[q % categories.length]));
    const whole = without(queries, new Set()),
      missing = new Set(random.permutation(IMAGES).slice(0, 1 + i % 5));
    const part = without(queries, missing), { all, categories: each = {} } = metricsOf(...whole);
    const { bounds = {} } = metricsOf(...part);
    const known = Object.fromEntries(
      Object.entries(each).flatMap(([category, recalls]) =>
        Object.entries(recalls).map(([name, value]) => [`${category} ${name}`, value])
      ),
    );
    const metrics = Object.entries({ ...known, ...all }).filter(([name]) => !name.endsWith("queries"));
    deepStrictEqual(Object.keys(bounds).sort(), metrics.map(([name]) => name).sort());
    for (const [name, value] of metrics) {
      const [low, high] = bounds[name];
      ok(low <= value + 1e-9 && value <= high + 1e-9, `${name}: ${value} is not in [${low}, ${high}]`);
      ok(high - low < 50, `${name}: [${low}, ${high}] says nothing`);
    }
    const released = validationMetrics(...whole), row = validationRow(...part), names = Object.keys(released);
    deepStrictEqual(Object.keys(row), [
      ...names,
      ...names.flatMap((name) => [`${name}_low`, `${name}_high`]),
    ]);
    for (const name of names) {
      ok(row[`${name}_low`] <= released[name] + 1e-4 && released[name] <= row[`${name}_high`] + 1e-4, name);
    }
  }
});

Deno.test("without missing files a validation has the released columns alone", () => {
  const random = new Random(7, "extremes"), queries = Array.from({ length: 10 }, () => query(random));
  const whole = without(queries, new Set()), released = validationMetrics(...whole);
  deepStrictEqual(validationRow(...whole), released);
  strictEqual(metricsOf(...whole).bounds, undefined);
  strictEqual(criterionText("R@1", ...whole), metricsOf(...whole).all["R@1"].toFixed(2));
  const [split, ranking] = without(queries, new Set([queries[0].triplet.reference]));
  const { all, bounds } = metricsOf(split, ranking);
  const ends = bounds?.["R@50"].map((end) => end.toFixed(2)).join("–");
  strictEqual(criterionText("R@50", split, ranking), `${ends} (${all["R@50"].toFixed(2)} of what is there)`);
});
