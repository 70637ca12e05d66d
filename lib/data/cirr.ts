/**
 * CIRR (Liu et al., ICCV 2021): open-domain pictures in groups of six look-alikes, one caption a triplet.
 *
 *   ROOT/cirr/captions/cap.rc2.{train,val,test1}.json
 *     [{pairid, reference, target_hard, caption, img_set: {members: [6 names]}}]        test1 has no target_hard
 *   ROOT/cirr/image_splits/split.rc2.{train,val,test1}.json        {name: "./dev/name.png"}, the gallery in its order
 *   ROOT/{train/0 ... train/99,dev,test1}/NAME.png   or the same folders below ROOT/cirr/img_raw/
 */
import { basename, join } from "node:path";
import { DataError } from "../core/errors.ts";
import { type Annotation, readItems, type Report, throwError, UniqueIds } from "./annotations.ts";
import { fileNames, isFolder } from "./image_files.ts";
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

/** Folder names, below the one that is given: the README's, the released code's. */
const ROOTS = ["", "cirr_dataset", "cirr_datasets"];
/** A split's name in CIRR's files. */
const FILE_NAMES: Readonly<Record<SplitName, string>> = { train: "train", val: "val", test: "test1" };
const GROUP_SIZE = 6;

/**
 * Opens CIRR; its test1 is the split `test`. A split without its two files is empty.
 *
 * Source: the released `data_utils.py`, `CIRRDataset`. Quirk Q29: its images are padded and resized in the file's own mode.
 *
 * @param root The folder with `cirr/captions/`, or the one that `cirr_dataset/` or `cirr_datasets/` is in.
 * @throws {DataError} If a file is missing, broken or contradicts another, or an image has no file; it names file and entry.
 *
 * @example Usage
 * ```ts
 * const opened = openCirr("no/such/folder", { splits: ["val"] });
 * const text = await opened.then(({ splits }) => `${splits.val.triplets.length} queries`, (error) => error.message);
 * if (text !== "no CIRR in no/such/folder") throw new Error(text);
 * ```
 */
export async function openCirr(root: string, options: OpenOptions = {}): Promise<Dataset> {
  return toDataset(await readCirr(root, options), options);
}

/** CIRR's two folders, if they are there: that of `cirr/` and that of the annotations. */
export async function findCirr(root: string): Promise<{ folder: string; annotations: string } | undefined> {
  for (const name of ROOTS) {
    const folder = join(root, name);
    for (const annotations of [join(folder, "cirr"), folder]) {
      const names = await fileNames(join(annotations, "captions"));
      if ([...names].some((name) => name.startsWith("cap.rc2."))) return { folder, annotations };
    }
  }
}

/** CIRR by names. Errors in single entries go to `report`. */
export async function readCirr(
  root: string,
  { splits = SPLIT_NAMES, onProgress = () => {} }: OpenOptions = {},
  report: Report = throwError,
): Promise<NamedDataset> {
  const found = await findCirr(root);
  if (!found) {
    throw new DataError(`no CIRR in ${root}`, {
      where: ROOTS.map((name) => join(root, name, "cirr", "captions", "cap.rc2.val.json")).join("\n"),
      fix:
        "pass the folder that has cirr/captions/, cirr/image_splits/, and the images in train/, dev/ and test1/",
    });
  }
  const { folder, annotations } = found;
  const imageFolders = [folder, join(annotations, "img_raw")];
  const there = new Set([
    ...await fileNames(join(annotations, "captions")),
    ...await fileNames(join(annotations, "image_splits")),
  ]);
  const paths = new Map<string, string>(), pairIds = new UniqueIds();
  const read: Record<SplitName, NamedSplit> = { train: NO_SPLIT, val: NO_SPLIT, test: NO_SPLIT };
  for (const [i, split] of splits.entries()) {
    const name = FILE_NAMES[split];
    const files = { captions: `cap.rc2.${name}.json`, gallery: `split.rc2.${name}.json` };
    if (there.has(files.captions) || there.has(files.gallery)) {
      const galleryPath = join(annotations, "image_splits", files.gallery);
      const names = await readItems(galleryPath, (root) => root.values(), (at) => addPath(at, paths), report);
      const inGallery = new Set(names);
      const readOne = (at: Annotation) => {
        const triplet = readTriplet(at, split, inGallery, files.gallery);
        pairIds.add(triplet.pairId, at.key("pairid"));
        return triplet;
      };
      const captionsPath = join(annotations, "captions", files.captions);
      read[split] = {
        triplets: await readItems(captionsPath, (root) => root.list(), readOne, report),
        galleries: new Map([["", names]]),
        galleryFile: () => galleryPath,
      };
    }
    onProgress({ what: "reading annotations", done: i + 1, total: splits.length });
  }
  const images = await imageRoot(imageFolders, paths);
  return {
    name: "CIRR",
    pathOf: (name) => join(images, paths.get(name) ?? name),
    imageFolders,
    splits: read,
  };
}

/** The folder below which the first image's own folder is, or the first. */
async function imageRoot(roots: readonly string[], paths: ReadonlyMap<string, string>): Promise<string> {
  const tops = new Set([...paths.values()].map((path) => path.slice(0, path.indexOf("/"))));
  for (const root of roots) {
    for (const top of tops) if (await isFolder(join(root, top))) return root;
  }
  return roots[0];
}

/** One image of a split file: its name, once its path is noted. */
function addPath(at: Annotation, paths: Map<string, string>): string {
  const name = at.lastKey, path = at.path();
  if (basename(path) !== `${name}.png` || !path.includes("/")) {
    throw at.error(`is "${path}", expected a path that ends in /${name}.png`);
  }
  if (paths.has(name)) {
    throw at.error(
      "is also an image of another split",
      "the splits of CIRR share no image: get the files anew",
    );
  }
  paths.set(name, path);
  return name;
}

function readTriplet(
  at: Annotation,
  split: SplitName,
  gallery: ReadonlySet<string>,
  galleryFile: string,
): NamedTriplet & { pairId: number } {
  const target = split === "test" ? at.optional("target_hard") : at.key("target_hard");
  const reference = at.key("reference").name(), targets = target ? [target.name()] : [];
  if (gallery.size > 0 && !gallery.has(reference)) { // an empty one could not be read, which was reported
    throw at.key("reference").error(
      `is "${reference}", which is not among the ${gallery.size} images of ${galleryFile}`,
      "are the two files of one split? get both anew",
    );
  }
  const members = at.key("img_set").key("members"), wanted = [reference, ...targets];
  const group = split === "train" ? wholeGroup(members, wanted, gallery) : readGroup(members, wanted);
  return {
    at,
    reference,
    targets,
    captions: [at.key("caption").text()],
    ...group && { group },
    pairId: at.key("pairid").integer(),
  };
}

/** The six look-alikes. */
function readGroup(members: Annotation, wanted: readonly string[]): string[] {
  const ids = new UniqueIds();
  const group = members.list({ length: GROUP_SIZE }).map((member) => {
    ids.add(member.name(), member);
    return member.name();
  });
  const lost = wanted.find((name) => !group.includes(name));
  if (lost !== undefined) throw members.error(`lacks "${lost}", the reference or the target`);
  return group;
}

/** In train, where nobody ranks a group, one that is not in order is no error: it is left out. */
function wholeGroup(members: Annotation, wanted: readonly string[], gallery: ReadonlySet<string>) {
  try {
    const group = readGroup(members, wanted);
    return group.every((name) => gallery.has(name)) ? group : undefined;
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
  }
}
