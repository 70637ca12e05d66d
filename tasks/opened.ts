/** What the commands share that open a run: flags for which weights and which data, and the opening. */
import { ConfigError } from "../lib/core/errors.ts";
import { flag, type FlagSpec, type FlagSpecs, type FlagValues, parseValue } from "../lib/core/flags.ts";
import { DATASET_KINDS } from "../lib/data/open.ts";
import { configDifferences, type StoredConfig } from "../lib/train/config.ts";
import type { Experiment } from "../lib/train/experiment.ts";
import { OpenedRun, type OpenRunOptions } from "../lib/train/opened_run.ts";
import type { Progress } from "../lib/train/progress.ts";
import { readManifest, type RunManifest } from "../lib/train/run.ts";
import { openExperiment } from "./experiments.ts";

/** What a run was trained with may be named again, as the released commands want it; it must be what the run has. */
const modelFlags = {
  combiningFunction: flag("run", "the run's frame or combining function; run: whatever it is", {
    choices: ["run", "sum", "artemis", "combiner"],
  }),
  projectionDim: flag(0, "the Combiner's width of the two projections; 0: the run's", {
    integer: true,
    min: 0,
  }),
  hiddenDim: flag(0, "the Combiner's width of the joint layer; 0: the run's", { integer: true, min: 0 }),
};

/** @throws {ConfigError} If a flag names something else than the run has. */
function checkModel(
  path: string,
  { config }: RunManifest,
  { combiningFunction, projectionDim, hiddenDim }: FlagValues<typeof modelFlags>,
): void {
  const frame = config.combiningFunction ?? config.cirFrame ?? config.frame;
  const there = frame === undefined ? config : { ...config, combiningFunction: frame };
  const here = {
    ...there,
    ...(combiningFunction === "run" ? {} : { combiningFunction }),
    ...(projectionDim === 0 ? {} : { projectionDim }),
    ...(hiddenDim === 0 ? {} : { hiddenDim }),
  };
  const differences = configDifferences(there, here);
  if (differences.length === 0) return;
  throw new ConfigError(`${path} was trained otherwise: ${differences.join("; ")}`, {
    where: `${path}/run.json`,
    fix: "leave the flag out: the run knows its own",
  });
}

/** Flags of each such command. */
export const openFlags = {
  checkpoint: flag("run", "which weights; run: those that the run's own table is made from", {
    choices: ["run", "last", "best"],
  }),
  dataset: flag(
    "",
    "another kind of data set than the run's: cirr, fashioniq or folder; with --data or --store",
  ),
  data: flag("", "the data set's folder, in place of the run's data"),
  store: flag("", "the feature store, in place of the run's data"),
  weights: flag("", "the published checkpoint, in place of the experiment's --weights"),
  experiment: flag("", "file of the experiment, where it is not where the run found it"),
  ...modelFlags,
};

/** A folder and a store name the same data: the one that is given takes the place of the run's other one. */
const INSTEAD: Readonly<Record<string, string>> = { data: "store", store: "data" };

/** An experiment of one data set trains on that alone; measured it may be on any. */
const specOf = (flags: FlagSpecs, name: string): FlagSpec =>
  name === "dataset" && flags[name].choices ? { ...flags[name], choices: DATASET_KINDS } : flags[name];

/** Values in place of those of the run's configuration; empty ones are none. */
export const overridesOf = ({ flags }: Experiment, values: Readonly<Record<string, string>>): StoredConfig =>
  Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== "").flatMap(([name, value]) => {
      const other = INSTEAD[name] ?? "";
      const replaced = Object.hasOwn(flags, other) && !values[other] ? [[other, flags[other].default]] : [];
      return [...replaced, [
        name,
        Object.hasOwn(flags, name) ? parseValue(name, specOf(flags, name), value) : value,
      ]];
    }),
  );

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
  checkModel(path, manifest, others);
  const { dataset, data, store, weights } = others;
  const opened = await openExperiment(experiment || manifest.source);
  const overrides = overridesOf(opened, { dataset, data, store, weights });
  const options = { overrides, gallery, ...(checkpoint === "run" ? {} : { checkpoint }) };
  return await OpenedRun.open(opened, path, manifest, options, progress);
}

/** Where a command writes what it does not put into the run's own results. @throws {ConfigError} If `out` is empty. */
export function checkedOut(out: string): string {
  if (out) return folderOf(out);
  throw new ConfigError('--out: expected a folder, got ""');
}
