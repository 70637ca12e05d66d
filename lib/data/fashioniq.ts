/**
 * FashionIQ (Wu et al., CVPR 2021): dresses, shirts and tops, two captions a triplet.
 *
 *   ROOT/captions/cap.{dress,toptee,shirt}.{train,val,test}.json          [{candidate, target, captions: [a, b]}]
 *   ROOT/image_splits/split.{dress,toptee,shirt}.{train,val,test}.json    [name, ...]
 *   ROOT/images/NAME.jpg   or   ROOT/image_data/NAME.jpg
 */
import { basename, join } from "node:path";
import { DataError } from "../core/errors.ts";
import { type Annotation, readItems, type Report, throwError, UniqueIds } from "./annotations.ts";
import { fileNames, firstFolder } from "./image_files.ts";
import {
  type NamedDataset,
  type NamedSplit,
  type NamedTriplet,
  NO_SPLIT,
  type OpenOptions,
  SPLIT_NAMES,
  toDataset,
} from "./named.ts";

import type { Dataset, SplitName } from "./triplet.ts";
import { UNION_GALLERY } from "./union_gallery.ts";

/** The order in which the released code joins them: it is the order of the training triplets. */
const CATEGORIES = ["dress", "toptee", "shirt"] as const;
/** Folder names, below the one that is given. */
const ROOTS = ["", "fashionIQ_dataset"];

/** How `openFashionIq` opens. */
export interface FashionIqOptions extends OpenOptions {
  /**
   * Which images a query is ranked among: all of its category's split file (`original`, the default), or those that are
   * candidate or target of a query (`union`: 8,619 instead of 15,536 in val), as some papers report.
   */
  readonly gallery?: "original" | "union";
}

/**
 * Opens FashionIQ.
 *
 * The triplets of train come as dress, toptee, shirt. Train's galleries are always the images that its triplets name: nobody
 * ranks the other 20,000. A split without any of its six files is empty.
 *
 * Source: the released `data_utils.py`, `FashionIQDataset`. Quirk Q27: there a query whose image is missing stays.
 *
 * @param root The folder with `captions/`, or the folder that `fashionIQ_dataset/` is in.
 * @throws {DataError} If a file is missing, broken or contradicts another, or an image has no file; it names file and entry.
 *
 * @example Usage
 * ```ts
 * const opened = openFashionIq("no/such/folder", { gallery: "union" });
 * const text = await opened.then(({ splits }) => `${splits.val.triplets.length} queries`, (error) => error.message);
 * if (text !== "no FashionIQ in no/such/folder") throw new Error(text);
 * ```
 */
export async function openFashionIq(root: string, options: FashionIqOptions = {}): Promise<Dataset> {
  return toDataset(withGalleries(await readFashionIq(root, options), options.gallery), options);
}

/** FashionIQ with the galleries that a query is ranked among, instead of those of the split files. */
export function withGalleries(named: NamedDataset, gallery: FashionIqOptions["gallery"]): NamedDataset {
  const choose = (split: SplitName): NamedSplit => {
    const { triplets, galleries } = named.splits[split];
    // Without targets there is no union of candidates and targets: test keeps its split file.
    const isWhole = split !== "train" &&
      (gallery !== "union" || triplets.every(({ targets }) => targets.length === 0));
    if (isWhole) return named.splits[split];
    const chosen = [...galleries].map(([category, names]) => {
      const own = triplets.filter((triplet) => triplet.category === category);
      const used = new Set(own.flatMap(({ reference, targets }) => [reference, ...targets]));
      return [category, names.filter((name) => used.has(name))] as const;
    });
    return { ...named.splits[split], galleries: new Map(chosen) };
  };
  return {
    ...named,
    ...gallery === "union" && { gallery: UNION_GALLERY },
    splits: { train: choose("train"), val: choose("val"), test: choose("test") },
  };
}

