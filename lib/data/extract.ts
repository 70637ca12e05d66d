/** From image files to a feature store: images are decoded in Workers while the backbone computes. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { ConfigError, DataError } from "../core/errors.ts";
import type { OnProgress } from "../core/progress.ts";
import { isJsonObject } from "../io/json_keys.ts";
import { captionTexts } from "../text/captions.ts";
import { TokenTable } from "../text/token_table.ts";
import type { Tokenizer } from "../text/wordpiece.ts";
import { DecodePool } from "./decode_pool.ts";
import type { FeatureSettings, StoreDType } from "./feature_layout.ts";
import { DATASET, readTextIfThere } from "./feature_manifest.ts";
import { openFeatureWriter } from "./feature_writer.ts";
import type { ImageField } from "./image_source.ts";
import { filledBatches } from "./loader.ts";
import type { PreprocessOptions } from "./preprocess.ts";
import type { Dataset } from "./triplet.ts";

/** A frozen vision model: pixels to features. */
export interface FrozenBackbone {
  /** What `run` gives of one image. */
  readonly fields: Readonly<Record<string, ImageField>>;
  /** Side of an image in pixels. */
  readonly imageSize: number;
  /** SHA-256 of the weights. */
  readonly hash: string;
  /** @param pixels `[B, 3, imageSize, imageSize]` */
  run(pixels: Float32Array): Promise<Readonly<Record<string, Float32Array>>>;
}

/** What `onProgress` is told while the backbone works; other words while files and checksums are read. */
export const COMPUTING = "computing features";

export interface ExtractOptions {
  readonly dataset: Dataset;
  /** Folder of the store. */
  readonly out: string;
  readonly encoder: string;
  readonly backbone: FrozenBackbone;
  readonly preprocess: Omit<PreprocessOptions, "dim">;
  readonly dtype: StoreDType;
  /** Tokenizes the data set's texts, each to at most `maxLength` ids. */
  readonly tokenizer: Tokenizer;
  readonly maxLength: number;
  /** Images a call of the backbone. */
  readonly batchSize: number;
  /** Removes features that were made with other settings or of another data set; otherwise they are an error. */
  readonly replace?: boolean;
  /** Threads that decode. Default: one a core. */
  readonly workers?: number;
  /** Bytes of a shard at most. Default 1 GiB. */
  readonly shardBytes?: number;
  /** When aborted, what is computed so far stays, and the same call goes on from there. */
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/** What an extraction did. */
export interface ExtractSummary {
  /** False where it was aborted. */
  readonly isDone: boolean;
  /** Images of the data set, and how many files among them differ in content. */
  readonly images: number;
  readonly distinct: number;
  /** Images whose features were computed, and whose stored ones were found damaged before. */
  readonly computed: number;
  readonly damaged: number;
  /** Bytes of all features. */
  readonly bytes: number;
  readonly texts: number;
  /** Texts that had more ids than the model has positions. */
  readonly cut: readonly string[];
}

/**
 * Extracts what a store lacks: nothing where all is there, all where there is none, else what is new, changed or damaged.
 * Equal files share one entry.
 *
 * @throws {DataError} If an image file is missing or damaged; what was computed before stays.
 * @throws {ConfigError} If the store was made with other settings or of another data set, is in use, or the disk is too small.
 *
 * @example Usage
 * ```ts ignore
 * using weights = await openWeights("RN50x4.pt");
 * await using backbone = await openBackbone({ weights, arch: "clip" });
 * await extractFeatures({
 *   dataset: await openDataset({ dataset: "cirr", root: "cirr_dataset" }),
 *   out: "stores/cirr-clip",
 *   encoder: "clip",
 *   backbone,
 *   preprocess: { transform: "targetpad", convertRgbFirst: false },
 *   dtype: "f16",
 *   tokenizer: await clipBpe(),
 *   maxLength: 77,
 *   batchSize: 16,
 * });
 * ```
 */
export async function extractFeatures(options: ExtractOptions): Promise<ExtractSummary> {
  const { dataset, out, encoder, backbone, preprocess, dtype, replace, shardBytes, signal } = options;
  const { onProgress = () => {} } = options;
  if (!replace) await checkOwner(out, dataset.name);
  const triplets = Object.values(dataset.splits).flatMap((split) => split.triplets);
  const texts = triplets.flatMap(({ captions }) => captionTexts(captions));
  const { table, cut } = TokenTable.of(texts, options.tokenizer, options.maxLength);
  const paths = dataset.images.map(pathOf);
  const hashes = await hashFiles(
    paths,
    signal,
    (done) => onProgress({ what: "reading images", done, total: paths.length }),
  );
  const settings: FeatureSettings = {
    encoder,
    backbone: backbone.hash,
    preprocess: { ...preprocess, dim: backbone.imageSize },
    dtype,
    fields: Object.fromEntries(Object.entries(backbone.fields).map(([name, { shape }]) => [name, shape])),
  };
  using writer = await openFeatureWriter(out, settings, {
    replace,
    shardBytes,
    onCheck: (done, total) => {
      signal?.throwIfAborted();
      onProgress({ what: "checking stored features", done, total });
    },
  });
  const missing = await writer.missing(hashes);
  const pathByHash = new Map(hashes.map((hash, i) => [hash, paths[i]]));
  let computed = 0;
  const todo = missing.map((hash) => ({ hash, path: pathByHash.get(hash) ?? "" }));
  const run = (pixels: Float32Array<ArrayBuffer>) => backbone.run(pixels);
  for await (const batch of computedBatches(todo, settings.preprocess, run, options)) {
    await writer.put(batch.hashes, batch.features);
    computed += batch.hashes.length;
    onProgress({ what: COMPUTING, done: computed, total: missing.length });
    if (signal?.aborted) break;
  }
  const isDone = computed === missing.length && !signal?.aborted, distinct = new Set(hashes).size;
  if (isDone) await writer.finish({ dataset, images: hashes, texts: table });
  return {
    isDone,
    images: paths.length,
    distinct,
    computed,
    damaged: writer.damaged,
    bytes: distinct * writer.recordBytes,
    texts: table.toJSON().texts.length,
    cut,
  };
}

/** A finished store keeps the features of its data set's images and no others: those of another would be lost. */
async function checkOwner(out: string, name: string): Promise<void> {
  const path = join(out, DATASET), owner = ownerOf(await readTextIfThere(path));
  if (owner === undefined || owner === name) return;
  throw new ConfigError(`${out}: holds features of "${owner}", not of "${name}"`, {
    where: path,
    fix: "name another folder by --out, or pass --replace: the features of other images are then removed",
  });
}

/** The data set's name; none where the file is missing, or damaged and so to be written anew. */
function ownerOf(text = ""): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) && isJsonObject(value.dataset) ? value.dataset.name : undefined;
  } catch {
    return undefined;
  }
}

