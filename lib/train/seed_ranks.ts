/** A file of rankings as comparisons of runs take it. */
import { DataError } from "../core/errors.ts";
import { CATEGORY_GALLERY, UNION_GALLERY } from "../data/union_gallery.ts";
import type { SeedRanks } from "../report/compare.ts";
import type { Kind } from "./evaluate.ts";
import type { Rankings } from "./rankings.ts";

/**
 * The ranks of one way to ask, with what is needed to pair runs.
 *
 * @param file What errors call the rankings.
 * @param seed Of the run.
 * @throws {DataError} If a target is secret, or the rankings lack this way to ask.
 */
export function seedRanksOf(
  { queries, protocol }: Rankings,
  { file, seed, kind = "composed" }: { readonly file: string; readonly seed: number; readonly kind?: Kind },
): SeedRanks {
  const answers = queries.map(({ [kind]: answer }, q) => {
    if (answer && answer.rank !== null) return { ...answer, rank: answer.rank };
    throw new DataError(`${file}: query ${q} has no rank as ${kind} query`, { where: file });
  });
  const hasGroups = answers.some(({ subset }) => subset !== undefined);
  // Elsewhere a category is a kind of query: all are ranked in one gallery, and Recall is the mean over all.
  const hasCategories = [CATEGORY_GALLERY, UNION_GALLERY].includes(protocol.gallery);
  return {
    seed,
    protocol,
    queries: queries.map(({ reference, target, captions }) =>
      `${reference} > ${target}: ${captions.join(" | ")}`
    ),
    rules: queries.map(({ rule, category }) => rule ?? category ?? ""),
    ranks: answers.map(({ rank }) => rank),
    ...(hasGroups ? { subset: answers.map(({ subset = null }) => subset) } : {}),
    ...(hasCategories ? { categories: queries.map(({ category = "" }) => category) } : {}),
  };
}
