/** An experiment as a command: flags, run folder, training or going on, the table. */
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { runCommand } from "../core/command.ts";
import { env } from "../core/env.ts";
import { ConfigError } from "../core/errors.ts";
import { type FlagSpecs, type FlagValues, helpText, parseFlags, withDefaults } from "../core/flags.ts";
import type { Embeddings } from "../nn/frame.ts";
import type { ExperimentData } from "./batch.ts";
import { cometAccount } from "./comet.ts";
import {
  type ConfigOf,
  type ExperimentFlags,
  runFlags,
  type StoredConfig,
  type TrainingConfig,
  withTrainingFlags,
} from "./config.ts";
import { Progress } from "./progress.ts";
import { readResults, showResult } from "./results.ts";
import { RunFolder, type RunRequest } from "./run.ts";
import type { AnyFunctions, ExperimentFunctions, Model } from "./session.ts";
import { type RunOptions, trainRun } from "./train.ts";

/** An experiment: `experiment` makes it, the tasks run it. */
export class Experiment {
  /** The file's name without its ending: the folder of its runs. */
  readonly name: string;
  /** The file, as a path from the working directory where it lies below it. */
  readonly source: string;
  readonly functions: AnyFunctions;
  /** Its configuration's flags, those of every training among them. */
  readonly flags: FlagSpecs;
  readonly #url: string;

  constructor(url: string, flags: FlagSpecs, functions: AnyFunctions) {
    const path = fileURLToPath(url), below = relative(Deno.cwd(), path);
    this.source = (below.startsWith("..") ? path : below).replaceAll("\\", "/");
    this.name = (this.source.split("/").at(-1) ?? "").replace(/\.[jt]s$/, "");
    this.functions = functions;
    this.#url = url;
    this.flags = withTrainingFlags(flags);
  }

  /** The experiment's own text. */
  sourceText(): Promise<string> {
    return Deno.readTextFile(new URL(this.#url));
  }

  /**
   * Trains by a command line: a new run, or one that goes on; of a run that is done it prints the table. The table goes
   * to stdout, then where the run folder is, then, with `--json`, the results as one object.
   *
   * @param signal Ctrl-C: saves a checkpoint and returns.
   * @throws {ConfigError} If a flag is wrong, or the run has another configuration or is in use.
   */
  async train(argv: readonly string[], signal: AbortSignal): Promise<void> {
    const { values, positionals, help } = parseFlags({ ...this.flags, ...runFlags }, argv);
    if (help) return console.log(this.#help());
    if (positionals.length > 0) {
      throw new ConfigError(`unexpected argument "${positionals[0]}"`, {
        fix: "flags begin with --; --help lists them",
      });
    }
    const { name, out, fresh, json, logEvery, ...flags } = values as FlagValues<typeof runFlags>;
    const config = this.configFrom(values);
    const comet = cometAccount({
      workspace: flags.workspace,
      apiKey: flags.apiKey || (flags.workspace && env("CALA_COMET_API_KEY")),
      url: env("CALA_COMET_URL"),
    });
    let path: string | undefined;
    {
      using progress = new Progress();
      path = await this.run({ out, config, name, isFresh: fresh }, { logEvery, signal, progress, comet });
    }
    if (path === undefined) return;
    const result = await readResults(path);
    console.log(`${showResult(result)}\n\nrun folder: ${path}`);
    if (json) console.log(JSON.stringify(result));
  }

  /**
   * Trains a run, or goes on with it; one that is done is left as it is.
   *
   * @returns The run's folder; nothing if `signal` ended it: the same call goes on.
   * @throws {ConfigError} If the run has another configuration or is in use, or a value of it is wrong.
   */
  async run(
    request: Omit<RunRequest, "experiment"> & { readonly config: TrainingConfig },
    options: Omit<RunOptions, "run" | "config">,
  ): Promise<string | undefined> {
    using run = await RunFolder.open({ ...request, experiment: this.name });
    if (run.manifest?.status === "done") return run.path;
    const { signal, progress } = options;
    try {
      const isDone = await trainRun(this, { ...options, run, config: request.config });
      return isDone ? run.path : undefined;
    } catch (error) {
      if (signal.aborted && error === signal.reason) {
        progress.note(`${run.path}: interrupted; the same command goes on`);
        return undefined;
      }
      // What ended the run is what the user has to see, also where the disk is too full to note it.
      await run.end("failed", error instanceof Error ? error.message : String(error)).catch(() => {});
      throw error;
    }
  }

  /** The configuration that some values of flags give, the others at their defaults. */
  configFrom(values: StoredConfig = {}): TrainingConfig {
    return withDefaults(this.flags, values) as TrainingConfig; // the flags' types were checked when they were parsed
  }

  #help(): string {
    return `deno task train ${this.source} [--flags]

Trains ${this.name}. The same command goes on with a run that was interrupted, and prints the table of one that is done.

The configuration; it names the run:
${helpText(this.flags).split("\n").slice(0, -1).join("\n")}

The run:
${helpText(runFlags)}`;
  }
}

/**
 * Defines an experiment. Its file is a command by itself (`deno run -A experiments/demo.ts --seed 1`) and one that
 * `deno task train` runs; each flag of `config` is a flag of the command.
 *
 * @param meta `import.meta` of the file.
 * @param config Typed flags; `seed`, `batchSize`, and `steps` or `epochs` among them.
 * @param functions What varies between methods: data, model, encode, loss, optimizer.
 */
export function experiment<
  C extends ExperimentFlags,
  D extends ExperimentData,
  M extends Model,
  E extends Embeddings,
>(
  meta: Pick<ImportMeta, "url" | "main">,
  config: C,
  functions: ExperimentFunctions<ConfigOf<C>, D, M, E>,
): Experiment {
  // From here on the types of this one experiment do not matter: its functions only meet their own values.
  const defined = new Experiment(meta.url, config, functions as unknown as AnyFunctions);
  if (meta.main) void runCommand((argv, signal) => defined.train(argv, signal), { savesOnInterrupt: true });
  return defined;
}
