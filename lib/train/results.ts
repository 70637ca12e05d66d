/** A run's numbers: measured, put in tables, kept in its folder. */
import { DataError } from "../core/errors.ts";
import type { Split } from "../data/triplet.ts";
import { sha256Hex, writeFileAtomic } from "../io/atomic.ts";
import { encodeCsv } from "../io/csv.ts";
import { isJsonObject } from "../io/json_keys.ts";
import type { Protocol } from "../metrics/protocol.ts";
import { NO_RANK } from "../metrics/ranking.ts";
import { markdownTable, rowsOf, type RunResult, type SplitMetrics, terminalTable } from "../report/table.ts";
import type { ExperimentData } from "./batch.ts";
import { type Evaluator, type Kind, metricsOf, type Ranks } from "./evaluate.ts";

/** Ranks by split and way to ask. */
export type Measured = ReadonlyMap<string, ReadonlyMap<Kind, Ranks>>;

/** Splits to report: those with queries whose targets are public. */
export const reportedSplits = ({ dataset }: ExperimentData): [name: string, split: Split][] =>
  (["val", "test"] as const).flatMap((name) => {
    const split = dataset.splits[name];
    const isPublic = split.triplets.length > 0 && split.triplets.every(({ target }) => target !== null);
    return isPublic ? [[name, split]] : [];
  });

/** Ranks of every reported split. An aborted `signal` ends it with the signal's reason. */
export async function measure(
  evaluator: Evaluator,
  data: ExperimentData,
  kinds: readonly Kind[],
  signal?: AbortSignal,
): Promise<Measured> {
  const measured = new Map<string, Map<Kind, Ranks>>();
  for (const [name, split] of reportedSplits(data)) {
    measured.set(name, await evaluator.rank(split, kinds, signal));
  }
  return measured;
}

/** The metrics of ranks, by split and way to ask. */
export const metricsBySplit = (measured: Measured): Record<string, SplitMetrics> =>
  Object.fromEntries([...measured].map(([split, ranks]) => {
    const { composed, ...others } = Object.fromEntries([...ranks].map(([kind, r]) => [kind, metricsOf(r)]));
    return [split, { ...others, composed }];
  }));

/** Under which rules the numbers were measured. */
export function protocolOf(data: ExperimentData): Protocol {
  const { dataset: { name, splits }, captionJoin = "single", keepsReference = false, text } = data;
  return {
    dataset: name,
    split: reportedSplits(data)[0]?.[0] ?? "none",
    gallery: "all images of the split",
    referenceRemoved: !keepsReference,
    captionJoin,
    textLength: text.bucketLengths.at(-1),
    // Other queries or another gallery under the same name are another protocol.
    splits: sha256Hex(JSON.stringify([splits.val, splits.test])).slice(0, 8),
  };
}

/** The table for a terminal. */
export const showResult = (result: RunResult): string => terminalTable(rowsOf(result));

const RESULTS = "results.json";

/** Writes `results.json`, the table as text and Markdown, and the ranks of each split's queries. */
export async function saveResults(
  folder: string,
  result: RunResult,
  measured: Measured,
  data: ExperimentData,
): Promise<void> {
  for (const [split, ranks] of measured) {
    const name = split as keyof typeof data.dataset.splits; // `measure` names no other
    await writeFileAtomic(`${folder}/ranks_${split}.csv`, ranksCsv(data, data.dataset.splits[name], ranks));
  }
  await writeFileAtomic(`${folder}/table.txt`, showResult(result) + "\n");
  await writeFileAtomic(`${folder}/table.md`, markdownTable(rowsOf(result)) + "\n");
  await writeFileAtomic(`${folder}/${RESULTS}`, JSON.stringify(result, null, 2) + "\n");
}

/** One row a query: ranks from 0, empty where a query has no group. */
function ranksCsv({ dataset }: ExperimentData, { triplets }: Split, ranks: ReadonlyMap<Kind, Ranks>): string {
  const name = (image: number | null) => image === null ? "" : dataset.images[image].name;
  const hasGroups = triplets.some(({ group }) => group);
  return encodeCsv(triplets.map(({ reference, target, captions, pairId, rule, category }, q) => ({
    query: q,
    ...(pairId === undefined ? {} : { pairId }),
    reference: name(reference),
    target: name(target),
    caption: captions.join(" | "),
    ...(rule === undefined ? {} : { rule }),
    ...(category === undefined ? {} : { category }),
    ...Object.fromEntries([...ranks].map(([kind, { target }]) => [kind, target[q]])),
    ...(hasGroups
      ? Object.fromEntries(
        [...ranks].map(([kind, { subset }]) => [`${kind}_subset`, subset[q] === NO_RANK ? "" : subset[q]]),
      )
      : {}),
  })));
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
        fix: "the run is not done; the command that began it goes on with it",
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
  const isRecalls = (recalls: unknown) =>
    isJsonObject(recalls) && Object.values(recalls).every((recall) => typeof recall === "number");
  return isJsonObject(protocol) && typeof protocol.dataset === "string" && isJsonObject(metrics) &&
    Object.values(metrics).every((split) =>
      isJsonObject(split) && isRecalls(split.composed) &&
      Object.entries(split).every(([kind, measured]) =>
        kind === "categories"
          ? isJsonObject(measured) && Object.values(measured).every(isRecalls)
          : isRecalls(measured)
      )
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
  const metrics = Object.entries(metricsBySplit(measured)).map(([split, kinds]): [string, SplitMetrics] => {
    const initial = before?.[split]?.composed;
    return [split, initial ? { "before training": initial, ...kinds } : kinds];
  });
  return { run, metrics: Object.fromEntries(metrics), protocol: protocolOf(data) };
}
