/** Opens a data set by its kind. */
import type { Report } from "./annotations.ts";
import { findCirr, openCirr, readCirr } from "./cirr.ts";
import { type FashionIqOptions, findFashionIq, openFashionIq, readFashionIq } from "./fashioniq.ts";
import { isDataFolder, openFolder, readFolder } from "./folder.ts";
import type { NamedDataset } from "./named.ts";
import type { Dataset } from "./triplet.ts";

/** The kinds of data sets on disk, as `--dataset` has them. */
export const DATASET_KINDS = ["fashioniq", "cirr", "folder"] as const;
export type DatasetKind = (typeof DATASET_KINDS)[number];

/** How to open a data set. */
export interface DatasetOptions extends FashionIqOptions {
  readonly dataset: DatasetKind;
  /** Its folder, or the folder that this is in. */
  readonly root: string;
}

/**
 * Opens FashionIQ, CIRR or a folder of one's own.
 *
 * @throws {DataError} As `openFashionIq`, `openCirr` and `openFolder`.
 *
 * @example Usage
 * ```ts
 * const message = await openDataset({ dataset: "cirr", root: "no/such/folder" }).catch((error) => error.message);
 * if (message !== "no CIRR in no/such/folder") throw new Error(String(message));
 * ```
 */
export function openDataset({ dataset, root, ...options }: DatasetOptions): Promise<Dataset> {
  const open = { fashioniq: openFashionIq, cirr: openCirr, folder: openFolder }[dataset];
  return open(root, options);
}

/** A data set by names, before it is checked as a whole. Errors in single entries go to `report`. */
export function readDataset(
  { dataset, root, ...options }: DatasetOptions,
  report?: Report,
): Promise<NamedDataset> {
  const read = { fashioniq: readFashionIq, cirr: readCirr, folder: readFolder }[dataset];
  return read(root, options, report);
}

/** Which kinds of data sets a folder holds, as its file names tell. */
export async function kindsIn(root: string): Promise<DatasetKind[]> {
  const isThere = {
    fashioniq: await findFashionIq(root) !== undefined,
    cirr: await findCirr(root) !== undefined,
    folder: await isDataFolder(root),
  };
  return DATASET_KINDS.filter((kind) => isThere[kind]);
}
