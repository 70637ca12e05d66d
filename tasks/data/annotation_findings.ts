/** What the annotations say, and where they contradict themselves, each other, or what was published. */
import { basename } from "node:path";
import { DataError } from "../../lib/core/errors.ts";
import { formatCount } from "../../lib/core/format.ts";
import { type Annotation } from "../../lib/data/annotations.ts";
import {
  galleryErrors,
  galleryKey,
  type NamedDataset,
  type NamedTriplet,
  NO_SPLIT,
  SPLIT_NAMES,
} from "../../lib/data/named.ts";
import { type DatasetKind, readDataset } from "../../lib/data/open.ts";
import { cleanCaption, fashionIqEvalCaption, singleCaption } from "../../lib/text/captions.ts";
import { type Finding, findingOf } from "./finding.ts";
import { contentOf, type Published, publishedAs } from "./published.ts";

/** Reads all that can be read; what cannot is a finding. */
export async function readAll(
  dataset: DatasetKind,
  root: string,
): Promise<{ named: NamedDataset; findings: Finding[] }> {
  const findings: Finding[] = [];
  const report = (error: DataError) => findings.push(findingOf("annotation", error));
  let named: NamedDataset;
  try {
    named = await readDataset({ dataset, root }, report);
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    report(error);
    const splits = { train: NO_SPLIT, val: NO_SPLIT, test: NO_SPLIT };
    return { named: { name: dataset, pathOf: (name) => name, imageFolders: [], splits }, findings };
  }
  for (const error of galleryErrors(named)) findings.push(findingOf("target not in gallery", error));
  for (const split of ["train", "val"] as const) {
    if (named.splits[split].triplets.length > 0 || findings.some(({ isFatal }) => isFatal)) continue;
    findings.push({
      kind: "no split",
      isFatal: true,
      message: `there are no triplets of ${split}: ${
        split === "train" ? "training" : "validation"
      } has nothing to read`,
      fix: "put the annotation files of the split beside the others",
    });
  }
  return { named, findings };
}

/** The text that evaluation makes of a query. */
export const queryText = ({ captions }: NamedTriplet): string =>
  (captions.length === 2 ? fashionIqEvalCaption : singleCaption)(captions);

/** True for a caption without a word: of FashionIQ's two, one may be filled. */
export const isEmptyCaption = (caption: string): boolean => cleanCaption(caption).trim() === "";

const noteAt = (kind: string, at: Annotation, message: string): Finding => ({
  kind,
  isFatal: false,
  message: `${at.where}${message}`,
  file: at.file.path,
  place: at.place,
});

/** What training can live with, and a reader of its numbers may want to know. */
export function* captionFindings({ splits }: NamedDataset): Generator<Finding> {
  for (const { triplets } of SPLIT_NAMES.map((name) => splits[name])) {
    const asked = new Map<string, NamedTriplet>();
    for (const triplet of triplets) {
      const { at, reference, targets, captions, category } = triplet;
      for (const [i, caption] of captions.entries()) {
        if (!isEmptyCaption(caption)) continue;
        const which = captions.length > 1 ? `caption ${i + 1} of ${captions.length}` : "the caption";
        yield noteAt("empty caption", at, `: ${which} is empty, ${JSON.stringify(caption)}`);
      }
      if (targets.includes(reference)) yield noteAt("target is reference", at, `: both are "${reference}"`);
      const question = JSON.stringify([category, reference, captions]), first = asked.get(question);
      if (first) {
        const isSame = first.targets.join() === targets.join();
        const answer = targets.length === 0 ? "" : `, with ${isSame ? "the same" : "another"} answer`;
        yield noteAt("duplicate query", at, ` asks the same as ${first.at.where}${answer}`);
      } else asked.set(question, triplet);
    }
  }
}

/** Images that stand in two splits: what is trained on is then also searched. */
export function* sharedImages({ splits }: NamedDataset): Generator<Finding> {
  const sides = SPLIT_NAMES.flatMap((split) =>
    [...splits[split].galleries].map(([category, names]) => ({
      split,
      label: [split, category].filter(Boolean).join(" "),
      names: new Set(names),
    }))
  );
  for (const [i, a] of sides.entries()) {
    for (const b of sides.slice(i + 1)) {
      if (a.split === b.split) continue;
      const shared = a.names.intersection(b.names).size;
      if (shared === 0) continue;
      const message = `${a.label} and ${b.label} share ${formatCount(shared)} images`;
      yield { kind: "shared images", isFatal: false, message };
    }
  }
}

/** Files whose content is not the published one. */
export function* publishedFindings(
  dataset: DatasetKind,
  { splits }: NamedDataset,
  published: Published,
): Generator<Finding> {
  for (const split of SPLIT_NAMES) {
    for (const [category, names] of splits[split].galleries) {
      const expected = published[dataset]?.[split]?.[category];
      const triplets = splits[split].triplets.filter((triplet) =>
        galleryKey(splits[split], triplet) === category
      );
      if (!expected) continue;
      const contents = { captions: contentOf.captions(triplets), gallery: contentOf.gallery(names) };
      for (const part of ["captions", "gallery"] as const) {
        const found = contents[part],
          file = part === "gallery" ? splits[split].galleryFile(category) : triplets[0]?.at.file.path;
        if (found === (expected[part] ?? found) || file === undefined) continue;
        const isSwapped = part === "captions" && contentOf.swapped(triplets) === expected[part];
        const other = publishedAs(published, dataset, part, found);
        const what = isSwapped
          ? "has the two captions of each triplet in the other order: joined, they are other texts than published"
          : other
          ? `holds what was published as that of ${other}`
          : "is not the published file";
        yield {
          kind: "not as published",
          isFatal: false,
          message: `${basename(file)} ${what}`,
          file,
          fix: "get it anew, or do not compare with published numbers",
        };
      }
    }
  }
}
