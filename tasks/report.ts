/** Writes a run's report: one HTML file with its tables, its curves, and queries with what the model found. */
import { note, parseCommand, runCommand } from "../lib/core/command.ts";
import { ConfigError, DataError, isUserError } from "../lib/core/errors.ts";
import { flag } from "../lib/core/flags.ts";
import { formatBytes, formatCount } from "../lib/core/format.ts";
import type { Dataset } from "../lib/data/triplet.ts";
import { writeFileAtomic } from "../lib/io/atomic.ts";
import { protocolKey, protocolText } from "../lib/metrics/protocol.ts";
import { recallAt } from "../lib/metrics/recall.ts";
import { type Answer, chooseQueries, type ReportQuery } from "../lib/report/choose.ts";
import { reportPage, type ReportRun, shownImages } from "../lib/report/page.ts";
import { rowsOf, type TableBlock, tableBlocks } from "../lib/report/table.ts";
import { thumbnails } from "../lib/report/thumbnails.ts";
import { curvesOf } from "../lib/train/curves.ts";
import { Progress } from "../lib/train/progress.ts";
import { type RankedAnswer, type Rankings, rankingsPath, readRankings } from "../lib/train/rankings.ts";
import { readResults } from "../lib/train/results.ts";
import { readManifest, type RunManifest } from "../lib/train/run.ts";
import { contextOf } from "../lib/train/session.ts";
import { openExperiment } from "./experiments.ts";
import { folderOf, openFlags, overridesOf } from "./opened.ts";

const spec = {
  name: "report",
  summary:
    `Writes one self-contained HTML file about a run: Recall, curves, and queries with the first ten answers, chosen by how
they fail. Of two runs of one data set it shows the answers of both, and first where the first one gains and loses against
the second. RUN is a run's folder: runs/EXPERIMENT/NAME; its data (a feature store, the demo's cache) must still be there,
and the files of the pictures for the pictures to show.`,
  flags: {
    split: flag("val", "the queries' split", { choices: ["val", "test"] }),
    queries: flag(120, "queries to show at most", { integer: true, min: 1, max: 1000 }),
    seed: flag(1, "seed of the random choice", { integer: true, min: 0 }),
    data: openFlags.data,
    store: openFlags.store,
    experiment: openFlags.experiment,
    out: flag("", "the file to write; default: report.html in the folder of the first run"),
  },
  positionals: { usage: "RUN [RUN]", min: 1, max: 2 },
};

/** Of the whole page; what pictures may take of it leaves room for markup, curves and tables. */
const MAX_BYTES = 10_000_000, PICTURE_BYTES = 7_500_000;

/** What the folder of a run holds. */
interface Opened {
  readonly path: string;
  readonly manifest: RunManifest;
  readonly rankings: Rankings;
}

async function open(path: string, split: string): Promise<Opened> {
  const manifest = await readManifest(path);
  return { path, manifest, rankings: await readRankings(rankingsPath(path, split)) };
}

/** @throws {ConfigError} If two runs were not asked the same. */
function checkComparable([here, there]: readonly Opened[]): void {
  if (!there) return;
  const fix = "report each by itself", runs = `${here.path} and ${there.path}`;
  if (protocolKey(here.rankings.protocol) !== protocolKey(there.rankings.protocol)) {
    throw new ConfigError(`${runs} were measured under different protocols`, {
      where: `${protocolText(here.rankings.protocol)}; ${protocolText(there.rankings.protocol)}`,
      fix,
    });
  }
  if (here.rankings.dataset.hash !== there.rankings.dataset.hash) {
    throw new ConfigError(`${runs} were measured on different data: the hashes of their data sets differ`, {
      fix,
    });
  }
}

/** The queries with images as positions in the data set. */
function queriesOf({ path, rankings }: Opened, dataset: Dataset): ReportQuery[] {
  const place = new Map(dataset.images.map(({ name }, id) => [name, id]));
  const idOf = (name: string): number => {
    const id = place.get(name);
    if (id !== undefined) return id;
    throw new DataError(`${path}: its image "${name}" is not in the data set as it is now`, {
      fix: "deno task eval measures the run anew",
    });
  };
  const answerOf = ({ rank, top }: RankedAnswer): Answer => ({
    rank: rank ?? Infinity,
    top: top.map((image) => idOf(rankings.images[image])),
  });
  return rankings.queries.map(({ reference, target, captions, rule, category, composed, image, text }, q) => {
    if (target === null) {
      throw new ConfigError(`${path}: query ${q} of ${rankings.split} has no public target`, {
        fix: "report another split: --split val",
      });
    }
    return {
      reference: idOf(reference),
      target: idOf(target),
      caption: captions.join(" / "),
      kind: rule ?? category,
      composed: answerOf(composed),
      image: image && answerOf(image),
      text: text && answerOf(text),
    };
  });
}

