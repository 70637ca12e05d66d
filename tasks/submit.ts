/** Writes the two files that CIRR's server measures, and checks such files, one's own or anybody's. */
import { note, parseCommand, printJson, runCommand } from "../lib/core/command.ts";
import { ConfigError, DataError } from "../lib/core/errors.ts";
import { flag, type FlagValues } from "../lib/core/flags.ts";
import type { Dataset } from "../lib/data/triplet.ts";
import { readDataset } from "../lib/data/open.ts";
import { writeFileAtomic } from "../lib/io/atomic.ts";
import {
  checkSubmission,
  SUBMISSION_LENGTH,
  type SubmissionCheck,
  type SubmissionData,
  type SubmissionMetric,
  submissionText,
} from "../lib/report/submission.ts";
import { galleryImages } from "../lib/train/evaluate.ts";
import { Progress } from "../lib/train/progress.ts";
import { rankingsPath, saveRankings } from "../lib/train/rankings.ts";
import { protocolOf } from "../lib/train/results.ts";
import { checkedOut, folderOf, openFlags, openRun } from "./opened.ts";

const spec = {
  name: "submit",
  summary:
    `Ranks CIRR's test1 with a run's checkpoint and writes the two files that CIRR's server takes, and checks them:
recall_submission_NAME.json (the first 50 of each ranking) and recall_subset_submission_NAME.json (the first 3 of each
group). The reference is left out of both. With --check it only checks: deno task submit --check FILE [FILE] [--data DIR].`,
  flags: {
    check: flag(false, "check files instead of writing them; exit 1 if the server would refuse one"),
    submissionName: flag("", "NAME in the files' names; default: the experiment's and the run's"),
    out: flag("", "folder of the files; default: the run's folder submission/"),
    ...openFlags,
    data: flag("", `${openFlags.data.help}; with --check, to compare ids and names with its annotations`),
    json: flag(false, "last line of stdout: the files and what is wrong with them as one JSON object"),
  },
  positionals: { usage: "RUN | --check FILE [FILE]", min: 1, max: 2 },
};
type SubmitFlags = FlagValues<typeof spec.flags>;

/** Problems that are shown of a file. */
const SHOWN = 20;

/** A file and what is wrong with it. */
interface CheckedFile extends SubmissionCheck {
  readonly file: string;
}

/** The files' names in a folder. */
const fileOf = (folder: string, metric: SubmissionMetric, name: string): string =>
  `${folder}/${metric}_submission_${name}.json`;

/** Ranks, writes, and reads again what was written. */
async function submit(
  which: string,
  { submissionName, out, ...flags }: SubmitFlags,
  signal: AbortSignal,
): Promise<CheckedFile[]> {
  using progress = new Progress();
  using run = await openRun(which, flags, "original", progress);
  const { dataset } = run.data, split = run.split("test");
  const strange = split.triplets.findIndex(({ pairId, group }) => pairId === undefined || !group);
  if (strange >= 0) {
    throw new ConfigError(`${dataset.name}: test query ${strange} has no pair id or no group`, {
      fix: "submit is for CIRR",
    });
  }
  if (run.data.keepsReference) {
    throw new ConfigError("the reference is kept in the ranking; CIRR's server wants it left out");
  }
  progress.live("ranking test1");
  const rankings = await run.evaluator.rank(split, ["composed"], signal);
  const ranking = rankings.get("composed");
  if (!ranking) throw new ConfigError("the frame has no composed queries");
  const names = (images: readonly number[]) => images.map((image) => dataset.images[image].name);
  const lists = { recall: ranking.top, recall_subset: ranking.groups };
  const folder = out === "" ? `${run.path}/submission` : checkedOut(out);
  const name = submissionName || `${run.manifest.experiment}_${run.manifest.name}`;
  if (!/^[\w.-]+$/.test(name)) {
    throw new ConfigError(`--submission-name: expected letters, digits and . _ -, got "${name}"`);
  }
  await Deno.mkdir(folder, { recursive: true });
  await saveRankings(rankingsPath(folder, "test"), dataset, protocolOf(run.data), "test", rankings);
  const files = [];
  for (const metric of ["recall", "recall_subset"] as const) {
    const answers = split.triplets.map(({ pairId }, q): [string, string[]] => [
      String(pairId),
      names((lists[metric][q] ?? []).slice(0, SUBMISSION_LENGTH[metric])),
    ]);
    const file = fileOf(folder, metric, name);
    await writeFileAtomic(file, submissionText(metric, new Map(answers)));
    files.push(await checkFile(file, submissionDataOf(dataset)));
  }
  return files;
}

/** The test split of an open data set. */
const submissionDataOf = ({ images, splits: { test } }: Dataset): SubmissionData => ({
  queries: test.triplets.map(({ pairId, reference, group = [] }) => ({
    pairId: String(pairId),
    reference: images[reference].name,
    members: group.map((image) => images[image].name),
  })),
  gallery: new Set(galleryImages(test).map((image) => images[image].name)),
});

/** The same from CIRR's annotations alone: the images need not be there. */
async function annotatedData(root: string): Promise<SubmissionData> {
  const { triplets, galleries } =
    (await readDataset({ dataset: "cirr", root, splits: ["test"] })).splits.test;
  if (triplets.length === 0) throw new ConfigError(`--data: ${root} has no annotations of test1`);
  return {
    queries: triplets.map(({ pairId, reference, group = [] }) => ({
      pairId: String(pairId),
      reference,
      members: group,
    })),
    gallery: new Set([...galleries.values()].flat()),
  };
}

async function checkFile(file: string, data?: SubmissionData): Promise<CheckedFile> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new DataError(`${file}: no such file`, { fix: "name the files to check", cause });
  }
  return { file, ...checkSubmission(text, data) };
}

/** Two files must be the two metrics. */
function checkPair(files: readonly CheckedFile[]): CheckedFile[] {
  const [first, second] = files;
  if (!second || first.metric === undefined || first.metric !== second.metric) return [...files];
  const problem = `both files have the metric "${first.metric}"; the server takes one of each`;
  return [first, { ...second, problems: [...second.problems, problem] }];
}

function show({ file, metric, queries, problems }: CheckedFile): string {
  if (problems.length === 0) return `${file}: ok, ${queries} queries, metric ${metric}`;
  const more = problems.length > SHOWN ? [`  and ${problems.length - SHOWN} more`] : [];
  return [`${file}: not in order`, ...problems.slice(0, SHOWN).map((text) => `  ${text}`), ...more].join(
    "\n",
  );
}

async function main(argv: readonly string[], signal: AbortSignal): Promise<number> {
  const args = parseCommand(spec, argv);
  if (!args) return 0;
  const { positionals, values } = args, { check, data, json } = values;
  if (!check && positionals.length > 1) {
    throw new ConfigError(`submit: one run, got ${positionals.join(" and ")}`);
  }
  let files: CheckedFile[];
  if (check) {
    const split = data ? await annotatedData(folderOf(data)) : undefined;
    if (!split) note("ids and names are not compared with the annotations; pass --data DIR to do so");
    files = checkPair(await Promise.all(positionals.map((file) => checkFile(file, split))));
  } else files = await submit(positionals[0], values, signal);
  console.log(files.map(show).join("\n"));
  const metrics = files.flatMap(({ metric }) => metric ?? []);
  if (metrics.length === 1) {
    const other = metrics[0] === "recall" ? "recall_subset" : "recall";
    console.log(`one of two files: the server wants one of metric ${other} as well`);
  }
  if (json) printJson({ files });
  return files.every(({ problems }) => problems.length === 0) ? 0 : 1;
}

if (import.meta.main) await runCommand(main);
