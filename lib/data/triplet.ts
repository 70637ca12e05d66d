/** What every data set of composed retrieval is made of. */
import type { Tokenizer } from "../text/wordpiece.ts";

/** A query and its answer. Numbers are positions in `Dataset.images`. */
export interface Triplet {
  readonly reference: number;
  /** The answer; null where a test split keeps it secret. */
  readonly target: number | null;
  /** Where there are several right answers: all of them, `target` among them. */
  readonly targets?: readonly number[];
  /** What is to change: one text, or FashionIQ's two. */
  readonly captions: readonly string[];
  /** CIRR's six look-alikes, with the reference and the target among them; their order says nothing. */
  readonly group?: readonly number[];
  /** Members of the group that are left out because their files are missing. */
  readonly groupLeftOut?: number;
  /** FashionIQ's dress, shirt or toptee. */
  readonly category?: string;
  /** The key of a submission. */
  readonly pairId?: string | number;
  /** The demo's kind of change. */
  readonly rule?: string;
}

/** Queries and the pictures they search. */
export interface Split {
  readonly triplets: readonly Triplet[];
  /** Positions in `Dataset.images`, in the order that breaks ties. */
  readonly gallery: readonly number[];
  /** Where each category has a gallery of its own (FashionIQ): a query is ranked in that of its category. */
  readonly galleries?: Readonly<Record<string, readonly number[]>>;
  /** What is missing, by category (`""` where there are none): with it, Recall is known only within an interval. */
  readonly leftOut?: Readonly<Record<string, LeftOut>>;
}

/** What a split lacks because files are missing. */
export interface LeftOut {
  readonly queries: number;
  /** Of the gallery. */
  readonly images: number;
}

/** The sides of a data set. */
export type SplitName = "train" | "val" | "test";

/** A picture, for people. */
export interface DatasetImage {
  /** Unique within the data set. */
  readonly name: string;
  /** Its file, where it has one: the absolute path. */
  readonly path?: string;
  /** What it shows, for a reader; the name where it is missing. */
  readonly label?: string;
  /** Whom to name where the picture is shown. */
  readonly credit?: string;
}

/** Triplets and pictures of one data set. */
export interface Dataset {
  /** As tables show it. */
  readonly name: string;
  /** Of all splits: triplets and galleries name them by position. */
  readonly images: readonly DatasetImage[];
  readonly splits: Readonly<Record<SplitName, Split>>;
  /** SHA-256 of the content: equal hashes, equal data. */
  readonly hash: string;
  /** True where images become RGB before they are padded and resized (FashionIQ), not after (CIRR, quirk Q29). */
  readonly convertRgbFirst?: boolean;
  /** What a query is ranked among, for a table's protocol, where these are not all images of the split. */
  readonly gallery?: string;
  /** True where a query's reference stays in the ranking (FashionIQ). */
  readonly keepsReference?: boolean;
  /** What was left out because an image has no file that can be read, by name. How much of each split: `Split.leftOut`. */
  readonly missing?: Missing;
  /** The data set's own vocabulary, where it has one. */
  readonly vocabulary?: Tokenizer;
}

/** Names of what was left out. */
export interface Missing {
  /** The images without a file that can be read. */
  readonly images: readonly string[];
  /** The queries that need one of them as reference or target. */
  readonly queries: readonly MissingQuery[];
}

/** A query that was left out. */
export interface MissingQuery {
  readonly split: SplitName;
  /** Where it stands: annotation file and entry. */
  readonly where: string;
  readonly reference: string;
  readonly targets: readonly string[];
}
