/** A split's queries in terms of the galleries that they search. */
import { DataError } from "../core/errors.ts";
import type { Dataset, Split, Triplet } from "../data/triplet.ts";

/** The queries that search one gallery. Targets, references and members are positions in it. */
export interface Search {
  /** Of the queries, where each category has a gallery. */
  readonly category?: string;
  /** Positions in `Dataset.images`. */
  readonly gallery: readonly number[];
  /** Positions in `Split.triplets`. */
  readonly queries: readonly number[];
  /** One a query; nothing where they are secret. */
  readonly targets?: Uint32Array<ArrayBuffer>;
  /** What each query's ranking leaves out, -1 for nothing. */
  readonly exclude?: Int32Array<ArrayBuffer>;
  /** Each query's group, where it has one. */
  readonly members: readonly (readonly number[] | undefined)[];
}

/**
 * The searches of a split: one, or one a category, in the order of its galleries.
 *
 * @param keepsReference The reference stays in the ranking.
 * @throws {DataError} If a gallery lists an image twice, lacks a target or a group's member, or a category has none.
 */
export function searchesOf(
  { images }: Dataset,
  { triplets, gallery, galleries }: Split,
  keepsReference: boolean,
): Search[] {
  if (triplets.length === 0) return [];
  const all = [...triplets.keys()];
  const nameOf = (image: number) => `"${images[image]?.name ?? image}"`;
  if (!galleries) return [searchOf(triplets, gallery, all, keepsReference, nameOf)];
  const stranger = triplets.findIndex(({ category = "" }) => !Object.hasOwn(galleries, category));
  if (stranger >= 0) {
    throw new DataError(
      `query ${stranger}: its category "${triplets[stranger].category ?? ""}" has no gallery`,
      { fix: `there are galleries of ${Object.keys(galleries).join(", ")}` },
    );
  }
  return Object.entries(galleries).flatMap(([category, own]) => {
    const queries = all.filter((q) => triplets[q].category === category);
    if (queries.length === 0) return [];
    return [{ category, ...searchOf(triplets, own, queries, keepsReference, nameOf) }];
  });
}

function searchOf(
  triplets: readonly Triplet[],
  gallery: readonly number[],
  queries: readonly number[],
  keepsReference: boolean,
  nameOf: (image: number) => string,
): Search {
  const place = new Map(gallery.map((image, g) => [image, g]));
  if (place.size < gallery.length) {
    const twice = gallery.find((image, g) => place.get(image) !== g) ?? 0; // the last place is kept
    throw new DataError(`the gallery of ${gallery.length} lists image ${nameOf(twice)} twice`);
  }
  const placeOf = (image: number, what: string, query: number): number => {
    const g = place.get(image);
    if (g !== undefined) return g;
    throw new DataError(
      `query ${query}: its ${what} ${nameOf(image)} is not in the gallery of ${gallery.length}`,
    );
  };
  const asked = queries.map((query) => ({ query, ...triplets[query] }));
  const secret = asked.filter(({ target }) => target === null).length;
  if (secret > 0 && secret < asked.length) {
    throw new DataError(`${secret} of ${asked.length} queries have no target`, {
      fix: "a split has targets, or it has none",
    });
  }
  return {
    gallery,
    queries,
    ...(secret > 0 ? {} : {
      targets: Uint32Array.from(
        asked,
        ({ query, target }) => target === null ? 0 : placeOf(target, "target", query),
      ),
    }),
    ...(keepsReference
      ? {}
      : { exclude: Int32Array.from(asked, ({ reference }) => place.get(reference) ?? -1) }),
    members: asked.map(({ query, group }) => group?.map((image) => placeOf(image, "group member", query))),
  };
}
