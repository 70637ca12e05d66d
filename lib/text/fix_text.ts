/** The clean-up that CLIP gives a text before it is tokenized. */
import { DataError } from "../core/errors.ts";
import { repairMojibake } from "./mojibake.ts";

/** Ligatures and digraphs of Latin letters that ftfy takes apart: those that are typography or old encodings. */
const LIGATURE = /[ĲĳǱ-ǳǄ-ǌﬀ-ﬄﬆ]/g; // NFKC gives their letters
const APART: Readonly<Record<string, string>> = { "ŉ": "ʼn", "ﬅ": "ſt" }; // NFKC would also change the letter

/** Colours and movements of a terminal. */
// deno-lint-ignore no-control-regex -- they begin with one
const TERMINAL = /\x1b\[[\d;]*[a-zA-Z]/g;

/** Controls without an effect on what is seen; tab and line ends are spaces, joiners shape their neighbours. */
// deno-lint-ignore no-control-regex -- they are what it looks for
const CONTROL = /[\0-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]/g;

/** What ftfy does to each line, after its entities are decoded. */
const fixLine = (line: string): string =>
  repairMojibake(line)
    .replace(LIGATURE, (character) => character.normalize("NFKC"))
    .replace(/[ŉﬅ]/g, (character) => APART[character])
    .replace(/[\u3000\uff01-\uffef]/g, (character) => character.normalize("NFKC")) // full and half width
    .replace(/[\u201c-\u201f]/g, '"')
    .replace(/[\u02bc\u2018-\u201b]/g, "'")
    .replace(/\r\n?|[\u2028\u2029\x85]/g, "\n")
    .toWellFormed()
    .replace(TERMINAL, "")
    .replace(CONTROL, "")
    .normalize("NFC");

/**
 * Loads the table of HTML entities and gives CLIP's clean-up: ftfy's `fix_text`, HTML entities decoded twice, runs of
 * whitespace as one space, nothing at the ends, lower case.
 *
 * Source: openai/CLIP, `simple_tokenizer.py`, `basic_clean` and `whitespace_clean`; ftfy 6.1, `fix_and_explain`. Mojibake is
 * repaired only where `repairMojibake` knows it.
 *
 * @throws {DataError} If the npm package "entities" is not installed.
 */
export async function clipCleaner(): Promise<(text: string) => string> {
  const { decodeHTML, decodeHTMLStrict } = await importEntities();

  /** Only what ends in ";", and "&EACUTE;" too, which HTML does not know. */
  const decodeSure = (line: string) =>
    line.replace(/&#?[0-9A-Za-z]{1,24};/g, (entity) => {
      const decoded = decodeHTMLStrict(entity);
      if (decoded !== entity || /[^&;A-Z0-9]/.test(entity)) return decoded;
      const lower = entity.toLowerCase(), character = decodeHTMLStrict(lower);
      return character === lower ? entity : character.toUpperCase();
    });

  const fixText = (text: string): string => {
    let isHtml = false; // from the first "<" on, an entity is meant as it is written
    return text.split(/(?<=\n)/).map((line) => {
      isHtml ||= line.includes("<");
      for (let fixed = line;; line = fixed) {
        fixed = fixLine(isHtml ? line : decodeSure(line));
        if (fixed === line) return line;
      }
    }).join("");
  };

  return (text) => decodeHTML(decodeHTML(fixText(text))).replace(/\s+/g, " ").trim().toLowerCase();
}

async function importEntities() {
  try {
    return await import("entities");
  } catch (cause) {
    throw new DataError('the npm package "entities" cannot be loaded', {
      where: "entities",
      fix: 'run "deno install" with a network, and without --no-npm',
      cause,
    });
  }
}
