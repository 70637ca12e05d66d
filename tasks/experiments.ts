/** Finds experiments by name or by file. */
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ConfigError, isUserError } from "../lib/core/errors.ts";
import { flag, valueOf } from "../lib/core/flags.ts";
import { nearestName } from "../lib/core/format.ts";
import { Experiment } from "../lib/train/experiment.ts";

const folder = new URL("../experiments/", import.meta.url);

/** Names of the experiments that come with the toolkit. */
export const experimentNames = (): string[] =>
  [...Deno.readDirSync(fileURLToPath(folder))].flatMap(({ name }) =>
    name.endsWith(".ts") ? [name.slice(0, -3)] : []
  ).sort();

/**
 * The name of the experiment that the released flags choose: `--dataset`, `--encoder-arch`, and `--cir-frame` or
 * `--combining-function`. Without `--dataset`, the demo.
 *
 * @example Usage
 * ```ts
 * const name = experimentOf(["--dataset", "folder", "--encoder-arch", "clip", "--data", "shoes"]);
 * if (name !== "folder_clip_sum") throw new Error(name);
 * ```
 */
export function experimentOf(argv: readonly string[]): string {
  if (!argv.some((flag) => /^--dataset(=|$)/.test(flag))) return "demo";
  const [dataset, combining, frame] = (["dataset", "combiningFunction", "cirFrame"] as const)
    .map((name) => valueOf(name, chosen[name], argv));
  const isCombiner = combining === "combiner";
  const arch = valueOf(
    "encoderArch",
    { ...chosen.encoderArch, default: isCombiner ? "clip" : "blip2" },
    argv,
  );
  return `${dataset}_${arch}_${isCombiner ? combining : frame}`;
}

const chosen = {
  dataset: flag("cirr", "data set", { choices: ["cirr", "fashioniq", "folder"] }),
  encoderArch: flag("blip2", "architecture", { choices: ["blip2", "clip"] }),
  cirFrame: flag("sum", "frame", { choices: ["sum", "artemis"] }),
  combiningFunction: flag("sum", "the second stage", { choices: ["sum", "combiner"] }),
};

/**
 * Opens an experiment.
 *
 * @param which A name in `experiments/`, or the path of a file.
 * @throws {ConfigError} If there is none (the nearest name is told), or the file exports no experiment.
 */
export async function openExperiment(which: string): Promise<Experiment> {
  const names = experimentNames();
  const isPath = /[/\\]|\.[jt]s$/.test(which);
  if (!isPath && !names.includes(which)) {
    const near = nearestName(which, names);
    throw new ConfigError(`no experiment "${which}"`, {
      fix: `${near ? `did you mean "${near}"? ` : ""}there are: ${names.join(", ")}; or name a file: ./${
        which || "mine"
      }.ts`,
    });
  }
  const url = isPath ? pathToFileURL(resolve(which)) : new URL(`${which}.ts`, folder);
  try {
    if (!(await Deno.stat(url)).isFile) throw new ConfigError(`${which}: a folder, not an experiment's file`);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) throw new ConfigError(`${which}: no such file`, { cause });
    throw cause;
  }
  const { default: found } = await load(which, url);
  if (found instanceof Experiment) return found;
  throw new ConfigError(`${which}: no experiment`, {
    fix: "write: export default experiment(import.meta, config, { ... })",
  });
}

/** Loads a file. @throws {ConfigError} If it does not: a fault in it, with its place, or an import that is not found. */
async function load(which: string, url: URL): Promise<{ default?: unknown }> {
  try {
    return await import(url.href);
  } catch (cause) {
    if (isUserError(cause)) throw cause;
    const { message, stack = message } = cause instanceof Error ? cause : new Error(String(cause));
    const places = stack.match(/\bfile:[^\s()]+:\d+:\d+/g) ?? [];
    throw new ConfigError(`${which} does not load: ${message.split("\n")[0]}`, {
      where: places.find((place) => place.startsWith(url.href)),
      cause,
    });
  }
}
