/** A data set of one's own: a folder of images and one file, `triplets.json`. The format: `docs/data.md`. */
import { extname, join, relative } from "node:path";
import { DataError } from "../core/errors.ts";
import {
  type Annotation,
  AnnotationFile,
  readEach,
  type Report,
  throwError,
  UniqueIds,
} from "./annotations.ts";
import { fileNames } from "./image_files.ts";
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

const FILE = "triplets.json";
const IMAGES = "images";
const EXTENSIONS = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff"];

/**
 * Opens a folder with `triplets.json` and `images/`.
 *
 * @throws {DataError} If there is no such file, it is not as `docs/data.md` says, or an image has no file; it names the entry
 * and the key.
 *
 * @example Usage
 * ```ts
 * const root = await Deno.makeTempDir();
 * await Deno.mkdir(`${root}/images`);
 * for (const name of ["a.png", "b.png"]) await Deno.writeFile(`${root}/images/${name}`, new Uint8Array());
 * const triplet = { reference: "a.png", target: "b.png", captions: ["now in red"] };
 * await Deno.writeTextFile(`${root}/triplets.json`, JSON.stringify({ splits: { val: { triplets: [triplet] } } }));
 * const { splits, images } = await openFolder(root);
 * if (images[splits.val.triplets[0].target ?? 0].name !== "b.png") throw new Error("openFolder");
 * ```
 */
export async function openFolder(root: string, options: OpenOptions = {}): Promise<Dataset> {
  return toDataset(await readFolder(root, options), options);
}

/** True if the folder has a `triplets.json`. */
export const isDataFolder = async (root: string): Promise<boolean> => (await fileNames(root)).has(FILE);

/** The folder by names. Errors in single entries go to `report`. */
export async function readFolder(
  root: string,
  { splits = SPLIT_NAMES, onProgress = () => {} }: OpenOptions = {},
  report: Report = throwError,
): Promise<NamedDataset> {
  if (!await isDataFolder(root)) {
    throw new DataError(`no data set in ${root}: it has no ${FILE}`, {
      where: root,
      fix: "docs/data.md describes the file",
    });
  }
  const file = await AnnotationFile.read(join(root, FILE)), { root: top } = file;
  const images = join(root, IMAGES);
  top.allowKeys(["name", "splits"]);
  const all = top.key("splits");
  all.allowKeys(SPLIT_NAMES);
  let found: readonly string[] | undefined; // all images of the folder, once they are wanted
  const read: Record<SplitName, NamedSplit> = { train: NO_SPLIT, val: NO_SPLIT, test: NO_SPLIT };
  const captionCounts = new Map<number, Annotation>();
  for (const [i, split] of splits.entries()) {
    const at = all.optional(split);
    if (at) {
      at.allowKeys(["triplets", "gallery", "galleries"]);
      const triplets = readEach(
        at.key("triplets").list(),
        (entry) => readTriplet(entry, split, captionCounts),
        report,
      );
      read[split] = {
        triplets,
        galleries: readGalleries(at, report) ??
          new Map([["", withNamed(found ??= await imagesBelow(images), triplets)]]),
        galleryFile: () => file.path,
      };
    }
    onProgress({ what: "reading annotations", done: i + 1, total: splits.length });
  }
  return {
    name: top.optional("name")?.name() ?? "folder",
    pathOf: (name) => join(images, name),
    imageFolders: [images],
    splits: read,
    convertRgbFirst: true,
  };
}

/** One gallery for all queries, or one for each category; nothing where the file lists none. */
function readGalleries(split: Annotation, report: Report): Map<string, string[]> | undefined {
  const namesOf = (list: Annotation) => {
    const ids = new UniqueIds();
    return readEach(list.list(), (item) => {
      ids.add(item.path(), item);
      return item.path();
    }, report);
  };
  const gallery = split.optional("gallery"), galleries = split.optional("galleries");
  if (gallery && galleries) throw split.error(`has both "gallery" and "galleries"`, "keep one of them");
  if (galleries) return new Map(galleries.values().map((list) => [list.lastKey, namesOf(list)]));
  return gallery && new Map([["", namesOf(gallery)]]);
}

/** The images of the folder, and those that triplets name: what is not there is then a missing image. */
const withNamed = (found: readonly string[], triplets: readonly NamedTriplet[]): string[] => [
  ...new Set([...found, ...triplets.flatMap(({ targets, group = [] }) => [...targets, ...group])]),
];

function readTriplet(at: Annotation, split: SplitName, captionCounts: Map<number, Annotation>): NamedTriplet {
  at.allowKeys(["id", "reference", "target", "targets", "captions", "group", "category"]);
  const reference = at.key("reference").path(), targets = readTargets(at, split);
  const captions = readCaptions(at.key("captions"), captionCounts);
  const group = at.optional("group")?.list().map((member) => member.path());
  for (const name of group ? [reference, ...targets.slice(0, 1)] : []) {
    if (!group?.includes(name)) throw at.key("group").error(`lacks "${name}", the reference or the target`);
  }
  const category = at.optional("category")?.name(), pairId = at.optional("id")?.name();
  return {
    at,
    reference,
    targets,
    captions,
    ...group && { group },
    ...category !== undefined && { category },
    ...pairId !== undefined && { pairId },
  };
}

/** `target`, or `targets` where there are several; neither in a test whose answers are secret. */
function readTargets(at: Annotation, split: SplitName): string[] {
  const one = at.optional("target"), several = at.optional("targets");
  if (one && several) throw at.error(`has both "target" and "targets"`, "keep one of them");
  if (!one && !several) {
    if (split === "test") return [];
    throw at.error(`has neither "target" nor "targets"`, "only in test may the answers be secret");
  }
  if (one) return [one.path()];
  const ids = new UniqueIds();
  const names = (several?.list() ?? []).map((item) => {
    ids.add(item.path(), item);
    return item.path();
  });
  if (names.length === 0) throw at.key("targets").error("is empty, expected at least one image");
  return names;
}

/** One text, or two as in FashionIQ; the same number in the whole file, since it decides how texts are made. */
function readCaptions(at: Annotation, counts: Map<number, Annotation>): string[] {
  const captions = at.list().map((caption) => caption.text());
  if (captions.length < 1 || captions.length > 2) {
    throw at.error(
      `has ${captions.length} texts, expected one, or two as in FashionIQ`,
      "write a triplet for each further text",
    );
  }
  if (!counts.has(captions.length)) counts.set(captions.length, at);
  const other = counts.get(3 - captions.length);
  if (other) {
    throw at.error(
      `has ${captions.length} texts, but ${other.where} has ${3 - captions.length}`,
      "give all triplets one text, or all two",
    );
  }
  return captions;
}

/** The paths of image files below a folder, in order. */
async function imagesBelow(folder: string): Promise<string[]> {
  const paths: string[] = [];
  const walk = async (at: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(at)) {
      const path = join(at, name);
      if (isDirectory) await walk(path);
      else if (EXTENSIONS.includes(extname(name).toLowerCase())) paths.push(path);
    }
  };
  try {
    await walk(folder);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return paths.map((path) => relative(folder, path).replaceAll("\\", "/")).sort();
}
