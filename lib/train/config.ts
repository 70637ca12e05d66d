/** The flags of an experiment, and the hash that names a run of it. */
import { ConfigError } from "../core/errors.ts";
import { flag, type FlagSpec, type FlagSpecs, type FlagValues, kebabCase } from "../core/flags.ts";
import { sha256Hex } from "../io/atomic.ts";

/** What an experiment must let one set. How long it trains is given as `steps` or as `epochs`. */
export type ExperimentFlags =
  & FlagSpecs
  & { readonly seed: FlagSpec<number>; readonly batchSize: FlagSpec<number> }
  & ({ readonly steps: FlagSpec<number> } | { readonly epochs: FlagSpec<number> });

/** Flags that every experiment has; its own table may hold one of them with another default. Part of the configuration. */
export const trainingFlags = {
  evalEvery: flag(
    0,
    "steps (epochs, where the experiment counts in epochs) between validations; 0: at the end only",
    {
      integer: true,
      min: 0,
    },
  ),
  bestBy: flag("R@10", "the composed validation metric that picks the best checkpoint"),
  memory: flag(
    "plain",
    "what a step does to take less memory: recompute computes each layer twice instead of keeping it; gradcache " +
      "runs the encoders twice, in micro-batches. The losses and gradients stay the same",
    { choices: ["plain", "recompute", "gradcache"] },
  ),
  microBatch: flag(8, "triplets that gradcache encodes at once; divides a batch that is larger", {
    integer: true,
    min: 1,
  }),
  tableFrom: flag("last", "the checkpoint that the table is made from", { choices: ["last", "best"] }),
};

/** Flags of a run that change no number: not part of the configuration. */
export const runFlags = {
  name: flag("", "name of the run (default: 8 hex digits of its configuration's hash)", {
    also: ["experiment-name"],
  }),
  out: flag("runs", "folder of all runs"),
  fresh: flag(false, "start anew beside a run of this name, under the next number"),
  json: flag(false, "last line of stdout: the results as one JSON object"),
  workspace: flag("", "also log to this workspace of Comet; the key is CALA_COMET_API_KEY or --api-key"),
  apiKey: flag(
    "",
    "key of Comet; other users of the machine can see a command line, the variable they cannot",
  ),
  logEvery: flag(50, "steps between two lines of progress that stay", {
    integer: true,
    min: 1,
  }),
};

/** The values of an experiment's flags. */
export type ConfigOf<C extends FlagSpecs> = FlagValues<Omit<typeof trainingFlags, keyof C> & C>;

/** A configuration as files hold it. */
export type StoredConfig = Readonly<Record<string, string | number | boolean>>;

/** The values that the train layer itself reads of a configuration. */
export type TrainingConfig = StoredConfig & {
  readonly seed: number;
  readonly batchSize: number;
  readonly evalEvery: number;
  readonly bestBy: string;
  readonly memory: "plain" | "recompute" | "gradcache";
  readonly microBatch: number;
  readonly tableFrom: "last" | "best";
  /** False: the initial weights are not measured. */
  readonly validateFirst?: boolean;
  /** True: validations during training have dropout, as the released code's (quirk Q12). */
  readonly trainModeValidation?: boolean;
};

/**
 * An experiment's whole table of flags.
 *
 * @throws {ConfigError} If the experiment names a flag that belongs to every run.
 */
export function withTrainingFlags<C extends FlagSpecs>(config: C): Omit<typeof trainingFlags, keyof C> & C {
  const taken = Object.keys(config).find((name) => name in runFlags);
  if (taken) {
    throw new ConfigError(`the experiment's flag "${taken}" is a flag of every run`, {
      fix: "give it another name",
    });
  }
  return { ...config, ...trainingFlags, ...config }; // twice: the experiment's own come first and hold
}

/**
 * The hash of a configuration: SHA-256 over the experiment's name and the values, ordered by name.
 *
 * @example Usage
 * ```ts
 * const hash = configHash("demo", { seed: 1, lr: 0.002 });
 * if (hash !== configHash("demo", { lr: 0.002, seed: 1 })) throw new Error("configHash");
 * ```
 */
export function configHash(experiment: string, config: StoredConfig): string {
  const ordered = Object.keys(config).sort().map((name) => [name, config[name]]);
  return sha256Hex(JSON.stringify([experiment, ordered]));
}

/** Where two configurations differ, as flags: `--lr is 0.002 there, 0.001 here`. */
export function configDifferences(there: StoredConfig, here: StoredConfig): string[] {
  const show = (value: string | number | boolean | undefined) =>
    value === undefined ? "absent" : JSON.stringify(value);
  return [...new Set([...Object.keys(there), ...Object.keys(here)])]
    .filter((name) => there[name] !== here[name])
    .map((name) => `--${kebabCase(name)} is ${show(there[name])} there, ${show(here[name])} here`);
}
