/** What the published annotations hold: counts, and hashes of their content. No annotation itself. */
import type { NamedTriplet } from "../../lib/data/named.ts";
import type { DatasetKind } from "../../lib/data/open.ts";
import type { SplitName } from "../../lib/data/triplet.ts";
import { sha256Hex } from "../../lib/io/atomic.ts";

/** One captions file and one gallery file. */
export interface PublishedFiles {
  readonly triplets: number;
  readonly images: number;
  /** First 16 hex digits of `contentOf.captions`. */
  readonly captions?: string;
  /** First 16 hex digits of `contentOf.gallery`. */
  readonly gallery?: string;
}

/** By data set, split and category (`""` where there are none). */
export type Published = Partial<
  Record<DatasetKind, Partial<Record<SplitName, Readonly<Record<string, PublishedFiles>>>>>
>;

const hash = (value: unknown): string => sha256Hex(JSON.stringify(value)).slice(0, 16);
const essence = ({ reference, targets, captions, group = [], pairId }: NamedTriplet) =>
  [reference, targets, captions, group, pairId ?? null] as const;

/** Hashes of what is read of a file, whatever its white space and unused keys. */
export const contentOf = {
  captions: (triplets: readonly NamedTriplet[]): string => hash(triplets.map(essence)),
  /** With each pair of captions the other way round. */
  swapped: (triplets: readonly NamedTriplet[]): string =>
    hash(triplets.map((triplet) => essence({ ...triplet, captions: triplet.captions.toReversed() }))),
  gallery: (names: readonly string[]): string => hash(names),
};

/** Which published file has that content. */
export function publishedAs(
  published: Published,
  dataset: DatasetKind,
  part: "captions" | "gallery",
  content: string,
): string | undefined {
  for (const [split, categories] of Object.entries(published[dataset] ?? {})) {
    for (const [category, files] of Object.entries(categories)) {
      if (files[part] === content) return [category, split].filter(Boolean).join(" ");
    }
  }
}

/**
 * Counts of FashionIQ (XiaoxiaoGuo/fashion-iq) and CIRR (Cuberick-Orion/CIRR, `cirr_dataset`), counted in their files; the
 * triplets of CIRR's train as its paper has them (Liu et al., ICCV 2021, table 2).
 */
export const PUBLISHED: Published = {
  fashioniq: {
    train: {
      dress: { triplets: 5_985, images: 11_452, captions: "75a8ba8e49f6bc8e", gallery: "517ccc62b72303e7" },
      toptee: { triplets: 6_027, images: 16_121, captions: "da5a4c5c67893952", gallery: "13938a118fa1e1b3" },
      shirt: { triplets: 5_988, images: 19_036, captions: "18284a2d6c3606a6", gallery: "10ba15336c8bbbbf" },
    },
    val: {
      dress: { triplets: 2_017, images: 3_817, captions: "275b40e4b95218d1", gallery: "98400ef5b45bd759" },
      toptee: { triplets: 1_961, images: 5_373, captions: "cabcd91a5179b052", gallery: "984cadaebb22c1b0" },
      shirt: { triplets: 2_038, images: 6_346, captions: "b28973cc07b8240e", gallery: "20c9bbfb87e9baec" },
    },
    test: {
      dress: { triplets: 2_024, images: 3_818, captions: "9b3cba24622eda39", gallery: "a8fc7d19dc21f1b6" },
      toptee: { triplets: 2_056, images: 5_374, captions: "93a704e95267c5cb", gallery: "3bdb35b1ca3f4396" },
      shirt: { triplets: 2_038, images: 6_346, captions: "5b92dcdec3ef72ad", gallery: "8599bef11ac28c9b" },
    },
  },
  cirr: {
    train: {
      "": { triplets: 28_225, images: 16_939, gallery: "87f9ae56c9a1e7c7" },
    },
    val: {
      "": { triplets: 4_181, images: 2_297, captions: "1e3062bbbf18b8ba", gallery: "9a0acea24b5460f5" },
    },
    test: {
      "": { triplets: 4_148, images: 2_315, captions: "bb5358bf98ffb78d", gallery: "cadccc0d7ef6ff77" },
    },
  },
};
