/** A run's numbers: measured, put in tables, kept in its folder. */
import { DataError } from "../core/errors.ts";
import type { Split, SplitName } from "../data/triplet.ts";
import { CATEGORY_GALLERY } from "../data/union_gallery.ts";
import { sha256Hex, writeFileAtomic } from "../io/atomic.ts";
import { isJsonObject } from "../io/json_keys.ts";
import type { Protocol } from "../metrics/protocol.ts";
import { markdownTable, rowsOf, type RunResult, type SplitMetrics, terminalTable } from "../report/table.ts";
import type { ExperimentData } from "./batch.ts";
import type { Evaluator, Kind, Ranking } from "./evaluate.ts";
import { rankingsPath, saveRankings } from "./rankings.ts";
import { metricsOf, type RankingMetrics } from "./split_metrics.ts";

/** Rankings by split and way to ask. */
export type Measured = ReadonlyMap<SplitName, ReadonlyMap<Kind, Ranking>>;

/** Splits to report: those with queries whose targets are public. */
export const reportedSplits = ({ dataset }: ExperimentData): [name: "val" | "test", split: Split][] =>
  (["val", "test"] as const).flatMap((name) => {
    const split = dataset.splits[name];
    const isPublic = split.triplets.length > 0 && split.triplets.every(({ target }) => target !== null);
    return isPublic ? [[name, split]] : [];
  });

/** Rankings of every reported split, or of some. An aborted `signal` ends it with the signal's reason. */
export async function measure(
  evaluator: Evaluator,
  data: ExperimentData,
  kinds: readonly Kind[],
  signal?: AbortSignal,
  splits = reportedSplits(data),
): Promise<Measured> {
  const measured = new Map<SplitName, Map<Kind, Ranking>>();
  for (const [name, split] of splits) measured.set(name, await evaluator.rank(split, kinds, signal));
  return measured;
}

/** The metrics of rankings, by split and way to ask. */
export const metricsBySplit = (
  { dataset }: ExperimentData,
  measured: Measured,
): Record<string, SplitMetrics> =>
  Object.fromEntries([...measured].map(([name, rankings]) => {
    const of = Object.fromEntries(
      [...rankings].map(([kind, ranking]) => [kind, metricsOf(dataset.splits[name], ranking)]),
    );
    const { composed, ...others } = Object.fromEntries(
      Object.entries(of).map(([kind, { all }]) => [kind, all]),
    );
    const { categories, bounds } = of.composed;
    const ofOthers = <T>(part: (metrics: RankingMetrics) => T | undefined): Record<string, T> =>
      Object.fromEntries(
        Object.entries(of).flatMap(([kind, metrics]) => {
          const found = kind === "composed" ? undefined : part(metrics);
          return found ? [[kind, found]] : [];
        }),
      );
    return [name, {
      ...others,
      composed,
      ...(categories ? { categories, otherCategories: ofOthers(({ categories }) => categories) } : {}),
      ...(bounds ? { bounds, otherBounds: ofOthers(({ bounds }) => bounds) } : {}),
    }];
  }));

/** Under which rules the numbers were measured. */
export function protocolOf(data: ExperimentData): Protocol {
  const {
    dataset: { name, splits, gallery },
    captionJoin = "single",
    keepsReference = false,
    text,
    protocol,
  } = data;
  const missing = [splits.val, splits.test].flatMap(({ leftOut = {} }) => Object.values(leftOut));
  const count = (of: "queries" | "images") => missing.reduce((sum, one) => sum + one[of], 0);
  return {
    dataset: name,
    split: reportedSplits(data)[0]?.[0] ?? "none",
    gallery: gallery ??
      (splits.val.galleries ? CATEGORY_GALLERY : "all images of the split"),
    referenceRemoved: !keepsReference,
    captionJoin,
    textLength: text.bucketLengths.at(-1),
    ...(count("queries") > 0 ? { droppedQueries: count("queries") } : {}),
    ...(count("images") > 0 ? { missingImages: count("images") } : {}),
    ...protocol,
    // Other queries or another gallery under the same name are another protocol.
    splits: sha256Hex(JSON.stringify([splits.val, splits.test])).slice(0, 8),
  };
}

/** The table for a terminal. */
export const showResult = (result: RunResult): string => terminalTable(rowsOf(result));