function pathOf({ name, path }: Dataset["images"][number]): string {
  if (path === undefined) throw new DataError(`image "${name}" has no file`);
  return path;
}

/** SHA-256 of each file. */
async function hashFiles(
  paths: readonly string[],
  signal: AbortSignal | undefined,
  onProgress: (done: number) => void,
): Promise<string[]> {
  const hashes: string[] = [];
  for (const path of paths) {
    signal?.throwIfAborted();
    hashes.push(createHash("sha256").update(await readImage(path)).digest("hex"));
    onProgress(hashes.length);
  }
  return hashes;
}

async function readImage(path: string): Promise<Uint8Array> {
  try {
    return await Deno.readFile(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new DataError(`${path}: no such file`, {
      fix: "get the image, or leave it out: --skip-missing",
      cause,
    });
  }
}

interface ToCompute {
  readonly hash: string;
  readonly path: string;
}

/**
 * The features of images, batch by batch, in order. Two batches are decoded ahead. Every call of the backbone is of one
 * size: the last batch is filled up, so an image's features do not depend on how many follow.
 */
async function* computedBatches(
  images: readonly ToCompute[],
  preprocess: PreprocessOptions,
  run: (pixels: Float32Array<ArrayBuffer>) => Promise<Readonly<Record<string, Float32Array>>>,
  { batchSize, workers }: ExtractOptions,
): AsyncGenerator<{ hashes: string[]; features: Readonly<Record<string, Float32Array>> }> {
  if (images.length === 0) return;
  using pool = new DecodePool(preprocess, { workers });
  const decode = async (items: readonly ToCompute[], rows: number) => {
    const parts = await Promise.all(items.slice(0, rows).map(({ path, hash }) => pool.read(path, hash)));
    const size = 3 * preprocess.dim ** 2, pixels = new Float32Array(items.length * size);
    items.forEach((_, i) => pixels.set(parts[Math.min(i, rows - 1)], i * size));
    return { hashes: items.slice(0, rows).map(({ hash }) => hash), pixels };
  };
  const batches = filledBatches(images, batchSize), ahead: ReturnType<typeof decode>[] = [];
  for (;;) {
    while (ahead.length < 3) { // one for the backbone, two behind it
      const { value, done } = batches.next();
      if (done) break;
      const decoded = decode(value.items, value.rows);
      decoded.catch(() => {}); // it is thrown where the batch is awaited, or the pool was closed before
      ahead.push(decoded);
    }
    const next = ahead.shift();
    if (!next) return;
    const { hashes, pixels } = await next;
    yield { hashes, features: await run(pixels) };
  }
}
