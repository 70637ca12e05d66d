/** Trains every row of a table of results with several seeds, and writes the table. */
import { parseCommand, printJson, runCommand } from "../lib/core/command.ts";
import { ConfigError } from "../lib/core/errors.ts";
import { flag } from "../lib/core/flags.ts";
import { formatDuration } from "../lib/core/format.ts";
import { Progress } from "../lib/train/progress.ts";
import { openExperiment } from "./experiments.ts";
import { doneManifest, type Job, jobsOf, trainJob } from "./reproduce/jobs.ts";
import { openTable } from "./reproduce/open_table.ts";
import { probe, runMs } from "./reproduce/probe.ts";
import { writeTable } from "./reproduce/write_table.ts";
import type { Experiment } from "../lib/train/experiment.ts";

const spec = {
  name: "reproduce",
  summary:
    `Trains every row of a table with several seeds and compares them: mean and spread over seeds, intervals over
queries, paired tests, also by rule. The same command goes on after an interruption; runs that are done are used again.
The table is written beside the runs: OUT/TABLE.txt, .md, .json, .csv and _tests.csv.`,
  flags: {
    table: flag("demo", "demo, or a file that exports a table: copy tasks/reproduce/demo.ts"),
    seeds: flag(3, "seeds of each row; rows may ask for fewer", { integer: true, min: 1 }),
    steps: flag(0, "optimiser steps of each run; 0: as the experiment has it", { integer: true, min: 0 }),
    ablate: flag("", "also the rows of this ablation (demo: scale)"),
    out: flag("runs/reproduce", "folder of the runs and the table"),
    done: flag(false, "trains nothing: the table of the runs that are done"),
    json: flag(false, "last line of stdout: every number as one JSON object"),
    logEvery: flag(250, "steps between two lines of progress where stderr is no terminal", {
      integer: true,
      min: 1,
    }),
  },
};

async function reproduce(argv: readonly string[], signal: AbortSignal): Promise<void> {
  const args = parseCommand(spec, argv);
  if (!args) return;
  const { table: which, ablate, out, done, json, logEvery } = args.values;
  if (!out) throw new ConfigError('--out: expected a folder, got ""');
  const table = await openTable(which);
  const ablations = [...new Set(table.rows.flatMap(({ ablation }) => ablation ?? []))];
  if (ablate && !ablations.includes(ablate)) {
    throw new ConfigError(`--ablate: ${table.name} has no ablation "${ablate}"`, {
      fix: `it has: ${ablations.join(", ") || "none"}`,
    });
  }
  const experiment = await openExperiment(table.experiment);
  const jobs = jobsOf(table, experiment, args.values);
  const pending: Job[] = [];
  for (const job of jobs) if (!await doneManifest(job)) pending.push(job);
  using progress = new Progress();
  progress.note(`${jobs.length} runs in ${out}/${experiment.name}: ${jobs.length - pending.length} are done`);
  if (!done) await trainAll(experiment, pending, { out, logEvery, signal, progress });
  if (signal.aborted) return;
  const { text, files, comparisons } = await writeTable(table, jobs, out);
  console.log(`${text}\n\ntable: ${files.join(", ")}`);
  if (json) printJson({ comparisons });
}

/** Trains what is not done. Says before how long it will take, and after each run what is left. */
async function trainAll(
  experiment: Experiment,
  pending: readonly Job[],
  options: { out: string; logEvery: number; signal: AbortSignal; progress: Progress },
): Promise<void> {
  const { progress } = options;
  const expected = new Map<string, number>(); // by row, in ms
  for (const { row, config } of pending) {
    if (expected.has(row.name)) continue;
    progress.live(`timing a few steps of ${row.label}`);
    const timed = await probe(experiment, config, options), ms = runMs(timed, config);
    progress.note(
      `${row.label}: ${formatDuration(timed.stepMs)} a step, about ${formatDuration(ms)} a run (measured)`,
    );
    expected.set(row.name, ms);
  }
  const msOf = (jobs: readonly Job[]) =>
    jobs.reduce((sum, { row }) => sum + (expected.get(row.name) ?? 0), 0);
  if (pending.length > 0) {
    progress.note(`${pending.length} runs to train: about ${formatDuration(msOf(pending))} on this machine`);
  }
  const begin = performance.now();
  for (const [i, job] of pending.entries()) {
    const rate = i > 0 ? (performance.now() - begin) / msOf(pending.slice(0, i)) : 1; // slower or faster than timed
    const left = formatDuration(rate * msOf(pending.slice(i)));
    progress.note(
      `run ${i + 1} of ${pending.length}: ${job.row.label}, seed ${job.seed}; about ${left} left for all`,
    );
    if (!await trainJob(experiment, job, options)) {
      progress.note("interrupted; the same command goes on, --done makes the table of what is there");
      return;
    }
  }
}

if (import.meta.main) await runCommand(reproduce, { savesOnInterrupt: true });
