/** Measures the checkpoint of a run anew: the table again, from the weights; also on other data or another gallery. */
import { parseCommand, printJson, runCommand } from "../lib/core/command.ts";
import { ConfigError } from "../lib/core/errors.ts";
import { flag, type FlagValues } from "../lib/core/flags.ts";
import type { SplitName } from "../lib/data/triplet.ts";
import type { RunResult } from "../lib/report/table.ts";
import type { OpenedRun } from "../lib/train/opened_run.ts";
import { Progress } from "../lib/train/progress.ts";
import {
  measure,
  readBefore,
  reportedSplits,
  resultOf,
  saveResults,
  showResult,
} from "../lib/train/results.ts";
import { openFlags, openRun } from "./opened.ts";

const spec = {
  name: "eval",
  summary:
    `Measures a run's checkpoint anew, prints its table and writes results and rankings: into the run's folder where
all is as the run itself measures, else into its folder eval/. RUN is a run's folder: runs/EXPERIMENT/NAME.`,
  flags: {
    split: flag("all", "the queries; all: of every split whose targets are public", {
      choices: ["all", "val", "test"],
    }),
    gallery: flag(
      "original",
      "FashionIQ: a category's whole split, or only candidates and targets of its queries",
      {
        choices: ["original", "union"],
      },
    ),
    ...openFlags,
    json: flag(false, "last line of stdout: the results as one JSON object"),
  },
  positionals: { usage: "RUN", min: 1, max: 1 },
};

type EvalFlags = Omit<FlagValues<typeof spec.flags>, "json">;

/** The splits to measure. @throws {ConfigError} If one has no queries, or its targets are secret. */
function splitsOf(run: OpenedRun, name: "all" | "val" | "test") {
  const reported = reportedSplits(run.data);
  if (name === "all" && reported.length > 0) return reported;
  const only = reported.find(([split]) => split === name);
  if (only) return [only];
  const asked: SplitName = name === "all" ? "val" : name;
  run.split(asked);
  const { dataset: { name: data, splits } } = run.data, hasServer = splits[asked].triplets[0].group;
  throw new ConfigError(`--split ${asked}: the targets of ${data} are secret there`, {
    fix: hasServer
      ? "deno task submit writes the files that its server measures"
      : "measure val: --split val",
  });
}

/** Measures, and writes what was measured. */
async function measureRun(
  which: string,
  { split, gallery, ...flags }: EvalFlags,
  signal: AbortSignal,
): Promise<{ result: RunResult; folder: string }> {
  using progress = new Progress();
  using run = await openRun(which, flags, gallery, progress);
  const { data, evaluator, path, manifest, checkpoint } = run, { dataset } = data;
  const splits = splitsOf(run, split);
  progress.live(`ranking ${splits.map(([name]) => name).join(" and ")}`);
  const measured = await measure(evaluator, data, evaluator.kinds, signal, splits);
  const isSameData = dataset.hash === manifest.dataset.hash, isOwnData = isSameData && gallery === "original";
  const isOwn = isOwnData && split === "all" && checkpoint === manifest.config.tableFrom;
  const result = resultOf(path, data, measured, isOwnData ? await readBefore(path) : undefined);
  let folder = path;
  if (!isOwn || manifest.status !== "done") {
    const name = [checkpoint, ...(gallery === "union" ? ["union"] : []), ...(split === "all" ? [] : [split])];
    if (!isSameData) name.push(dataset.name, dataset.hash.slice(0, 8));
    folder = `${path}/eval/${name.join("-").replaceAll(/[^\w.-]+/g, "_")}`;
    await Deno.mkdir(folder, { recursive: true });
  }
  await saveResults(folder, result, measured, data);
  return { result, folder };
}

async function evaluate(argv: readonly string[], signal: AbortSignal): Promise<void> {
  const args = parseCommand(spec, argv);
  if (!args) return;
  const { json, ...flags } = args.values;
  const { result, folder } = await measureRun(args.positionals[0], flags, signal);
  console.log(`${showResult(result)}\n\nresults: ${folder}`);
  if (json) printJson(result);
}

if (import.meta.main) await runCommand(evaluate);
