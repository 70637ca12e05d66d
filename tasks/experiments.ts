/** Finds experiments by name or by file. */
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ConfigError } from "../lib/core/errors.ts";
import { nearestName } from "../lib/core/format.ts";
import { Experiment } from "../lib/train/experiment.ts";

const folder = new URL("../experiments/", import.meta.url);

/** Names of the experiments that come with the toolkit. */
export const experimentNames = (): string[] =>
  [...Deno.readDirSync(fileURLToPath(folder))].flatMap(({ name }) =>
    name.endsWith(".ts") ? [name.slice(0, -3)] : []
  ).sort();

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
      fix: `${near ? `did you mean "${near}"? ` : ""}there are ${
        names.join(", ")
      }; or name a file: ./${which}.ts`,
    });
  }
  const url = isPath ? pathToFileURL(resolve(which)) : new URL(`${which}.ts`, folder);
  try {
    await Deno.stat(url);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) throw new ConfigError(`${which}: no such file`, { cause });
    throw cause;
  }
  const { default: found }: { default?: unknown } = await import(url.href);
  if (found instanceof Experiment) return found;
  throw new ConfigError(`${which}: no experiment`, {
    fix: "write: export default experiment(import.meta, config, { ... })",
  });
}