async function curvesIfDrawn(path: string): Promise<string | undefined> {
  try {
    return await curvesOf(path);
  } catch (error) {
    if (!isUserError(error)) throw error;
    note(`${path}: no curves: ${error.message}`);
  }
}

/** Recall at 10 by kind of change, of each run and way to ask. */
function byKind(runs: readonly ReportRun[]): TableBlock[] {
  const rows = runs.flatMap(({ name, queries }) =>
    (["image", "text", "composed"] as const).map((way) => ({
      label: runs.length > 1 ? `${name}: ${way}` : way,
      ranks: Map.groupBy(
        queries.flatMap(({ kind, [way]: answer }) => kind && answer ? [{ kind, rank: answer.rank }] : []),
        ({ kind }) => kind,
      ),
    }))
  ).filter(({ ranks }) => ranks.size > 0);
  const kinds = [...new Set(rows.flatMap(({ ranks }) => [...ranks.keys()]))].sort();
  if (kinds.length === 0) return [];
  return [{
    title: "R@10 in percent by kind",
    nameColumns: 1,
    header: ["", "queries", ...rows.map(({ label }) => label)],
    cells: kinds.map((kind) => [
      kind,
      formatCount(rows[0].ranks.get(kind)?.length ?? 0),
      ...rows.map(({ ranks }) => {
        const found = ranks.get(kind)?.map(({ rank }) => rank);
        return found ? recallAt(found, 10).toFixed(2) : "-";
      }),
    ]),
  }];
}

async function report(argv: readonly string[], signal: AbortSignal): Promise<void> {
  const args = parseCommand(spec, argv);
  if (!args) return;
  const { split, queries: count, seed, data, store, out } = args.values;
  const opened = await Promise.all(args.positionals.map((path) => open(folderOf(path), split)));
  checkComparable(opened);
  const [first] = opened;
  using progress = new Progress();
  const experiment = await openExperiment(args.values.experiment || first.manifest.source);
  const overrides = overridesOf(experiment, { data, store });
  const config = experiment.configFrom({ ...first.manifest.config, ...overrides });
  // A run that is measured has its own weights: the published ones may be gone.
  const checkpoint = `${first.path}/checkpoints/${config.tableFrom}.safetensors`;
  const { dataset, images } = await experiment.functions.data(
    { ...contextOf(progress, signal), checkpoint },
    config,
  );
  const runs: ReportRun[] = [];
  for (const run of opened) {
    const { manifest: { experiment, name, config } } = run;
    runs.push({
      name: `${experiment}/${name}`,
      config,
      curves: await curvesIfDrawn(run.path),
      queries: queriesOf(run, dataset),
    });
  }
  const sections = chooseQueries(runs[0].queries, { count, seed, others: runs[1]?.queries });
  const pictures = await thumbnails({ images: dataset.images, source: images }, shownImages(sections, runs), {
    maxBytes: PICTURE_BYTES,
    onProgress(done, total) {
      signal.throwIfAborted();
      progress.live(`pictures ${done}/${total}`);
    },
  });
  const results = await Promise.all(opened.map(({ path }) => readResults(path)));
  const page = reportPage({
    dataset: dataset.name,
    split,
    runs,
    tables: [...tableBlocks(results.flatMap(rowsOf)), ...byKind(runs)],
    sections,
    images: dataset.images,
    thumbnails: pictures,
  });
  const bytes = new TextEncoder().encode(page).length;
  if (bytes > MAX_BYTES) {
    throw new ConfigError(`the report has ${formatBytes(bytes)}, more than ${formatBytes(MAX_BYTES)}`, {
      fix: "show fewer queries: --queries",
    });
  }
  if (pictures.missing > 0) {
    progress.note(`${pictures.missing} pictures have no readable file: they stay grey`);
  }
  const path = out || `${first.path}/report.html`;
  await writeFileAtomic(path, page);
  console.log(path);
}

if (import.meta.main) await runCommand(report);
