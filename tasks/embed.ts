/** Writes a run's embeddings: of a split's gallery and of its queries, for FAISS, a vector database or a notebook. */
import { parseCommand, printJson, runCommand } from "../lib/core/command.ts";
import { ConfigError } from "../lib/core/errors.ts";
import { flag, type FlagValues } from "../lib/core/flags.ts";
import { writeFileAtomic } from "../lib/io/atomic.ts";
import { npyPieces } from "../lib/io/npy.ts";
import { writeSafetensors } from "../lib/io/safetensors_writer.ts";
import { Progress } from "../lib/train/progress.ts";
import { askedByName } from "../lib/train/rankings.ts";
import type { Stored } from "../lib/train/score.ts";
import { checkedOut, openFlags, openRun } from "./opened.ts";

const spec = {
  name: "embed",
  summary: `Writes the embeddings of a split with a run's checkpoint, f32, a row an image or query:
gallery.safetensors and gallery.FIELD.npy with the images' names in gallery.names.json, and likewise queries.* with
queries.json (reference, captions, target, category of each row). In frame sum and combiner the only field is "feats", of
unit length: the inner product is the score, as in FAISS's IndexFlatIP. Frame artemis scores by four products of
"textFeats" and "referenceFeats" with the gallery; no index of inner products gives its ranking.`,
  flags: {
    split: flag("val", "whose gallery and queries", { choices: ["train", "val", "test"] }),
    kind: flag("composed", "how the queries ask: picture and text, or one of them", {
      choices: ["composed", "image", "text"],
    }),
    out: flag("", "folder of the files; default: the run's folder embeddings/SPLIT"),
    ...openFlags,
    json: flag(false, "last line of stdout: files and shapes as one JSON object"),
  },
  positionals: { usage: "RUN", min: 1, max: 1 },
};
type EmbedFlags = Omit<FlagValues<typeof spec.flags>, "json">;

/** A file that was written, and the shape of what is in it. */
interface Written {
  readonly file: string;
  readonly shape: readonly number[];
}

/** Writes one side as safetensors, and each field as .npy. */
async function write(
  base: string,
  stored: Stored,
  rows: number,
  about: Record<string, string>,
): Promise<Written[]> {
  const fields = Object.entries(stored).map(([name, { shape, data }]) => ({
    name,
    shape: [rows, ...shape],
    data,
  }));
  const tensors = fields.map(({ name, ...tensor }) => [name, { dtype: "F32" as const, ...tensor }]);
  await writeSafetensors(`${base}.safetensors`, Object.fromEntries(tensors), about);
  const written: Written[] = [];
  for (const { name, shape, data } of fields) {
    const file = `${base}.${name}.npy`;
    await writeFileAtomic(file, npyPieces(shape, data));
    written.push({ file, shape });
  }
  return written;
}

async function embed(which: string, { split: name, kind, out, ...flags }: EmbedFlags, signal: AbortSignal) {
  using progress = new Progress();
  using run = await openRun(which, flags, "original", progress);
  const split = run.split(name), { dataset } = run.data, { evaluator } = run;
  if (!evaluator.kinds.includes(kind)) {
    throw new ConfigError(`--kind ${kind}: the frame has ${evaluator.kinds.join(", ")}`);
  }
  const folder = out === "" ? `${run.path}/embeddings/${name}` : checkedOut(out);
  await Deno.mkdir(folder, { recursive: true });
  progress.live(`encoding ${name}`);
  const { images, gallery, queries } = await evaluator.encode(split, [kind], signal);
  const nameOf = (image: number) => dataset.images[image].name;
  const about = {
    dataset: dataset.name,
    datasetHash: dataset.hash,
    split: name,
    run: run.path,
    checkpoint: run.checkpoint,
    step: String(run.step),
  };
  const written = [
    ...await write(`${folder}/gallery`, gallery, images.length, about),
    ...await write(`${folder}/queries`, queries.get(kind) ?? {}, split.triplets.length, { ...about, kind }),
  ];
  await writeFileAtomic(`${folder}/gallery.names.json`, JSON.stringify(images.map(nameOf)) + "\n");
  const asked = split.triplets.map((triplet) => askedByName(dataset, triplet));
  await writeFileAtomic(`${folder}/queries.json`, JSON.stringify(asked) + "\n");
  return { folder, written };
}

async function main(argv: readonly string[], signal: AbortSignal): Promise<void> {
  const args = parseCommand(spec, argv);
  if (!args) return;
  const { json, ...flags } = args.values;
  const { folder, written } = await embed(args.positionals[0], flags, signal);
  for (const { file, shape } of written) console.log(`${file}  [${shape.join(", ")}]`);
  console.log(`names: ${folder}/gallery.names.json, ${folder}/queries.json`);
  if (json) printJson({ folder, files: written });
}

if (import.meta.main) await runCommand(main);
