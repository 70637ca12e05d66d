/** The runs of a table: which there are, whether they are done, and training one. */
import { ConfigError, DataError } from "../../lib/core/errors.ts";
import { readCsv } from "../../lib/io/csv.ts";
import type { SeedRanks } from "../../lib/report/compare.ts";
import { configDifferences, type TrainingConfig } from "../../lib/train/config.ts";
import type { Experiment } from "../../lib/train/experiment.ts";
import type { Progress } from "../../lib/train/progress.ts";
import { readResults } from "../../lib/train/results.ts";
import { readManifest, RunFolder, type RunManifest } from "../../lib/train/run.ts";
import { trainRun } from "../../lib/train/train.ts";
import { checkFlags } from "./open_table.ts";
import type { ResultRow, ResultTable } from "./table.ts";

/** One run: a row with a seed. */
export interface Job {
  readonly row: ResultRow;
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
  /** Optimiser steps of every run; 0: the experiment's own. */
  readonly steps: number;
  /** The ablation whose rows are wanted too. */
  readonly ablate: string;
}

/**
 * The runs of a table, all rows of the first seed first: what there is after an interruption can be compared.
 *
 * @throws {ConfigError} If a row's flags are not the experiment's, or it does not count in steps.
 */
export function jobsOf(table: ResultTable, experiment: Experiment, options: JobOptions): Job[] {
  const { out, seeds, steps, ablate } = options;
  const defaults = experiment.configFrom();
  if (typeof defaults.steps !== "number") throw new ConfigError(`${experiment.source} has no flag "steps"`);
  const rows = table.rows.filter(({ ablation }) => ablation === undefined || ablation === ablate);
  for (const { name, flags } of rows) checkFlags(name, flags, defaults);
  return Array.from({ length: seeds }, (_, i) => defaults.seed + i).flatMap((seed, i) =>
    rows.filter(({ maxSeeds = Infinity }) => i < maxSeeds).map((row) => {
      const config = experiment.configFrom({ ...row.flags, ...(steps > 0 ? { steps } : {}), seed });
      const name = `${row.name}-${config.steps}steps-seed${seed}`;
      return { row, seed, config, name, path: `${out}/${experiment.name}/${name}` };
    })
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

/** Trains a run, or goes on with it. @returns False if it was interrupted. */
export async function trainJob(
  experiment: Experiment,
  { config, name }: Job,
  { out, signal, progress, logEvery }: {
    out: string;
    signal: AbortSignal;
    progress: Progress;
    logEvery: number;
  },
): Promise<boolean> {
  using run = await RunFolder.open({ out, experiment: experiment.name, config, name, isFresh: false });
  try {
    return await trainRun(experiment, { run, config, logEvery, signal, progress });
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) {
      await run.end("failed", error instanceof Error ? error.message : String(error)).catch(() => {});
    }
    throw error;
  }
}

/**
 * The ranks of a run that is done, of each split.
 *
 * @throws {DataError} If its files are missing or broken.
 */
export async function ranksOf({ path, seed }: Job): Promise<SeedRanks[]> {
  const { metrics, protocol } = await readResults(path);
  return await Promise.all(
    Object.keys(metrics).map(async (split) => {
      const file = `${path}/ranks_${split}.csv`, rows = await readCsv(file);
      if (rows.length === 0) throw new DataError(`${file}: no queries`, { where: file });
      return {
        seed,
        protocol: { ...protocol, split },
        queries: rows.map(({ reference, target, caption }) => `${reference} > ${target}: ${caption}`),
        rules: rows.map(({ rule = "" }) => rule),
        ranks: rows.map(({ composed }, q) => {
          const rank = Number(composed);
          if (composed && Number.isInteger(rank) && rank >= 0) return rank;
          throw new DataError(`${file}: row ${q + 1}: its rank is "${composed}"`, { where: file });
        }),
      };
    }),
  );
}
