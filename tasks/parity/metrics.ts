/** Cases of retrieval metrics. */
import { DataError } from "../../lib/core/errors.ts";
import { subsetRanks, targetRanks, topK } from "../../lib/metrics/ranking.ts";
import { cirrMetrics, recallAt, type Recalls } from "../../lib/metrics/recall.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { cosines } from "../../lib/cala/frames/frame.ts";
import { l2Normalize } from "../../lib/ops/l2_normalize.ts";
import { evaluate } from "../../lib/plan/compile.ts";
import { type Actual, list, type OracleCase } from "./case.ts";
import type { Runner } from "./runner.ts";

interface Scored {
  readonly scores: Float32Array<ArrayBuffer>;
  readonly gallerySize: number;
  readonly targets: number[];
  indexOf(name: string): number;
}

async function score(gpu: Gpu, oracle: OracleCase): Promise<Scored> {
  const names = oracle.strings("index_names");
  const places = new Map(names.map((name, i) => [name, i]));
  const indexOf = (name: string) => {
    const place = places.get(name);
    if (place === undefined) throw new DataError(`${oracle.name}: "${name}" is not in the gallery`);
    return place;
  };
  const { scores: { data } } = await evaluate(
    gpu,
    (t) => ({ scores: cosines(t.predicted_features, l2Normalize(t.index_features)) }),
    oracle.inputs(),
  );
  const targets = oracle.strings("target_names").map(indexOf);
  return { scores: Float32Array.from(data), gallerySize: names.length, targets, indexOf };
}

/** The whole ranking and its distances beside the metrics, in the case's order. */
function actual(oracle: OracleCase, { scores, gallerySize, targets }: Scored, metrics: Recalls): Actual {
  const shape = [targets.length, gallerySize], names = oracle.strings("metric_names");
  const ranking = topK(scores, gallerySize, { gallerySize });
  const distances = scores.map((score) => 1 - score); // in gallery order
  return {
    values: new Map([
      ["out.metrics", { shape: [names.length], data: names.map((name) => metrics[name]) }],
      ["out.ranking", { shape, data: ranking }],
      ["out.distances", { shape, data: distances }],
    ]),
  };
}

const recallFiq: Runner = async (gpu, oracle) => {
  const scored = await score(gpu, oracle);
  const ranks = targetRanks(scored.scores, scored);
  const cutOf = (name: string) => Number(name.match(/^recall_at(\d+)$/)?.[1]);
  const metrics = oracle.strings("metric_names").map((name) => [name, recallAt(ranks, cutOf(name))]);
  return actual(oracle, scored, Object.fromEntries(metrics));
};

const recallCirr: Runner = async (gpu, oracle) => {
  const scored = await score(gpu, oracle);
  const exclude = oracle.strings("reference_names").map(scored.indexOf);
  const members = oracle.list("group_members").map((group) =>
    list(group).map((name) => scored.indexOf(String(name)))
  );
  const ranks = targetRanks(scored.scores, { ...scored, exclude });
  const subset = subsetRanks(scored.scores, { ...scored, exclude, members });
  return actual(oracle, scored, cirrMetrics(ranks, subset));
};

export const metrics = { recall_fiq: recallFiq, recall_cirr: recallCirr };
