/**
 * The frozen visual copy's output, stored: `--encoder multi` never trains it, so it is computed once an image instead of
 * at every step. It lies in the folder `embeds` of the features that it was computed from, and is itself a feature store.
 */
import { ConfigError, DataError } from "../core/errors.ts";
import type { OnProgress } from "../core/progress.ts";
import { sizeOf } from "../core/shape.ts";
import type { ExtractSummary } from "../data/extract.ts";
import { type OpenFeatures, openFeatureStore } from "../data/feature_store.ts";
import { openFeatureWriter } from "../data/feature_writer.ts";
import { filledBatches } from "../data/loader.ts";
import { openDevice } from "../gpu/device.ts";
import type { WeightsFile } from "../io/weights_file.ts";
import { blip2From } from "../models/blip2_from.ts";
import type { Blip2 } from "../models/blip2.ts";
import { params } from "../nn/module.ts";
import { Program } from "../plan/compile.ts";
import { State } from "../plan/state.ts";
import { checkBackbone, embedsCommand, embedsFolder, embedsSettings } from "./belonging.ts";

/** What `onProgress` is told while the Q-Former works. */
export const EMBEDDING = "computing embeds";

/** Options of `storeEmbeds`. */
export interface StoreEmbedsOptions {
  /** Folder of finished features of BLIP-2. */
  readonly store: string;
  /** The checkpoint that they were made with. */
  readonly weights: WeightsFile;
  /** Images at once. */
  readonly batchSize: number;
  /** Removes `embeds` of other values or features; otherwise they are an error. */
  readonly replace?: boolean;
  /** When aborted, what is computed so far stays, and the same call goes on from there. */
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/**
 * Computes what a store lacks of its images' `embeds [K, D]`, on the GPU, and stores them as its features are: in the
 * same number type, durable batch by batch, with checksums.
 *
 * @throws {DataError} If the features are unfinished or damaged.
 * @throws {ConfigError} If they are of another checkpoint, or the `embeds` there are.
 *
 * @example Usage
 * ```ts ignore
 * using weights = await openWeights("blip2_pretrained_vitL.pth");
 * await storeEmbeds({ store: "stores/cirr-blip2", weights, batchSize: 16 });
 * ```
 */
export async function storeEmbeds(
  { store: folder, weights, batchSize, replace, signal, onProgress = () => {} }: StoreEmbedsOptions,
): Promise<Omit<ExtractSummary, "texts" | "cut">> {
  using store = await openFeatureStore(folder, { encoder: "blip2" });
  const { hashes, settings, dataset, tokenizer } = store;
  checkBackbone(weights, "blip2", folder, settings.backbone);
  const encoders = await blip2From(weights, { train: "multi" });
  using writer = await openFeatureWriter(
    embedsFolder(folder),
    embedsSettings(encoders.visual, settings),
    {
      replace,
      onCheck: (done, total) => {
        signal?.throwIfAborted();
        onProgress({ what: "checking stored embeds", done, total });
      },
    },
  );
  const missing = await writer.missing(hashes);
  let computed = 0;
  for await (const { images, embeds } of computedBatches(encoders, store, missing, batchSize)) {
    await writer.put(images, { embeds });
    computed += images.length;
    onProgress({ what: EMBEDDING, done: computed, total: missing.length });
    if (signal?.aborted) break;
  }
  const isDone = computed === missing.length && !signal?.aborted, distinct = new Set(hashes).size;
  if (isDone) await writer.finish({ dataset, images: hashes, texts: tokenizer });
  return {
    isDone,
    images: hashes.length,
    distinct,
    computed,
    damaged: writer.damaged,
    bytes: distinct * writer.recordBytes,
  };
}

/** `embeds` of images, batch by batch, in order. */
async function* computedBatches(
  encoders: Blip2,
  { images, hashes }: OpenFeatures,
  wanted: readonly string[],
  batchSize: number,
): AsyncGenerator<{ images: string[]; embeds: Float32Array }> {
  if (wanted.length === 0) return;
  const place = new Map(hashes.map((hash, i) => [hash, i])), { tokens: { shape } } = images.fields;
  const tokens = new Float32Array(batchSize * sizeOf(shape));
  using gpu = await openDevice();
  using state = new State(gpu, [{ params: params(encoders.visual), isTrained: false }]);
  using program = new Program(
    gpu,
    (t) => ({ outputs: { embeds: encoders.imageEmbeds({ tokens: t.tokens }) } }),
    { state, label: "embeds of images" },
  );
  const plan = await program.plan({ tokens: { shape: [batchSize, ...shape] } });
  for (const { items, rows } of filledBatches(wanted, batchSize)) {
    images.read(items.flatMap((hash) => place.get(hash) ?? []), { tokens });
    plan.run({ tokens });
    const { embeds: { data } } = await plan.read(); // sync: the CPU stores them
    yield { images: items.slice(0, rows), embeds: Float32Array.from(data) };
  }
}

/**
 * Opens the `embeds` of a store, if it has any. Whether they are of a run's visual copy, `openReleasedWeights` says.
 *
 * @param weights What `--weights` says, for the command that makes them.
 * @throws {DataError} If they are unfinished or damaged.
 * @throws {ConfigError} If they are of other images.
 */
export async function openEmbeds(
  folder: string,
  features: Pick<OpenFeatures, "hashes">,
  weights: string,
): Promise<OpenFeatures | undefined> {
  const path = embedsFolder(folder);
  try {
    await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const embeds = await openFeatureStore(path, { encoder: "blip2-visual" }).catch((cause) => {
    if (!(cause instanceof DataError)) throw cause;
    throw new DataError(cause.message, {
      where: path,
      fix: `finish or mend it: ${embedsCommand(folder, weights)}\n` +
        "  or remove the folder: the frozen copy then computes at every step",
      cause,
    });
  });
  const { hashes } = embeds;
  if (hashes.join() === features.hashes.join()) return embeds;
  embeds[Symbol.dispose]();
  throw new ConfigError(`${path}: is of ${hashes.length} images that are not those of ${folder}`, {
    where: path,
    fix: `compute those that are new: ${embedsCommand(folder, weights)}`,
  });
}
