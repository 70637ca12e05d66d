/** The demo data set: built once into a cache, then opened with Deno alone. */
import { join } from "node:path";
import { ConfigError, DataError } from "../../core/errors.ts";
import type { OnProgress } from "../../core/progress.ts";
import { sha256Hex } from "../../io/atomic.ts";
import { buildDemo, type DemoSize } from "./build.ts";
import { readEmojiPackages } from "./emoji.ts";
import { OPTIONAL_RULES, type OptionalRule } from "./rules.ts";
import { type Demo, readDemo, writeDemo } from "./store.ts";

export type { Demo } from "./store.ts";

/** Options of `openDemo`. */
export interface DemoOptions {
  /** The cache is a folder in it. */
  cacheDir: string;
  /** Side of a picture in pixels. The triplets are the same for both. Default 32. */
  size?: DemoSize;
  /** Rules beyond the default ones. They make another data set with its own cache. */
  include?: readonly OptionalRule[];
  /** Use only so many training triplets: a smaller number is a part of a larger one. */
  trainTriplets?: number;
  /** Called now and then while the cache is built. */
  onProgress?: OnProgress;
}

/**
 * Opens the demo: about 13,000 emoji pictures by three designers, and triplets derived from their names. Builds its cache
 * on first use, from npm packages and in about 20 s; later it needs no package. A cache that is cut short, changed or of
 * another format is never used: it is built anew, or reported where the packages are missing.
 *
 * @throws {ConfigError} If an option is not allowed.
 * @throws {DataError} If the packages are not installed.
 */
export async function openDemo(options: DemoOptions): Promise<Demo> {
  const { cacheDir, size = 32, include = [], trainTriplets, onProgress = () => {} } = options;
  checkOptions(size, include, trainTriplets);
  const rules = OPTIONAL_RULES.filter((rule) => include.includes(rule));
  const folder = join(cacheDir, ["demo", size, ...rules].join("-"));
  const found = await readOrFault(folder, size);
  if (found && !(found instanceof DataError)) return limited(found, trainTriplets);

  onProgress({
    what: found ? `building the demo anew: ${found.message}` : "building the demo",
    done: 0,
    total: 1,
  });
  try {
    const built = await buildDemo(await readEmojiPackages(), { size, include: rules, onProgress });
    await writeDemo(folder, size, built);
  } catch (error) {
    if (!found || !(error instanceof DataError)) throw error;
    // The damage is what the user has to know of first; why it cannot be mended is the fix.
    throw new DataError(found.message, {
      where: found.where,
      fix: `${error.message}: ${error.fix}`,
      cause: error,
    });
  }
  const opened = await readDemo(folder, size);
  if (!opened) throw new DataError("the demo's cache disappeared while it was built", { where: folder });
  return limited(opened, trainTriplets);
}

/** The cache, what is wrong with it, or undefined if there is none. */
async function readOrFault(folder: string, size: DemoSize): Promise<Demo | DataError | undefined> {
  try {
    return await readDemo(folder, size);
  } catch (error) {
    if (error instanceof DataError) return error;
    throw error;
  }
}

function checkOptions(size: number, include: readonly string[], trainTriplets?: number): void {
  if (size !== 32 && size !== 64) throw new ConfigError(`size: expected 32 or 64, got ${size}`);
  const unknown = include.find((rule) => !(OPTIONAL_RULES as readonly string[]).includes(rule));
  if (unknown !== undefined) {
    throw new ConfigError(`include: expected ${OPTIONAL_RULES.join(" or ")}, got ${JSON.stringify(unknown)}`);
  }
  if (trainTriplets !== undefined && !(Number.isInteger(trainTriplets) && trainTriplets > 0)) {
    throw new ConfigError(`trainTriplets: expected a positive integer, got ${trainTriplets}`);
  }
}

/** The demo with the first `count` training triplets. */
function limited(demo: Demo, count = Infinity): Demo {
  const { dataset } = demo, { train } = dataset.splits;
  if (count >= train.triplets.length) return demo;
  const splits = { ...dataset.splits, train: { ...train, triplets: train.triplets.slice(0, count) } };
  return { ...demo, dataset: { ...dataset, splits, hash: sha256Hex(`${dataset.hash} ${count}`) } };
}
