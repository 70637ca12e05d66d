/** From run folders to the rows of a table: runs that differ in their seeds only are one row. */
import { DataError } from "../../lib/core/errors.ts";
import { kebabCase } from "../../lib/core/flags.ts";
import { protocolKey } from "../../lib/metrics/protocol.ts";
import { meanBounds } from "../../lib/metrics/recall_bounds.ts";
import type { SeedRanks } from "../../lib/report/compare.ts";
import type { MeasuredRow } from "../../lib/report/recall_table.ts";
import { rowsOf, type RunResult, type TableRow } from "../../lib/report/table.ts";
import type { Kind } from "../../lib/train/evaluate.ts";
import { type Rankings, rankingsPath, readRankings } from "../../lib/train/rankings.ts";
import { readResults } from "../../lib/train/results.ts";
import { readManifest, type RunManifest } from "../../lib/train/run.ts";
import { seedRanksOf } from "../../lib/train/seed_ranks.ts";

/** A folder of results. */
export interface RunFolderResults {
  /** As it was named. */
  readonly folder: string;
  readonly result: RunResult;
  /** Of the run, where the folder is one or lies in one. */
  readonly manifest?: RunManifest;
  /** `best-union`, where eval wrote it. */
  readonly variant: string;
  readonly rankings: ReadonlyMap<string, Rankings>;
}

/** The ways to ask, by the label of their rows. */
const KINDS: Readonly<Record<string, Kind>> = {
  composed: "composed",
  "image only": "image",
  "text only": "text",
};

/** True of a run's folder in which nothing began: a wrong flag or missing data ended it before its first step. */
export const isNeverBegun = async (folder: string): Promise<boolean> =>
  await isThere(`${folder}/lock`) && !await isThere(`${folder}/run.json`);

/** Reads what `train` or `eval` left in a folder. @throws {DataError} If its results are missing or a file is broken. */
export async function readFolder(folder: string): Promise<RunFolderResults> {
  const result = { ...await readResults(folder), run: folder };
  const [, parent, variant = ""] = /^(.*)\/eval\/([^/]+)$/.exec(folder) ?? [];
  const run = parent ?? folder;
  const rankings = new Map<string, Rankings>();
  for (const split of Object.keys(result.metrics)) {
    const path = rankingsPath(folder, split);
    if (!await isThere(path)) continue;
    const read = await readRankings(path);
    if (protocolKey(read.protocol) !== protocolKey({ ...result.protocol, split })) {
      throw new DataError(`${path}: not measured under the protocol of ${folder}/results.json`, {
        where: path,
        fix: "deno task eval measures the run anew",
      });
    }
    rankings.set(split, read);
  }
  const manifest = await isThere(`${run}/run.json`) ? await readManifest(run) : undefined;
  return { folder, result, manifest, variant, rankings };
}

async function isThere(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The rows of some folders, in their order: composed queries, or with `all` every row of the runs' own tables. */
export function measuredRows(folders: readonly RunFolderResults[], all: boolean): MeasuredRow[] {
  const labels = labelsOf(folders);
  const measured = folders.flatMap((from) =>
    rowsOf(from.result).filter(({ label }) => all || label === "composed").map((row) => ({ from, row }))
  );
  const keyOf = ({ from, row }: (typeof measured)[number]) =>
    JSON.stringify([labels.get(from), row.label, protocolKey(row.protocol)]);
  return [...Map.groupBy(measured, keyOf).values()].flatMap((group) => {
    const [{ from, row: { label } }] = group;
    const name = `${labels.get(from)}${label === "composed" ? "" : `: ${label}`}`;
    const seeds = group.map(({ from }) => from.manifest?.seed);
    // The same seed twice is no second run of it: each stands for itself.
    if (new Set(seeds).size === group.length) return [rowFrom(name, group)];
    return group.map((one) => rowFrom(`${name} (${one.from.folder})`, [one]));
  });
}

/** Of the mean over runs. Runs of one protocol miss the same files. */
function boundsOver([first, ...others]: readonly TableRow["bounds"][]): TableRow["bounds"] {
  return first && Object.fromEntries(
    Object.entries(first).map(([metric, bounds]) => [
      metric,
      meanBounds([bounds, ...others.flatMap((one) => one?.[metric] ? [one[metric]] : [])]),
    ]),
  );
}

function rowFrom(
  label: string,
  group: readonly { readonly from: RunFolderResults; readonly row: TableRow }[],
): MeasuredRow {
  const [{ row: { protocol } }] = group, bounds = boundsOver(group.map(({ row }) => row.bounds));
  const ranks = group.flatMap(({ from, row }): SeedRanks[] => {
    const read = from.rankings.get(protocol.split), kind = KINDS[row.label];
    if (!read || !kind) return [];
    const ranks = seedRanksOf(read, {
      file: rankingsPath(from.folder, protocol.split),
      seed: from.manifest?.seed ?? 0,
      kind,
    });
    return [{ ...ranks, rules: ranks.categories ?? ranks.rules.map(() => "") }]; // not by kind of change
  });
  return {
    label,
    runs: group.map(({ from }) => from.folder),
    protocol,
    metrics: group.map(({ row }) => row.metrics),
    ...(bounds ? { bounds } : {}),
    ranks: ranks.length === group.length ? ranks : [],
  };
}

/**
 * What each folder's row is called: the experiment with the flags in which its rows differ, but for the seed; the folder
 * where nothing is known of the run.
 */
function labelsOf(folders: readonly RunFolderResults[]): Map<RunFolderResults, string> {
  const byExperiment = Map.groupBy(folders, ({ manifest }) => manifest?.experiment);
  return new Map(folders.map((one) => {
    const { manifest, variant, folder } = one;
    if (!manifest) return [one, folder];
    const configs = (byExperiment.get(manifest.experiment) ?? [])
      .flatMap(({ manifest }) => manifest ? [manifest.config] : []);
    const names = [...new Set(configs.flatMap((config) => Object.keys(config)))].filter((name) =>
      name !== "seed" && new Set(configs.map((config) => config[name])).size > 1
    );
    const flags = names.map((name) => `--${kebabCase(name)} ${manifest.config[name] ?? "absent"}`);
    return [one, [manifest.experiment, ...flags, ...(variant ? [`(${variant})`] : [])].join(" ")];
  }));
}
