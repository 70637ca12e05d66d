/** Trains an experiment; without an argument, the demo. */
import { runCommand } from "../lib/core/command.ts";
import { experimentNames, experimentOf, openExperiment } from "./experiments.ts";

const help = `deno task train [EXPERIMENT] [--flags]

Trains an experiment, by its name or its file, or as the released flags choose one: --dataset cirr|fashioniq|folder,
--encoder-arch blip2|clip, --cir-frame sum|artemis, --combining-function combiner. Without any of these, the demo. At the end it prints the Recall table and where
the run folder is. The same command goes on with a run that was interrupted. Ctrl-C saves.
"deno task train EXPERIMENT --help" lists an experiment's flags.

Experiments:`;

if (import.meta.main) {
  await runCommand(async (argv, interrupted) => {
    const hasName = argv.length > 0 && !argv[0].startsWith("-");
    if (!hasName && argv.some((flag) => flag === "--help" || flag === "-h")) {
      console.log(`${help}\n${experimentNames().map((name) => `  ${name}`).join("\n")}\n`);
    }
    const found = await openExperiment(hasName ? argv[0] : experimentOf(argv));
    await found.train(hasName ? argv.slice(1) : argv, interrupted);
  }, { savesOnInterrupt: true });
}
