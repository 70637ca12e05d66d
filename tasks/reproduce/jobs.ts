/** The runs of a table: which there are, whether they are done, and what they say. */
import { ConfigError } from "../../lib/core/errors.ts";
import { checkFlagValues, kebabCase } from "../../lib/core/flags.ts";
import type { SeedRanks } from "../../lib/report/compare.ts";
import { configDifferences, type StoredConfig, type TrainingConfig } from "../../lib/train/config.ts";
import { rankingsPath, readRankings } from "../../lib/train/rankings.ts";
import { seedRanksOf } from "../../lib/train/seed_ranks.ts";
import { readResults } from "../../lib/train/results.ts";
import { readManifest, type RunManifest } from "../../lib/train/run.ts";
import type { OpenRow } from "./open_table.ts";

/** One run: a row with a seed. */
export interface Job {
  readonly row: OpenRow;
  readonly seed: number;
  readonly config: TrainingConfig;
  /** The run's name; its folder is `path`. */
  readonly name: string;
  readonly path: string;
}

/** What is asked of a table. */
export interface JobOptions {
  /** Folder of the runs' folder. */
  readonly out: string;
  readonly seeds: number;
}

/**
 * The runs of a table's rows, all rows of the first seed first: what there is after an interruption can be compared.
 *
 * @param flags Of the command line, for every row.
 * @throws {ConfigError} If a row has such a flag itself, or its experiment does not know it or its value.
 */
export function jobsOf(rows: readonly OpenRow[], flags: StoredConfig, { out, seeds }: JobOptions): Job[] {
  for (const { name, flags: own, opened } of rows) {
    checkFlagValues(opened.flags, flags);
    const taken = Object.keys(flags).find((flag) => flag in own);
    if (taken) {
      throw new ConfigError(`--${kebabCase(taken)}: row "${name}" has its own: ${own[taken]}`, {
        fix: "leave it out, or choose other rows with --rows",
      });
    }
  }
  const jobOf = (row: OpenRow, i: number): Job => {
    const { seed: first } = row.opened.configFrom(flags), seed = first + i;
    const firstStage = row.firstStageRow && { firstStage: jobOf(row.firstStageRow, i).path };
    const config = row.opened.configFrom({ ...row.flags, ...flags, ...firstStage, seed });
    const length = config.steps === undefined ? `${config.epochs}epochs` : `${config.steps}steps`;
    const name = `${row.name}-${length}-seed${seed}`;
    return { row, seed, config, name, path: `${out}/${row.opened.name}/${name}` };
  };
  return Array.from({ length: seeds }, (_, i) => i).flatMap((i) =>
    rows.filter(({ maxSeeds = Infinity }) => i < maxSeeds).map((row) => jobOf(row, i))
  );
}

/**
 * The manifest of a run that is done; nothing of one that is not.
 *
 * @throws {ConfigError} If the folder's run has another configuration.
 */
export async function doneManifest({ path, config }: Job): Promise<RunManifest | undefined> {
  let manifest: RunManifest;
  try {
    if (!(await Deno.stat(`${path}/run.json`)).isFile) return undefined;
    manifest = await readManifest(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const differences = configDifferences(manifest.config, config);
  if (differences.length > 0) {
    throw new ConfigError(`${path} has another configuration: ${differences.join("; ")}`, {
      where: `${path}/run.json`,
      fix: "choose another folder with --out",
    });
  }
  return manifest.status === "done" ? manifest : undefined;
}

/**
 * The ranks of a run that is done, of each split.
 *
 * @throws {DataError} If its files are missing or broken.
 */
export async function ranksOf({ path, seed }: Job): Promise<SeedRanks[]> {
  const { metrics } = await readResults(path);
  return await Promise.all(
    Object.keys(metrics).map(async (split) => {
      const file = rankingsPath(path, split);
      return seedRanksOf(await readRankings(file), { file, seed });
    }),
  );
}
