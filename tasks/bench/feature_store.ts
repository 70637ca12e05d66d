/**
 * How fast a feature store is written and read from the page cache: `deno run --no-npm -A tasks/bench/feature_store.ts`.
 * Prints the table of docs/bench/feature_store.md. Takes 2 GiB of the temporary folder's disk.
 */
import { textTable } from "../../lib/core/format.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import type { FeatureSettings, StoreDType } from "../../lib/data/feature_layout.ts";
import { openFeatureStore } from "../../lib/data/feature_store.ts";
import { openFeatureWriter } from "../../lib/data/feature_writer.ts";
import type { Dataset } from "../../lib/data/triplet.ts";
import { sha256Hex } from "../../lib/io/atomic.ts";
import { TokenTable } from "../../lib/text/token_table.ts";
import { median } from "./measure.ts";

const FIELDS: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>> = {
  blip2: { tokens: [257, 1024] },
  clip: { map: [2560, 9, 9], pooled: [640] },
};
/** Images of a store, images a batch, and passes over the store: the first one also compares checksums. */
const IMAGES = 1024, BATCH = 64, PASSES = 6;

/** Arrays of a batch of random features, by field. */
function arrays(fields: Readonly<Record<string, readonly number[]>>): Record<string, Float32Array> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, shape]) => [
      name,
      Float32Array.from({ length: BATCH * sizeOf(shape) }, (_, i) => Math.sin(i)),
    ]),
  );
}

/** Writes a store; MB/s of what is stored. */
async function write(folder: string, settings: FeatureSettings): Promise<number> {
  const images = Array.from({ length: IMAGES }, (_, i) => sha256Hex(String(i)));
  const empty = { triplets: [], gallery: [] }, splits = { train: empty, val: empty, test: empty };
  const dataset: Dataset = { name: "bench", images: images.map((name) => ({ name })), splits, hash: "" };
  using writer = await openFeatureWriter(folder, settings);
  await writer.missing(images);
  const features = arrays(settings.fields), startMs = performance.now();
  for (let i = 0; i < IMAGES; i += BATCH) await writer.put(images.slice(i, i + BATCH), features);
  const speed = IMAGES * writer.recordBytes / (performance.now() - startMs) / 1e3;
  await writer.finish({
    dataset,
    images,
    texts: new TokenTable({ size: 1, maxLength: 2, first: 0, last: 0, texts: [] }),
  });
  return speed;
}

/** Reads batches of images that are not neighbours; MB/s of what is stored, by pass. */
async function read(folder: string): Promise<number[]> {
  using store = await openFeatureStore(folder);
  const { fields, dtype } = store.settings, into = arrays(fields);
  const bytes = Object.values(into).reduce((sum, { length }) => sum + length, 0) * (dtype === "f16" ? 2 : 4);
  return Array.from({ length: PASSES }, () => {
    const startMs = performance.now();
    for (let b = 0; b < IMAGES / BATCH; b++) {
      store.images.read(Uint32Array.from({ length: BATCH }, (_, i) => i * IMAGES / BATCH + b), into);
    }
    return bytes * IMAGES / BATCH / (performance.now() - startMs) / 1e3;
  });
}

const rows: string[][] = [];
for (const [encoder, fields] of Object.entries(FIELDS)) {
  for (const dtype of ["f16", "f32"] satisfies StoreDType[]) {
    const folder = await Deno.makeTempDir();
    try {
      const preprocess = { transform: "clip", dim: 1, convertRgbFirst: true } as const;
      const written = await write(folder, { encoder, backbone: "bench", preprocess, dtype, fields });
      const [first, ...later] = await read(folder), wide = dtype === "f16" ? 2 : 1;
      const sizes = Object.entries(fields).map(([name, shape]) => `${name} [${shape}]`).join(", ");
      const speeds = [written, first, median(later), wide * median(later)].map((speed) => speed.toFixed(0));
      rows.push([encoder, sizes, dtype, ...speeds]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }
}
const header = [
  "encoder",
  "fields",
  "stored as",
  "written MB/s",
  "read first MB/s",
  "read again MB/s",
  "f32 given MB/s",
];
console.log(textTable(rows, { header, align: "lllrrrr" }));
