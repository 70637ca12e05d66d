/** How long the queries' texts are for the two tokenizers. */
import { DataError } from "../../lib/core/errors.ts";
import { CLIP_CONTEXT_LENGTH, clipBpe } from "../../lib/text/clip_bpe.ts";
import { type Tokenizer, wordPiece } from "../../lib/text/wordpiece.ts";
import { type NamedDataset, type NamedTriplet, SPLIT_NAMES } from "../../lib/data/named.ts";
import { queryText } from "./annotation_findings.ts";
import type { Finding } from "./finding.ts";

/** Positions of BERT, and so of the Q-Former. */
const BERT_LENGTH = 512;

/** Ids of a query's text, start and end among them. */
export type LengthOf = Readonly<Record<"clip" | "bert", (triplet: NamedTriplet) => number>>;

/** Opens both tokenizers; nothing if their packages are not installed. */
export async function textLengths(): Promise<LengthOf | undefined> {
  const lengthBy = (tokenizer: Tokenizer) => {
    const known = new Map<NamedTriplet, number>();
    return (triplet: NamedTriplet) => {
      const length = known.get(triplet) ??
        tokenizer.encode(queryText(triplet), Number.MAX_SAFE_INTEGER).length;
      known.set(triplet, length);
      return length;
    };
  };
  try {
    return { clip: lengthBy(await clipBpe()), bert: lengthBy(await wordPiece()) };
  } catch (error) {
    if (error instanceof DataError) return undefined;
    throw error;
  }
}

/** Texts that a model cuts. */
export function* lengthFindings({ splits }: NamedDataset, lengthOf: LengthOf): Generator<Finding> {
  for (const triplet of SPLIT_NAMES.flatMap((name) => splits[name].triplets)) {
    const { at } = triplet, clip = lengthOf.clip(triplet), bert = lengthOf.bert(triplet);
    if (clip <= CLIP_CONTEXT_LENGTH && bert <= BERT_LENGTH) continue;
    yield {
      kind: "overlong caption",
      isFatal: false,
      message: `${at.where}: ${clip} CLIP tokens (cut to ${CLIP_CONTEXT_LENGTH}), ${bert} BERT pieces` +
        (bert > BERT_LENGTH ? ` (cut to ${BERT_LENGTH})` : ""),
      file: at.file.path,
      place: at.place,
    };
  }
}
