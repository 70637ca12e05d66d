/** Which feature store is a run's: the one that `--store` names, or that of a data set's folder, in the cache. */
import { ConfigError } from "../core/errors.ts";
import { type DatasetKind, openDataset } from "../data/open.ts";
import type { Dataset } from "../data/triplet.ts";
import { UNION_GALLERY } from "../data/union_gallery.ts";
import { sha256Hex } from "../io/atomic.ts";

/** What a store is of, as the flags of `deno task features` and of the experiments say. */
export interface StoreRequest {
  readonly dataset: DatasetKind;
  /** The data set's folder. */
  readonly data: string;
  readonly encoder: "blip2" | "clip";
  readonly weights: string;
  readonly transform: "targetpad" | "squarepad" | "clip";
  readonly targetRatio: number;
}

/** What preprocessing is called: the ratio is that of `targetpad`. */
export const transformName = (
  { transform, targetRatio }: Pick<StoreRequest, "transform" | "targetRatio">,
): string => transform === "targetpad" ? `${transform} ${targetRatio}` : transform;

/**
 * Where the features of a data set's folder lie if nobody names a place: in the cache, by the folder, the name of the
 * checkpoint's file and the preprocessing. What the file holds, the store itself knows: it is compared when it is opened.
 *
 * @throws {ConfigError} If there is no such folder.
 */
export async function storeInCache(cacheDir: string, request: StoreRequest): Promise<string> {
  const { dataset, data, encoder, weights } = request;
  const file = weights.split(/[/\\]/).at(-1), key = [await realPath(data), file, transformName(request)];
  return `${cacheDir}/features/${dataset}-${encoder}-${sha256Hex(JSON.stringify(key)).slice(0, 12)}`;
}

async function realPath(data: string): Promise<string> {
  try {
    return await Deno.realPath(data);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new ConfigError(`--data: ${data}: no such folder`, { fix: "name the data set's folder", cause });
  }
}

/** The command that makes a store, or brings it up to date. @param out Empty: the place in the cache. */
export function featuresCommand(request: StoreRequest, out: string): string {
  const { dataset, data, encoder, weights, transform, targetRatio } = request;
  const ratio = transform === "targetpad" ? ` --target-ratio ${targetRatio}` : "";
  return `deno task features --dataset ${dataset} --data ${data || "DIR"} --encoder ${encoder} ` +
    `--weights ${weights} --transform ${transform}${ratio}${out && ` --out ${out}`}`;
}

/**
 * The annotations in the folder must be those of the store. Images are not looked at.
 *
 * @param data The data set's folder.
 * @throws {ConfigError} If they have changed since the store was made.
 * @throws {DataError} If they are broken.
 */
export async function checkAnnotations(
  stored: Dataset,
  dataset: DatasetKind,
  data: string,
  fix: string,
): Promise<void> {
  const { hash } = await openDataset({
    dataset,
    root: data,
    annotationsOnly: true,
    leaveOut: stored.missing?.images,
    gallery: stored.gallery === UNION_GALLERY ? "union" : "original",
  });
  if (hash === stored.hash) return;
  throw new ConfigError(`${data}: is not as it was when its features were stored`, {
    where: `data set ${hash.slice(0, 12)}, in the store ${stored.hash.slice(0, 12)}`,
    fix,
  });
}
