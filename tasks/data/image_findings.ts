/** Which images have no file, or one that cannot be read, and which queries that costs. */
import { basename, dirname, extname } from "node:path";
import { formatCount } from "../../lib/core/format.ts";
import { withGalleries } from "../../lib/data/fashioniq.ts";
import { fileNames, missingFiles } from "../../lib/data/image_files.ts";
import { imageNames, type NamedDataset, SPLIT_NAMES } from "../../lib/data/named.ts";
import { checkFiles, hashFiles, type PoolOptions } from "../../lib/data/check_pool.ts";
import type { Finding } from "./finding.ts";

/** What the image files are like. */
export interface ImageReport {
  readonly findings: readonly Finding[];
  /** Images whose file is not there. */
  readonly missing: ReadonlySet<string>;
  /** Images whose file cannot be read. */
  readonly unreadable: ReadonlySet<string>;
  /** Images that the annotations name. */
  readonly count: number;
}

/** Looks for the files of all images and at each of them. */
export async function inspectImages(
  named: NamedDataset,
  { decode, ...options }: PoolOptions & { decode: boolean },
): Promise<ImageReport> {
  const names = imageNames(named), pathOf = named.pathOf;
  const missing = await missingFiles(names, pathOf, options.onProgress);
  const there = names.filter((name) => !missing.has(name));
  const checks = await checkFiles(there.map(pathOf), { decode, ...options });

  // An image that only train's split file names is not read: nobody ranks it.
  const needed = new Set(imageNames(named.name === "FashionIQ" ? withGalleries(named, "original") : named));
  const queries = queriesOf(named), findings: Finding[] = [], unreadable = new Set<string>();
  const lose = (kind: string, name: string, message: string) => {
    const affected = queries.get(name) ?? [], isFatal = needed.has(name);
    const cost = affected.length > 0
      ? `; ${affected.length === 1 ? "a query needs it" : `${formatCount(affected.length)} queries need it`}`
      : isFatal
      ? "; no query needs it, but a gallery"
      : "; nothing needs it";
    findings.push({ kind, isFatal, message: message + cost, path: pathOf(name), queries: affected });
  };
  const alternatives = await otherNames([...missing].map(pathOf));
  for (const name of missing) {
    const other = alternatives.get(pathOf(name));
    lose("missing image", name, `${pathOf(name)}: no such file${other ? `, but there is ${other}` : ""}`);
  }
  const alike = new Map<string, string[]>();
  for (const [i, { problem, otherFormat, likeness }] of checks.entries()) {
    const name = there[i], path = pathOf(name);
    if (problem) {
      unreadable.add(name);
      lose(problem.kind, name, problem.message);
    }
    if (otherFormat) {
      findings.push({
        kind: "other format",
        isFatal: false,
        message: `${path} is ${otherFormat}, which is read as such`,
        path,
      });
    }
    if (likeness) alike.set(likeness, [...alike.get(likeness) ?? [], name]);
  }
  const suspects = [...alike.values()].filter((group) => group.length > 1).flat();
  const hashes = await hashFiles(suspects.map(pathOf), options);
  const targets = new Set(
    SPLIT_NAMES.flatMap((split) => named.splits[split].triplets.flatMap((t) => t.targets)),
  );
  for (const group of Map.groupBy(suspects, (_, i) => hashes[i]).values()) {
    if (group.length < 2) continue;
    const isAsked = group.some((name) => targets.has(name)) ? "; a target is among them" : "";
    const message = `${group.map(pathOf).join(", ")} have the same bytes${isAsked}`;
    findings.push({ kind: "duplicate images", isFatal: false, message, path: pathOf(group[0]) });
  }
  return { findings, missing, unreadable, count: names.length };
}

/** The queries that an image is the reference or a target of, each as its file and entry. */
function queriesOf({ splits }: NamedDataset): Map<string, string[]> {
  const queries = new Map<string, string[]>();
  for (const { triplets } of SPLIT_NAMES.map((name) => splits[name])) {
    for (const { at, reference, targets } of triplets) {
      for (const name of new Set([reference, ...targets])) {
        const known = queries.get(name);
        if (known) known.push(at.where);
        else queries.set(name, [at.where]);
      }
    }
  }
  return queries;
}

/** For files that are not there: one beside it whose name differs in case or ending. */
async function otherNames(paths: readonly string[]): Promise<Map<string, string>> {
  const stemOf = (name: string) => name.slice(0, name.length - extname(name).length).toLowerCase();
  const others = new Map<string, string>();
  for (const [folder, members] of Map.groupBy(paths, dirname)) {
    const byStem = new Map([...await fileNames(folder)].map((name) => [stemOf(name), name]));
    for (const path of members) {
      const other = byStem.get(stemOf(basename(path)));
      if (other) others.set(path, other);
    }
  }
  return others;
}
