/** Trains every row of a table of results with several seeds, and writes the table. */
import { parseCommand, printJson, runCommand } from "../lib/core/command.ts";
import { ConfigError } from "../lib/core/errors.ts";
import { flag, type FlagSpecs, valueOf } from "../lib/core/flags.ts";
import { formatDuration } from "../lib/core/format.ts";
import { Progress } from "../lib/train/progress.ts";
import { doneManifest, type Job, jobsOf } from "./reproduce/jobs.ts";
import { chooseRows, openTable } from "./reproduce/open_table.ts";
import { probe, runMs } from "./reproduce/probe.ts";
import { writeTable } from "./reproduce/write_table.ts";

const ownFlags = {
  table: flag("demo", "a name in experiments/tables, or a file: copy experiments/tables/demo.ts"),
  rows: flag("", "only these rows, by their names: baseline,cala (default: all)"),
  seeds: flag(3, "seeds of each row, from --seed upwards; rows may ask for fewer", { integer: true, min: 1 }),
  out: flag("runs/reproduce", "folder of the runs and the table"),
  done: flag(false, "trains nothing: the table of the runs that are done"),
  json: flag(false, "last line of stdout: every number as one JSON object"),
  logEvery: flag(250, "steps between two lines of progress that stay", {
    integer: true,
    min: 1,
  }),
};

const spec = {
  name: "reproduce",
  summary:
    `Trains every row of a table with several seeds and compares them: mean and spread over seeds, intervals over
queries, paired tests, also by rule. The same command goes on after an interruption; runs that are done are used again.
The table is written beside the runs: OUT/TABLE.txt, .md, .json, .csv and _tests.csv.
After the flags of this command come those of the table's experiments: they hold for every row.`,
};

async function reproduce(argv: readonly string[], signal: AbortSignal): Promise<void> {
  const table = await openTable(valueOf("table", ownFlags.table, argv));
  // Those that every row knows: one that some do not would leave the others as they are.
  const [first, ...others] = table.rows.map(({ opened }) => opened.flags);
  const shared: FlagSpecs = Object.fromEntries(
    Object.entries(first).filter(([name]) => others.every((flags) => name in flags)),
  );
  const args = parseCommand({ ...spec, flags: { ...shared, ...ownFlags } }, argv);
  if (!args) return;
  const { rows: names, seeds, out, done, json, logEvery } = args.values;
  if (!out) throw new ConfigError('--out: expected a folder, got ""');
  const rows = chooseRows(table, names.split(",").filter(Boolean));
  const given = new Set<string>(args.given);
  const flags = Object.entries(args.values).filter(([name]) => given.has(name) && !(name in ownFlags));
  const jobs = jobsOf(rows, Object.fromEntries(flags), { out, seeds });
  const pending: Job[] = [];
  for (const job of jobs) if (!await doneManifest(job)) pending.push(job);
  using progress = new Progress();
  progress.note(`${jobs.length} runs in ${out}: ${jobs.length - pending.length} are done`);
  if (!done) await trainAll(pending, { out, logEvery, signal, progress });
  if (signal.aborted) return;
  const { text, files, comparisons } = await writeTable(table, jobs, out);
  console.log(`${text}\n\ntable: ${files.join(", ")}`);
  if (json) printJson({ comparisons });
}

/** Trains what is not done. Says before how long it will take, and after each run what is left. */
async function trainAll(
  pending: readonly Job[],
  { out, ...options }: { out: string; logEvery: number; signal: AbortSignal; progress: Progress },
): Promise<void> {
  const { progress } = options;
  const expected = new Map<string, number>(); // by row, in ms
  for (const { row, config } of pending) {
    if (expected.has(row.name)) continue;
    if (pending.some((job) => job.row === row.firstStageRow)) {
      progress.note(`${row.label}: not timed, its first stage is not trained`);
      expected.set(row.name, NaN);
      continue;
    }
    progress.live(`timing a few steps of ${row.label}`);
    const timed = await probe(row.opened, config, options), ms = runMs(timed);
    progress.note(
      `${row.label}: ${formatDuration(timed.stepMs)} a step, about ${formatDuration(ms)} a run (measured)`,
    );
    expected.set(row.name, ms);
  }
  const msOf = (jobs: readonly Job[]) =>
    jobs.reduce((sum, { row }) => sum + (expected.get(row.name) || 0), 0); // NaN: not timed
  const all = [...expected.values()].some(Number.isNaN) ? "those that were timed" : "all";
  if (pending.length > 0) {
    const time = formatDuration(msOf(pending));
    progress.note(
      `${pending.length} runs to train: about ${time} ${all === "all" ? "" : `for ${all} `}on this machine`,
    );
  }
  const begin = performance.now();
  for (const [i, { row, seed, config, name }] of pending.entries()) {
    const rate = i > 0 ? (performance.now() - begin) / msOf(pending.slice(0, i)) : 1; // slower or faster than timed
    const left = formatDuration(rate * msOf(pending.slice(i)));
    progress.note(
      `run ${i + 1} of ${pending.length}: ${row.label}, seed ${seed}; about ${left} left for ${all}`,
    );
    if (!await row.opened.run({ out, config, name, isFresh: false }, options)) {
      progress.note("interrupted; the same command goes on, --done makes the table of what is there");
      return;
    }
  }
}

if (import.meta.main) await runCommand(reproduce, { savesOnInterrupt: true });
