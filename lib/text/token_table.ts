/** The token ids of a data set's texts, made once: later they need no npm package. */
import { ConfigError, DataError } from "../core/errors.ts";
import { type Tokenizer, withEnds } from "./wordpiece.ts";

/** A table as JSON. */
export interface StoredTokens {
  readonly size: number;
  /** Most ids of a text, its two ends among them. */
  readonly maxLength: number;
  readonly first: number;
  readonly last: number;
  /** Each text with the ids of its pieces, without the ends, and cut to what `maxLength` leaves. */
  readonly texts: readonly (readonly [text: string, ids: readonly number[]])[];
}

/**
 * A tokenizer for known texts. For each it gives what the tokenizer gave from which it was made.
 *
 * @example Usage
 * ```ts
 * const base = { size: 9, encode: (text: string) => [2, ...Array.from(text, () => 7), 3] };
 * const { table, cut } = TokenTable.of(["abc", "abcdef"], base, 6);
 * if (table.encode("abc", 4).join() !== "2,7,7,3" || cut.join() !== "abcdef") throw new Error("TokenTable");
 * ```
 */
export class TokenTable implements Tokenizer {
  readonly size: number;
  /** Most ids that `encode` gives. */
  readonly maxLength: number;
  readonly #stored: StoredTokens;
  readonly #idsOf: ReadonlyMap<string, readonly number[]>;

  constructor(stored: StoredTokens) {
    this.#stored = stored;
    this.size = stored.size;
    this.maxLength = stored.maxLength;
    this.#idsOf = new Map(stored.texts);
  }

  /**
   * Tokenizes texts.
   *
   * @param maxLength Longer texts are cut: the model has no more positions. Quirk Q51: LAVIS does not cut at BERT's 512, and
   * crashes.
   * @returns The table, and the texts that were cut.
   */
  static of(
    texts: Iterable<string>,
    base: Tokenizer,
    maxLength: number,
  ): { table: TokenTable; cut: string[] } {
    const [first, last] = base.encode("", 2);
    const cut: string[] = [];
    const rows = [...new Set(texts)].map((text) => {
      const ids = base.encode(text, Number.MAX_SAFE_INTEGER).slice(1, -1);
      if (ids.length + 2 > maxLength) cut.push(text);
      return [text, ids.slice(0, maxLength - 2)] as const;
    });
    return { table: new TokenTable({ size: base.size, maxLength, first, last, texts: rows }), cut };
  }

  /**
   * Reads what `toJSON` gave.
   *
   * @param name What errors call it.
   * @throws {DataError} If it is something else.
   */
  static parse(value: unknown, name: string): TokenTable {
    const { size, maxLength, first, last, texts } = (value ?? {}) as Partial<
      Record<keyof StoredTokens, unknown>
    >;
    const isId = (id: unknown): id is number =>
      Number.isSafeInteger(id) && Number(id) >= 0 && Number(id) < Number(size);
    const isRow = (row: unknown): row is [string, number[]] =>
      Array.isArray(row) && row.length === 2 && typeof row[0] === "string" && Array.isArray(row[1]) &&
      row[1].every(isId);
    const isWhole = Number.isSafeInteger(size) && Number.isSafeInteger(maxLength) && Number(maxLength) >= 2 &&
      isId(first) && isId(last) && Array.isArray(texts) && texts.every(isRow);
    if (!isWhole) throw new DataError(`${name}: is no table of token ids`);
    return new TokenTable(value as StoredTokens);
  }

  /** @throws {ConfigError} If the text is not in the table. */
  encode(text: string, maxLength: number): number[] {
    const { first, last } = this.#stored, ids = this.#idsOf.get(text);
    if (!ids) {
      throw new ConfigError(
        `the text ${JSON.stringify(text)} is not among the ${this.#idsOf.size} that the store has tokenized`,
        { fix: "wordPiece() or clipBpe() tokenizes any text; they need npm packages" },
      );
    }
    return withEnds(ids, first, last, maxLength);
  }

  toJSON(): StoredTokens {
    return this.#stored;
  }
}
