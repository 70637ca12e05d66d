/** The smaller galleries that some papers rank FashionIQ's queries in. */
import { ConfigError } from "../core/errors.ts";
import type { Dataset, Split, SplitName } from "./triplet.ts";

/** How a table's protocol names the galleries of categories: those of the split files. */
export const CATEGORY_GALLERY = "all images of the split and category";
/** And the smaller ones. */
export const UNION_GALLERY = "candidates and targets of the category";

/**
 * The data set with each category's gallery cut to the images that are candidate or target of one of its queries, in the
 * same order; the queries that were left out for missing files count too. A split without targets keeps its galleries.
 *
 * @throws {ConfigError} If its categories have no galleries of their own.
 *
 * @example Usage
 * ```ts
 * const triplets = [{ reference: 0, target: 2, captions: ["red"], category: "dress" }];
 * const val = { triplets, gallery: [], galleries: { dress: [0, 1, 2] } }, none = { triplets: [], gallery: [] };
 * const union = withUnionGallery({ name: "mine", images: [], hash: "", splits: { train: none, val, test: none } });
 * if (union.splits.val.galleries?.dress.join() !== "0,2") throw new Error("withUnionGallery");
 * ```
 */
export function withUnionGallery(dataset: Dataset): Dataset {
  const { val, test } = dataset.splits;
  if (!val.galleries && !test.galleries) {
    throw new ConfigError(`--gallery union: ${dataset.name} has no gallery for each category`, {
      fix: "leave out --gallery",
    });
  }
  const lostOf = (name: SplitName) => {
    const queries = dataset.missing?.queries.filter(({ split }) => split === name) ?? [];
    const lost = new Set(queries.flatMap(({ reference, targets }) => [reference, ...targets]));
    return dataset.images.flatMap(({ name: image }, i) => lost.has(image) ? [i] : []);
  };
  return {
    ...dataset,
    gallery: UNION_GALLERY,
    splits: { ...dataset.splits, val: unionOf(val, lostOf("val")), test: unionOf(test, lostOf("test")) },
  };
}

/** @param lost The images that are there of queries that were left out. */
function unionOf(split: Split, lost: readonly number[]): Split {
  const { triplets, galleries } = split;
  if (!galleries || triplets.some(({ target }) => target === null)) return split;
  const cut = Object.entries(galleries).map(([category, gallery]) => {
    const used = new Set([
      ...lost,
      ...triplets.flatMap((triplet) =>
        triplet.category === category && triplet.target !== null
          ? [triplet.reference, triplet.target, ...(triplet.targets ?? [])]
          : []
      ),
    ]);
    return [category, gallery.filter((image) => used.has(image))];
  });
  return { ...split, galleries: Object.fromEntries(cut) };
}
