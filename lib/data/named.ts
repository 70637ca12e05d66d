/** A data set as its annotations have it, by names; and the `Dataset` that it becomes, by positions. */
import { resolve } from "node:path";
import { DataError } from "../core/errors.ts";
import type { OnProgress } from "../core/progress.ts";
import { sha256Hex } from "../io/atomic.ts";
import type { Annotation } from "./annotations.ts";
import { checkFiles } from "./check_pool.ts";
import { missingFiles } from "./image_files.ts";
import type { Dataset, LeftOut, MissingQuery, Split, SplitName, Triplet } from "./triplet.ts";

/** The sides in the order in which images and hash have them. */
export const SPLIT_NAMES = ["train", "val", "test"] as const satisfies readonly SplitName[];

/** A triplet by image names. */
export interface NamedTriplet {
  /** Its entry, for errors. */
  readonly at: Annotation;
  readonly reference: string;
  /** The right answers, the first is `Triplet.target`; none where they are secret. */
  readonly targets: readonly string[];
  readonly captions: readonly string[];
  readonly group?: readonly string[];
  readonly category?: string;
  readonly pairId?: string | number;
}

/** A split by image names. */
export interface NamedSplit {
  readonly triplets: readonly NamedTriplet[];
  /** By category; one gallery for all queries has the key `""`. */
  readonly galleries: ReadonlyMap<string, readonly string[]>;
  /** The file that lists a category's gallery, for errors. */
  readonly galleryFile: (category: string) => string;
}

/** A data set by image names. */
export interface NamedDataset {
  readonly name: string;
  /** Where an image's file should be. */
  readonly pathOf: (name: string) => string;
  /** The image folders that were looked for. */
  readonly imageFolders: readonly string[];
  readonly splits: Readonly<Record<SplitName, NamedSplit>>;
  readonly gallery?: string;
  readonly convertRgbFirst?: boolean;
  readonly keepsReference?: boolean;
}

/** What opening a data set takes, whichever it is. */
export interface OpenOptions {
  /** Splits to open. Default: those that the folder has. */
  readonly splits?: readonly SplitName[];
  /**
   * Leave out what a missing image belongs to, and say so in the data set; an image whose file is empty, cut short or no
   * image counts as missing. Default: a missing image is an error, and what is in the files is not looked at.
   */
  readonly skipMissing?: boolean;
  /** Do not look for the images' files at all: for work on names and captions. */
  readonly annotationsOnly?: boolean;
  /** With `annotationsOnly`: images to leave out, as `skipMissing` left them out of a data set with this hash. */
  readonly leaveOut?: readonly string[];
  readonly onProgress?: OnProgress;
}

/** A split that is not there. */
export const NO_SPLIT: NamedSplit = { triplets: [], galleries: new Map(), galleryFile: () => "" };

/** The gallery that a query is ranked in: that of its category, or the one that all share. */
export const galleryKey = ({ galleries }: NamedSplit, { category }: NamedTriplet): string =>
  galleries.has("") ? "" : category ?? "";

/** Queries whose category has no gallery, or whose gallery lacks the target or the group: ranked there, nobody could find it. */
export function* galleryErrors({ splits }: NamedDataset): Generator<DataError> {
  for (const split of SPLIT_NAMES.map((name) => splits[name])) {
    const sets = new Map([...split.galleries].map(([key, names]) => [key, new Set(names)]));
    for (const triplet of split.triplets) {
      const key = galleryKey(split, triplet), gallery = sets.get(key);
      if (!gallery) {
        const known = [...sets.keys()].join(", ") || "none";
        const what = triplet.category === undefined ? "no category" : `the category "${triplet.category}"`;
        yield triplet.at.error(
          `has ${what}, but there are galleries for: ${known}`,
          "correct it, or add a gallery",
        );
        continue;
      }
      const wanted = { target: triplet.targets, "group member": triplet.group ?? [] };
      for (const [what, names] of Object.entries(wanted)) {
        const lost = names.find((name) => !gallery.has(name));
        if (lost === undefined) continue;
        yield triplet.at.error(
          `has the ${what} "${lost}", which is not in the gallery of ${gallery.size} images`,
          `the gallery is that of ${split.galleryFile(key)}: is it of the same split? get both files anew`,
        );
        break;
      }
    }
  }
}

/** All images that galleries and triplets name, in that order, each once. */
export function imageNames({ splits }: NamedDataset): string[] {
  const names = new Set<string>();
  for (const { triplets, galleries } of SPLIT_NAMES.map((name) => splits[name])) {
    for (const gallery of galleries.values()) for (const name of gallery) names.add(name);
    for (const { reference, targets, group = [] } of triplets) {
      names.add(reference);
      for (const name of targets) names.add(name);
      for (const name of group) names.add(name);
    }
  }
  return [...names];
}

/**
 * Checks that every target is in its gallery and every image has a file, and numbers the images.
 *
 * @throws {DataError} If a target is not in its gallery, an image has no file (without `skipMissing`), or nothing is left.
 */
