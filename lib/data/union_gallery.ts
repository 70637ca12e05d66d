/** The smaller galleries that some papers rank FashionIQ's queries in. */
import { ConfigError } from "../core/errors.ts";
import type { Dataset, Split } from "./triplet.ts";

/** How a table's protocol names the galleries of categories: those of the split files. */
export const CATEGORY_GALLERY = "all images of the split and category";
/** And the smaller ones. */
export const UNION_GALLERY = "candidates and targets of the category";

/**
 * The data set with each category's gallery cut to the images that are candidate or target of one of its queries, in the
 * same order. A split without targets keeps its galleries.
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
  return {
    ...dataset,
    gallery: UNION_GALLERY,
    splits: { ...dataset.splits, val: unionOf(val), test: unionOf(test) },
  };
}

function unionOf(split: Split): Split {
  const { triplets, galleries } = split;
  if (!galleries || triplets.some(({ target }) => target === null)) return split;
  const cut = Object.entries(galleries).map(([category, gallery]) => {
    const used = new Set(
      triplets.flatMap((triplet) =>
        triplet.category === category && triplet.target !== null
          ? [triplet.reference, triplet.target, ...(triplet.targets ?? [])]
          : []
      ),
    );
    return [category, gallery.filter((image) => used.has(image))];
  });
  return { ...split, galleries: Object.fromEntries(cut) };
}
