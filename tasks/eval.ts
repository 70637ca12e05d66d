/** Measures the checkpoint of a run anew: the table again, from the weights. */
import { ConfigError } from "../lib/core/errors.ts";
import { flag } from "../lib/core/flags.ts";
import { showResult } from "../lib/train/results.ts";
import { readManifest } from "../lib/train/run.ts";
import { parseCommand, printJson, runCommand } from "../lib/core/command.ts";
import { openExperiment } from "./experiments.ts";

const spec = {
  name: "eval",
  summary:
    "Measures a run's checkpoint anew and prints its table. RUN is a run's folder: runs/EXPERIMENT/NAME.",
  flags: {
    checkpoint: flag("run", "which weights; run: those that the run's own table is made from", {
      choices: ["run", "last", "best"],
    }),
    experiment: flag("", "file of the experiment, where it is not where the run found it"),
    json: flag(false, "last line of stdout: the results as one JSON object"),
  },
  positionals: { usage: "RUN", min: 1, max: 1 },
};

async function evaluate(argv: readonly string[]): Promise<void> {
  const args = parseCommand(spec, argv);
  if (!args) return;
  const [run] = args.positionals, { checkpoint, experiment, json } = args.values;
  const path = run.replace(/[/\\]+$/, "");
  const manifest = await readManifest(path);
  const found = await openExperiment(experiment || manifest.source);
  if (found.name !== manifest.experiment) {
    throw new ConfigError(`${path} is a run of "${manifest.experiment}", ${found.source} is "${found.name}"`);
  }
  const result = await found.evaluate(path, manifest, checkpoint === "run" ? {} : { checkpoint });
  console.log(showResult(result));
  if (json) printJson(result);
}

if (import.meta.main) await runCommand(evaluate);
