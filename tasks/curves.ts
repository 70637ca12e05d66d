/** Draws the curves of a run anew: what training does by itself, for runs without npm packages, and as PNG. */
import { parseCommand, runCommand } from "../lib/core/command.ts";
import { flag } from "../lib/core/flags.ts";
import { writeFileAtomic } from "../lib/io/atomic.ts";
import { svgToPng } from "../lib/report/plot.ts";
import { curvesOf } from "../lib/train/curves.ts";

const spec = {
  name: "curves",
  summary:
    "Draws a run's loss terms and validation Recall into its curves.svg. RUN is a run's folder: runs/EXPERIMENT/NAME.",
  flags: { png: flag("", "also write the picture into this file, as PNG") },
  positionals: { usage: "RUN", min: 1, max: 1 },
};

async function curves(argv: readonly string[]): Promise<void> {
  const args = parseCommand(spec, argv);
  if (!args) return;
  const run = args.positionals[0].replace(/[/\\]+$/, ""), { png } = args.values;
  const svg = await curvesOf(run), path = `${run}/curves.svg`;
  await writeFileAtomic(path, svg);
  console.log(path);
  if (png) {
    await writeFileAtomic(png, await svgToPng(svg));
    console.log(png);
  }
}

if (import.meta.main) await runCommand(curves);