const RESULTS = "results.json";

/** Writes `results.json`, the table as text and Markdown, and the rankings of each split's queries. */
export async function saveResults(
  folder: string,
  result: RunResult,
  measured: Measured,
  { dataset }: ExperimentData,
): Promise<void> {
  for (const [split, rankings] of measured) {
    await saveRankings(rankingsPath(folder, split), dataset, result.protocol, split, rankings);
  }
  await writeFileAtomic(`${folder}/table.txt`, showResult(result) + "\n");
  await writeFileAtomic(`${folder}/table.md`, markdownTable(rowsOf(result)) + "\n");
  await writeFileAtomic(`${folder}/${RESULTS}`, JSON.stringify(result, null, 2) + "\n");
}

/**
 * What a run's `results.json` says.
 *
 * @throws {DataError} If it is missing or not of this form.
 */
export async function readResults(folder: string): Promise<RunResult> {
  const path = `${folder}/${RESULTS}`;
  let value: unknown;
  try {
    value = JSON.parse(await Deno.readTextFile(path));
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) {
      throw new DataError(`${path}: no such file`, {
        fix:
          "name a run's folder, runs/EXPERIMENT/NAME; where the run is not done, its command goes on with it",
      });
    }
    throw new DataError(`${path}: not JSON: ${cause instanceof Error ? cause.message : cause}`, {
      where: path,
      cause,
    });
  }
  if (!isRunResult(value)) {
    throw new DataError(`${path}: not the results of a run`, { fix: "deno task eval measures them anew" });
  }
  return value;
}

function isRunResult(value: unknown): value is RunResult {
  if (!isJsonObject(value) || typeof value.run !== "string") return false;
  const { metrics, protocol } = value;
  const isNumber = (value: unknown) => typeof value === "number";
  const isRecord = (of: (value: unknown) => boolean) => (value: unknown) =>
    isJsonObject(value) && Object.values(value).every(of);
  const isRecalls = isRecord(isNumber);
  const isBounds = (value: unknown) => Array.isArray(value) && value.length === 2 && value.every(isNumber);
  const parts: Record<string, (value: unknown) => boolean> = {
    categories: isRecord(isRecalls),
    otherCategories: isRecord(isRecord(isRecalls)),
    bounds: isRecord(isBounds),
    otherBounds: isRecord(isRecord(isBounds)),
  };
  return isJsonObject(protocol) && typeof protocol.dataset === "string" && isJsonObject(metrics) &&
    Object.values(metrics).every((split) =>
      isJsonObject(split) && isRecalls(split.composed) &&
      Object.entries(split).every(([kind, measured]) => (parts[kind] ?? isRecalls)(measured))
    );
}

const BEFORE = "before_training.json";

/** Keeps the composed metrics of the initial weights. */
export const saveBefore = (folder: string, metrics: Record<string, SplitMetrics>): Promise<void> =>
  writeFileAtomic(`${folder}/${BEFORE}`, JSON.stringify(metrics, null, 2) + "\n");

/** The composed metrics of the initial weights; nothing where they were not measured. */
export async function readBefore(folder: string): Promise<Record<string, SplitMetrics> | undefined> {
  const path = `${folder}/${BEFORE}`;
  try {
    return JSON.parse(await Deno.readTextFile(path));
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw new DataError(`${path}: not JSON`, {
      where: path,
      fix: "delete it: the table then lacks that row",
      cause,
    });
  }
}

/** Measured metrics with the row of the initial weights, as tables take them. */
export function resultOf(
  run: string,
  data: ExperimentData,
  measured: Measured,
  before: Record<string, SplitMetrics> | undefined,
): RunResult {
  const metrics = Object.entries(metricsBySplit(data, measured)).map(
    ([split, kinds]): [string, SplitMetrics] => {
      const initial = before?.[split];
      if (!initial) return [split, kinds];
      const { composed, categories, bounds } = initial, row = "before training";
      return [split, {
        [row]: composed,
        ...kinds,
        ...(categories ? { otherCategories: { ...kinds.otherCategories, [row]: categories } } : {}),
        ...(bounds ? { otherBounds: { ...kinds.otherBounds, [row]: bounds } } : {}),
      }];
    },
  );
  return { run, metrics: Object.fromEntries(metrics), protocol: protocolOf(data) };
}
