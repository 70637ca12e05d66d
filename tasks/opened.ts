/** What the commands share that open a run: flags for which weights and which data, and the opening. */
import { ConfigError } from "../lib/core/errors.ts";
import { flag, type FlagValues } from "../lib/core/flags.ts";
import { OpenedRun, type OpenRunOptions } from "../lib/train/opened_run.ts";
import type { Progress } from "../lib/train/progress.ts";
import { readManifest } from "../lib/train/run.ts";
import { openExperiment } from "./experiments.ts";

/** Flags of each such command. */
export const openFlags = {
  checkpoint: flag("run", "which weights; run: those that the run's own table is made from", {
    choices: ["run", "last", "best"],
  }),
  dataset: flag("", "another data set than the run's, as the experiment's flag --dataset names it"),
  data: flag("", "the data's folder, in place of the experiment's --data"),
  store: flag("", "the feature store, in place of the experiment's --store"),
  weights: flag("", "the published checkpoint, in place of the experiment's --weights"),
  experiment: flag("", "file of the experiment, where it is not where the run found it"),
};

/** A run's folder as it is named on a command line. */
export const folderOf = (run: string): string => run.replace(/[/\\]+$/, "");

/** Opens a run as the flags say. @throws {ConfigError} If the experiment does not know one of them. */
export async function openRun(
  run: string,
  { checkpoint, experiment, ...others }: FlagValues<typeof openFlags>,
  gallery: OpenRunOptions["gallery"],
  progress: Progress,
): Promise<OpenedRun> {
  const path = folderOf(run), manifest = await readManifest(path);
  const { dataset, data, store, weights } = others;
  const overrides = Object.fromEntries(
    Object.entries({ dataset, data, store, weights }).filter(([, value]) => value !== ""),
  );
  const options = { overrides, gallery, ...(checkpoint === "run" ? {} : { checkpoint }) };
  return await OpenedRun.open(
    await openExperiment(experiment || manifest.source),
    path,
    manifest,
    options,
    progress,
  );
}

/** Where a command writes what it does not put into the run's own results. @throws {ConfigError} If `out` is empty. */
export function checkedOut(out: string): string {
  if (out) return folderOf(out);
  throw new ConfigError('--out: expected a folder, got ""');
}