/** The folder that has FashionIQ's captions, if there is one. */
export async function findFashionIq(root: string): Promise<string | undefined> {
  for (const folder of ROOTS.map((name) => join(root, name))) {
    const names = await fileNames(join(folder, "captions"));
    if ([...names].some((name) => /^cap\.(dress|toptee|shirt)\./.test(name))) return folder;
  }
}

/** FashionIQ by names, each gallery as in its split file. Errors in single entries go to `report`. */
export async function readFashionIq(
  root: string,
  { splits = SPLIT_NAMES, onProgress = () => {} }: OpenOptions = {},
  report: Report = throwError,
): Promise<NamedDataset> {
  const folder = await findFashionIq(root);
  if (folder === undefined) {
    throw new DataError(`no FashionIQ in ${root}`, {
      where: ROOTS.map((name) => join(root, name, "captions", "cap.dress.train.json")).join("\n"),
      fix: "pass the folder that has captions/, image_splits/ and images/",
    });
  }
  const imageFolders = [join(folder, "images"), join(folder, "image_data")] as const;
  const images = await firstFolder(imageFolders);
  const there = new Set([
    ...await fileNames(join(folder, "captions")),
    ...await fileNames(join(folder, "image_splits")),
  ]);
  const read: Record<SplitName, NamedSplit> = { train: NO_SPLIT, val: NO_SPLIT, test: NO_SPLIT };
  for (const [i, split] of splits.entries()) {
    const files = CATEGORIES.flatMap((c) => [`cap.${c}.${split}.json`, `split.${c}.${split}.json`]);
    if (files.some((name) => there.has(name))) {
      read[split] = await readSplit(folder, split, report);
    }
    onProgress({ what: "reading annotations", done: i + 1, total: splits.length });
  }
  return {
    name: "FashionIQ",
    pathOf: (name) => join(images, `${name}.jpg`),
    imageFolders,
    splits: read,
    convertRgbFirst: true,
    keepsReference: true,
  };
}

const splitPath = (folder: string, category: string, split: string): string =>
  join(folder, "image_splits", `split.${category}.${split}.json`);

async function readSplit(folder: string, split: SplitName, report: Report): Promise<NamedSplit> {
  const triplets: NamedTriplet[] = [], galleries = new Map<string, string[]>();
  for (const category of CATEGORIES) {
    const ids = new UniqueIds(), galleryPath = splitPath(folder, category, split);
    const names = await readItems(galleryPath, (root) => root.list(), (item) => {
      const name = imageName(item);
      ids.add(name, item);
      return name;
    }, report);
    const inGallery = new Set(names);
    const readOne = (entry: Annotation) => {
      const triplet = readTriplet(entry, category, split);
      if (inGallery.size > 0 && !inGallery.has(triplet.reference)) {
        throw entry.key("candidate").error(
          `is "${triplet.reference}", which is not among the ${names.length} images of ${
            basename(galleryPath)
          }`,
          "are the two files of one split? get both anew",
        );
      }
      return triplet;
    };
    const captionsPath = join(folder, "captions", `cap.${category}.${split}.json`);
    triplets.push(...await readItems(captionsPath, (root) => root.list(), readOne, report));
    galleries.set(category, names);
  }
  return { triplets, galleries, galleryFile: (category) => splitPath(folder, category, split) };
}

function readTriplet(at: Annotation, category: string, split: SplitName): NamedTriplet {
  const target = split === "test" ? at.optional("target") : at.key("target");
  return {
    at,
    reference: imageName(at.key("candidate")),
    targets: target ? [imageName(target)] : [],
    captions: at.key("captions").list({ length: 2 }).map((caption) => caption.text()),
    category,
  };
}

/** An image's name without the `.jpg` that some copies of the annotations have. */
function imageName(at: Annotation): string {
  const name = at.path().replace(/\.jpg$/, "");
  if (name.includes("/")) throw at.error(`is "${name}", expected an image's name without a folder`);
  return name;
}
