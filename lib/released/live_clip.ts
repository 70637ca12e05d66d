/**
 * CLIP's image side as in the released training: `clip_model.train()` puts the ResNet, of which nothing is trained, into
 * batch statistics. References and targets of a step are normalised by their own and move the running statistics, by
 * which evaluations normalise. So features are made of the pictures, at each step and for each evaluation.
 *
 * Source: quirks Q13 and Q14. Not Q12: evaluations are in eval mode.
 */
import { DataError } from "../core/errors.ts";
import { sizeOf } from "../core/shape.ts";
import { DecodePool } from "../data/decode_pool.ts";
import type { OpenFeatures } from "../data/feature_store.ts";
import type { ImageSource } from "../data/image_source.ts";
import { filledBatches } from "../data/loader.ts";
import type { LiveImages } from "../train/live_images.ts";
import type { RunContext } from "../train/session.ts";
import type { RunningStatistics } from "../vision/batch_norm.ts";
import { openLiveResNet } from "../vision/live_resnet.ts";
import { checkBackbone } from "./belonging.ts";
import { LiveStatistics } from "./live_statistics.ts";
import { openPublished } from "./published.ts";

/** Images at once in evaluation, where one's features do not depend on the others. */
const BATCH = 16;
/** Where the keys of a run's copy of CLIP begin; then PyTorch's follow. */
const OWN = "clip.";

type Into = Parameters<ImageSource["read"]>[1];

/** What takes the place of stored features. */
export interface LiveClip {
  readonly images: ImageSource & Disposable;
  readonly live: LiveImages;
}

/**
 * Opens the ResNet of the published checkpoint over the pictures of a store, where they lay when it was made.
 *
 * @param store Says which pictures, and how they are preprocessed; its features are not read.
 * @param folder The store's.
 * @throws {ConfigError} If there is no checkpoint, or it is not the store's, or onnxruntime cannot be loaded.
 * @throws {DataError} If the checkpoint has no ResNet. Reading throws it where a picture is not as it was for the store.
 */
export async function openLiveClip(
  { cacheDir, progress }: Pick<RunContext, "cacheDir" | "progress">,
  flags: { readonly weights: string },
  store: OpenFeatures,
  folder: string,
): Promise<LiveClip> {
  using weights = await openPublished(flags.weights, "clip");
  checkBackbone(weights, "clip", folder, store.settings.backbone);
  const resnet = await openLiveResNet({ weights, cacheDir, onProgress: progress });
  const pictures = new Pictures(store, folder), statistics = new LiveStatistics(resnet, OWN);
  const known = new KnownFeatures();
  let last: Promise<unknown> = Promise.resolve();
  /** One call of the ResNet at a time, in the order of the reads. */
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const turn = last.then(work);
    last = turn.catch(() => {}); // it is thrown where the read is awaited
    return turn;
  };

  /** By the running statistics. */
  const evaluate = async (ids: ArrayLike<number>, into: Into) => {
    const { now } = statistics, fields = Object.keys(into);
    const sizes = new Map(fields.map((field) => [field, sizeOf(resnet.fields[field].shape)]));
    for (const { items, rows } of filledBatches(known.missing(ids, fields, now), BATCH)) {
      progress(`features by the running statistics: ${known.count} pictures`);
      const { features } = await resnet.run(await pictures.read(items), now);
      known.add(items.slice(0, rows), features, sizes);
    }
    known.copy(ids, into);
  };
  /** By the batch's own. */
  const train = async (pixels: Float32Array, images: number, into: Into) => {
    const { features, statistics: own } = await resnet.run(pixels);
    statistics.add(own, images);
    for (const [field, array] of Object.entries(into)) array.set(features[field]);
  };

  const common = { fields: resnet.fields, count: store.images.count };
  const opened = new DisposableStack();
  opened.defer(() => void last.then(() => resnet[Symbol.asyncDispose]()));
  opened.use(pictures);
  opened.use(store);
  const dispose = () => opened.dispose();
  return {
    images: {
      ...common,
      read: (ids, into) => inTurn(() => evaluate(ids, into)),
      [Symbol.dispose]: dispose,
    },
    live: {
      images: {
        ...common,
        read(ids, into) {
          const pixels = pictures.read(ids); // decoded while another batch is computed
          pixels.catch(() => {}); // it is thrown where they are awaited
          return inTurn(async () => await train(await pixels, ids.length, into));
        },
      },
      params: statistics.params,
      finishStep: () => statistics.finishStep(),
      restore: (values) => statistics.restore(values),
      [Symbol.dispose]: dispose,
    },
  };
}

/** Pixels of a store's pictures. */
class Pictures implements Disposable {
  readonly #store: OpenFeatures;
  readonly #folder: string;
  readonly #pool: DecodePool;

  constructor(store: OpenFeatures, folder: string) {
    this.#store = store;
    this.#folder = folder;
    this.#pool = new DecodePool(store.settings.preprocess);
  }

  /** `[ids.length, 3, S, S]` */
  async read(ids: ArrayLike<number>): Promise<Float32Array<ArrayBuffer>> {
    const parts = await Promise.all(Array.from(ids, (id) => this.#one(id)));
    const size = parts[0].length, pixels = new Float32Array(parts.length * size);
    for (const [i, part] of parts.entries()) pixels.set(part, i * size);
    return pixels;
  }

  async #one(id: number): Promise<Float32Array<ArrayBuffer>> {
    const { dataset: { images }, hashes } = this.#store, { name, path = name } = images[id];
    try {
      return await this.#pool.read(path, hashes[id]);
    } catch (cause) {
      if (!(cause instanceof DataError)) throw cause;
      throw new DataError(`${path}: is not as it was for ${this.#folder}: ${cause.message}`, {
        fix:
          "bring the picture back, or run the command of deno task features again: it stores where they lie",
        cause,
      });
    }
  }

  [Symbol.dispose](): void {
    this.#pool[Symbol.dispose]();
  }
}

/** Features by the running statistics, kept while these stay: queries and gallery share pictures. */
class KnownFeatures {
  readonly #byImage = new Map<number, Readonly<Record<string, Float32Array>>>();
  #of?: RunningStatistics;

  get count(): number {
    return this.#byImage.size;
  }

  /** The images of which some field is not known, each once. */
  missing(ids: ArrayLike<number>, fields: readonly string[], by: RunningStatistics): number[] {
    if (this.#of !== by) this.#byImage.clear();
    this.#of = by;
    return [...new Set(Array.from(ids))].filter((id) => {
      const known = this.#byImage.get(id);
      return !fields.every((field) => known?.[field]);
    });
  }

  /** @param features By field, those of the images first. */
  add(
    ids: readonly number[],
    features: Readonly<Record<string, Float32Array>>,
    sizes: ReadonlyMap<string, number>,
  ) {
    for (const [i, id] of ids.entries()) {
      const own = [...sizes].map(([field, size]) => [field, features[field].slice(i * size, (i + 1) * size)]);
      this.#byImage.set(id, Object.fromEntries(own));
    }
  }

  copy(ids: ArrayLike<number>, into: Into): void {
    for (const [field, array] of Object.entries(into)) {
      for (let i = 0; i < ids.length; i++) {
        const values = this.#byImage.get(ids[i])?.[field] ?? [];
        array.set(values, i * values.length);
      }
    }
  }
}
