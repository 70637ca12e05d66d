/** The doctor's table: a row for each split and category, then what was found, by kind. */
import { formatCount, textTable } from "../../lib/core/format.ts";
import { galleryKey, type NamedDataset, SPLIT_NAMES } from "../../lib/data/named.ts";
import type { DatasetKind } from "../../lib/data/open.ts";
import type { SplitName } from "../../lib/data/triplet.ts";
import { isEmptyCaption } from "./annotation_findings.ts";
import type { LengthOf } from "./caption_lengths.ts";
import type { Finding } from "./finding.ts";
import type { ImageReport } from "./image_findings.ts";
import type { Published } from "./published.ts";

/** Counts of one split and category. What was not counted is null. */
export interface SummaryRow {
  readonly split: SplitName;
  readonly category: string;
  readonly triplets: number;
  readonly publishedTriplets: number | null;
  readonly images: number;
  readonly publishedImages: number | null;
  readonly missingImages: number | null;
  readonly unreadableImages: number | null;
  /** Queries whose reference or target is one of these. */
  readonly affectedQueries: number | null;
  readonly emptyCaptions: number;
  /** Of the longest text. */
  readonly clipTokens: number | null;
  readonly bertPieces: number | null;
}

/** One row for each gallery of each split. */
export function summarise(
  dataset: DatasetKind,
  { splits }: NamedDataset,
  published: Published,
  images?: ImageReport,
  lengthOf?: LengthOf,
): SummaryRow[] {
  const isLost = (name: string) => images?.missing.has(name) || images?.unreadable.has(name);
  return SPLIT_NAMES.flatMap((split) =>
    [...splits[split].galleries].map(([category, names]) => {
      const triplets = splits[split].triplets.filter((t) => galleryKey(splits[split], t) === category);
      const expected = published[dataset]?.[split]?.[category];
      const longest = (length?: LengthOf["clip"]) =>
        length && triplets.length > 0 ? triplets.reduce((most, t) => Math.max(most, length(t)), 0) : null;
      return {
        split,
        category,
        triplets: triplets.length,
        publishedTriplets: expected?.triplets ?? null,
        images: names.length,
        publishedImages: expected?.images ?? null,
        missingImages: images ? names.filter((name) => images.missing.has(name)).length : null,
        unreadableImages: images ? names.filter((name) => images.unreadable.has(name)).length : null,
        affectedQueries: images
          ? triplets.filter((t) => [t.reference, ...t.targets].some(isLost)).length
          : null,
        emptyCaptions: triplets.reduce((n, { captions }) => n + captions.filter(isEmptyCaption).length, 0),
        clipTokens: longest(lengthOf?.clip),
        bertPieces: longest(lengthOf?.bert),
      };
    })
  );
}

const COLUMNS: readonly (readonly [title: string, key: keyof SummaryRow])[] = [
  ["split", "split"],
  ["category", "category"],
  ["triplets", "triplets"],
  ["published", "publishedTriplets"],
  ["images", "images"],
  ["published", "publishedImages"],
  ["missing", "missingImages"],
  ["unreadable", "unreadableImages"],
  ["queries affected", "affectedQueries"],
  ["empty captions", "emptyCaptions"],
  ["CLIP tokens", "clipTokens"],
  ["BERT pieces", "bertPieces"],
];

/** The rows for people; a column that says nothing is left out. */
export function summaryTable(rows: readonly SummaryRow[]): string {
  const columns = COLUMNS.filter(([, key]) => rows.some((row) => row[key] !== null && row[key] !== ""));
  const cell = (value: string | number | null) =>
    value === null ? "-" : typeof value === "number" ? formatCount(value) : value;
  return textTable(rows.map((row) => columns.map(([, key]) => cell(row[key]))), {
    header: columns.map(([title]) => title),
    align: columns.map(([, key]) => key === "split" || key === "category" ? "l" : "r").join(""),
  });
}

/** Findings under the heading of their kind, fatal ones first; `most` of each kind. */
export function findingsText(findings: readonly Finding[], most: number): string {
  const kinds = Map.groupBy(findings, ({ kind, isFatal }) => `${isFatal ? "problem" : "note"}: ${kind}`);
  const inOrder = [...kinds].sort(([, [a]], [, [b]]) => Number(b.isFatal) - Number(a.isFatal));
  return inOrder.map(([title, members]) => {
    const fixOf = ({ fix }: Finding) => fix ? [`    fix    ${fix.replaceAll("\n", "\n           ")}`] : [];
    const isOneFix = members.every(({ fix }) => fix === members[0].fix); // then it is said once
    const lines = members.slice(0, most).flatMap((finding) => {
      const { message, file, line, isFatal } = finding;
      const where = `${file}${line === undefined ? "" : `, line ${line}`}`.replaceAll("\n", "\n           ");
      const place = file && isFatal ? [`    where  ${where}`] : [];
      return [`  ${message}`, ...place, ...isOneFix ? [] : fixOf(finding)];
    });
    if (members.length > most) lines.push(`  ... and ${formatCount(members.length - most)} more: pass --all`);
    return [`${title} (${formatCount(members.length)})`, ...lines, ...isOneFix ? fixOf(members[0]) : []].join(
      "\n",
    );
  }).join("\n\n");
}