export async function toDataset(named: NamedDataset, options: OpenOptions = {}): Promise<Dataset> {
  const { skipMissing = false, annotationsOnly = false, leaveOut = [], onProgress } = options;
  for (const error of galleryErrors(named)) throw error;
  const all = imageNames(named);
  if (all.length === 0) {
    throw new DataError(`${named.name}: no triplets and no images`, {
      fix: "name the folder of a whole data set",
    });
  }
  const missing = new Set(
    annotationsOnly ? leaveOut : await missingFiles(all, named.pathOf, onProgress),
  );
  if (skipMissing && !annotationsOnly) {
    const there = all.filter((image) => !missing.has(image));
    const checks = await checkFiles(there.map(named.pathOf), { onProgress });
    for (const [i, { problem }] of checks.entries()) if (problem) missing.add(there[i]);
  }
  if (!annotationsOnly && missing.size > 0 && (!skipMissing || missing.size === all.length)) {
    throw missingError(named, all, missing);
  }

  const images = all.filter((name) => !missing.has(name));
  const numbers = new Map(images.map((name, i) => [name, i]));
  const queries: MissingQuery[] = [];
  const entries = SPLIT_NAMES.map((name) =>
    [name, numbered(name, named.splits[name], numbers, queries)] as const
  );
  const splits = Object.fromEntries(entries) as Record<SplitName, Split>;
  const { name, pathOf, gallery, convertRgbFirst, keepsReference } = named;
  return {
    name,
    images: images.map((image) =>
      annotationsOnly ? { name: image } : { name: image, path: resolve(pathOf(image)) }
    ),
    splits,
    hash: sha256Hex(JSON.stringify([name, images, splits])),
    ...gallery !== undefined && { gallery },
    ...convertRgbFirst && { convertRgbFirst },
    ...keepsReference && { keepsReference },
    ...missing.size > 0 && { missing: { images: [...missing], queries } },
  };
}

/** A split by positions, without what needs an image that has none; the queries among it are added to `lost`. */
function numbered(
  name: SplitName,
  split: NamedSplit,
  numbers: ReadonlyMap<string, number>,
  lost: MissingQuery[],
): Split {
  const isThere = (image: string) => numbers.has(image);
  const positions = (names: readonly string[]) => names.flatMap((image) => numbers.get(image) ?? []);
  const leftOut: Record<string, { -readonly [K in keyof LeftOut]: LeftOut[K] }> = {};
  const galleries: Record<string, number[]> = {};
  for (const [key, names] of split.galleries) {
    galleries[key] = positions(names);
    leftOut[key] = { queries: 0, images: names.length - galleries[key].length };
  }
  const triplets: Triplet[] = [];
  for (const triplet of split.triplets) {
    const { at, reference, targets, captions, group, category, pairId } = triplet;
    if (![reference, ...targets].every(isThere)) {
      lost.push({ split: name, where: at.where, reference, targets });
      leftOut[galleryKey(split, triplet)].queries++;
      continue;
    }
    const [target = null, ...others] = positions(targets), members = group && positions(group);
    const groupLeftOut = (group?.length ?? 0) - (members?.length ?? 0);
    triplets.push({
      reference: positions([reference])[0],
      target,
      ...target !== null && others.length > 0 && { targets: [target, ...others] },
      captions,
      ...members && { group: members },
      ...groupLeftOut > 0 && { groupLeftOut },
      ...category !== undefined && { category },
      ...pairId !== undefined && { pairId },
    });
  }
  const isIncomplete = Object.values(leftOut).some(({ queries, images }) => queries > 0 || images > 0);
  return {
    triplets,
    gallery: [...new Set(Object.values(galleries).flat())],
    ...!split.galleries.has("") && split.galleries.size > 0 && { galleries },
    ...isIncomplete && { leftOut },
  };
}

function missingError(named: NamedDataset, all: readonly string[], missing: ReadonlySet<string>): DataError {
  const first = [...missing].slice(0, 3).map((name) => named.pathOf(name)).join("\n");
  const queries = SPLIT_NAMES.map((name) => {
    const affected = named.splits[name].triplets.filter(({ reference, targets }) =>
      [reference, ...targets].some((image) => missing.has(image))
    );
    return affected.length > 0 ? [`${affected.length} of ${name}`] : [];
  }).flat();
  const needed = queries.length > 0 ? `; queries that need them: ${queries.join(", ")}` : "";
  const none = missing.size === all.length;
  return new DataError(`${named.name}: ${missing.size} of ${all.length} images have no file${needed}`, {
    where: none
      ? `looked for images in\n${named.imageFolders.join("\n")}`
      : first + (missing.size > 3 ? "\n..." : ""),
    fix: none
      ? "put the images there: the README says where to get them"
      : `get them, or pass --skip-missing to leave them out; "deno task data" lists them all`,
  });
}
