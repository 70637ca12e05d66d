/** The dataset doctor: what a data set holds, what is wrong with it, and whether it can be trained on. */
import { parseCommand, printJson, runCommand } from "../lib/core/command.ts";
import { ConfigError, DataError } from "../lib/core/errors.ts";
import { flag } from "../lib/core/flags.ts";
import { formatCount } from "../lib/core/format.ts";
import { DATASET_KINDS, type DatasetKind, kindsIn } from "../lib/data/open.ts";
import { Progress } from "../lib/train/progress.ts";
import { captionFindings, publishedFindings, readAll, sharedImages } from "./data/annotation_findings.ts";
import { lengthFindings, textLengths } from "./data/caption_lengths.ts";
import type { Finding } from "./data/finding.ts";
import { type ImageReport, inspectImages } from "./data/image_findings.ts";
import { PUBLISHED } from "./data/published.ts";
import { findingsText, summarise, summaryTable } from "./data/summary.ts";

const spec = {
  name: "data",
  summary:
    `Checks a data set before it is trained on: counts beside the published ones, broken annotations, missing,
unreadable and duplicate images, the queries that this costs, captions that are empty or too long. DIR is the
folder of FashionIQ or CIRR, or the folder that this is in, or one of your own with triplets.json. Ends with 1 if
training could not run on it as it is.`,
  flags: {
    dataset: flag("auto", "which data set it is; auto: by its files", {
      choices: ["auto", ...DATASET_KINDS],
    }),
    images: flag(true, "look at the image files, not at the annotations alone"),
    decode: flag(
      false,
      "decode every image, which takes minutes; otherwise its first and last bytes are read",
    ),
    tokens: flag(true, "count the tokens of the captions"),
    all: flag(false, "list everything that was found, not only the first ten of each kind"),
    json: flag(false, "one JSON object on stdout: rows, findings, ok"),
  },
  positionals: { usage: "DIR", min: 1, max: 1 },
};

/** The kind that was asked for, or the one that is there. */
async function kindOf(root: string, asked: string): Promise<DatasetKind> {
  const found = await kindsIn(root), named = DATASET_KINDS.find((kind) => kind === asked);
  const wanted = named ? found.filter((kind) => kind === named) : found;
  if (wanted.length === 1) return wanted[0];
  if (wanted.length > 1) {
    throw new ConfigError(`${root} holds several data sets: ${wanted.join(", ")}`, {
      fix: `pass --dataset ${wanted[0]}`,
    });
  }
  throw new DataError(`no ${named ?? "data set"} in ${root}`, {
    where: "looked for triplets.json, captions/cap.dress.*.json and cirr/captions/cap.rc2.*.json",
    fix: found.length > 0
      ? `it holds ${found.join(" and ")}: pass --dataset ${found[0]}`
      : "name the data set's folder; the README and docs/data.md show what is in it",
  });
}

async function data(argv: readonly string[]): Promise<number> {
  const args = parseCommand(spec, argv);
  if (!args) return 0;
  const { positionals: [root], values: flags } = args;
  const dataset = await kindOf(root, flags.dataset);
  using progress = new Progress();
  const onProgress = (p: { what: string; done: number; total: number }) =>
    progress.live(`${p.what} ${formatCount(p.done)}/${formatCount(p.total)}`);

  const { named, findings: broken } = await readAll(dataset, root);
  let images: ImageReport | undefined;
  if (flags.images) images = await inspectImages(named, { decode: flags.decode, onProgress });
  const lengthOf = flags.tokens ? await textLengths() : undefined;
  const findings: Finding[] = [
    ...broken,
    ...images?.findings ?? [],
    ...publishedFindings(dataset, named, PUBLISHED),
    ...captionFindings(named),
    ...lengthOf ? lengthFindings(named, lengthOf) : [],
    ...sharedImages(named),
  ];
  const rows = summarise(dataset, named, PUBLISHED, images, lengthOf);
  const ok = !findings.some(({ isFatal }) => isFatal);
  progress[Symbol.dispose]();
  if (flags.json) printJson({ ok, dataset: named.name, root, rows, findings });
  else {
    const looked = images ? `, ${formatCount(images.count)} images` : ", image files not looked at";
    const lists = findingsText(findings, flags.all ? Infinity : 10);
    const fit = images ? "Training can run on it" : "The annotations are in order";
    const verdict = ok ? fit : "Training cannot run on it as it is";
    console.log(
      [`${named.name} in ${root}${looked}`, summaryTable(rows), lists, verdict].filter(Boolean).join("\n\n"),
    );
  }
  return ok ? 0 : 1;
}

if (import.meta.main) await runCommand(data);
