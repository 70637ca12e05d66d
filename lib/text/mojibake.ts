/** Repairs UTF-8 that was once read as Windows-1252: "schÃ¶n" is "schön". */

// Characters of Windows-1252 by what they do in real text, after ftfy's categories. C1 controls are in no real text at all.
const BAD = "¦¤¨¬¯¶§¸ƒˆ˜†‡‰ªº\ufffd"; // hardly ever beside a letter
const CURRENCY = "¢£¥€";
const START = "¡«¿©‘‚“„•‹";
const END = "®»”›™";
const NUMERIC = "²³¹±¼½¾×µ÷";
const UPPER = "À-ÑØÜÝŒŠŸŽ"; // without the round O and U, which are faces in kaomoji
const LOWER = "ßà-ñüœšž";
const COMMON = "\xa0\xad·´–—…’";

/** Pairs of characters that are far more often a broken sequence than text. */
const SUSPICIOUS = new RegExp(
  [
    "[\x80-\x9f]",
    `[${BAD}${LOWER}${UPPER}${START}${END}${CURRENCY}${NUMERIC}][${BAD}]`,
    `[${BAD}][${LOWER}${UPPER}${START}${END}${CURRENCY}${NUMERIC}]`,
    `[a-zA-Z]Þ[${BAD}]`,
    `[${LOWER}${END}${CURRENCY}${NUMERIC}][${UPPER}]`,
    `[${END}${CURRENCY}${NUMERIC}][${LOWER}]`,
    `[${LOWER}${END}][${CURRENCY}]`,
    `\\s[${UPPER}][${CURRENCY}]`,
    `[${UPPER}][${NUMERIC}]`,
    `[${LOWER}${UPPER}${CURRENCY}${END}][${START}][${NUMERIC}]`,
    `[${LOWER}${UPPER}${CURRENCY}${NUMERIC}][${END}][${START}]`,
    `[${CURRENCY}${NUMERIC}][${START}]`,
    `[a-z][${UPPER}][${START}${CURRENCY}]`,
    `[${LOWER}${UPPER}][${END}][\\p{L}\\p{N}_]`,
    "[Œœ][^A-Za-z]",
    `[ÂÃÎÐ][€Šš¢£Ÿž\xa0\xad®©°·»${START}${END}–—´]`,
    "×[²³]",
    `[ØÙ][${COMMON}${CURRENCY}${BAD}${NUMERIC}${START}ŸŠ®°µ»][ØÙ][${COMMON}${CURRENCY}${BAD}${NUMERIC}${START}ŸŠ®°µ»]`,
    "à[²µ¹¼½¾]",
    "[a-z]\\s?[ÃÂ] ",
    "^[ÃÂ] ",
    `[a-z.,?!${END}]Â[ ${START}${END}]`,
  ].join("|"),
  "u",
);

/** Windows-1252's characters of the bytes 0x80 to 0x9f. Bytes that it leaves out stand for themselves. */
const WINDOWS = [
  ...new TextDecoder("windows-1252").decode(Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i)),
];
const BYTE_OF = new Map(WINDOWS.map((character, i) => [character, 0x80 + i]));

/** A text as the bytes it was read from, one character (below 0x100) each; undefined if it was not read like that. */
function asBytes(text: string): string | undefined {
  let bytes = "";
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    const byte = code < 0x100 ? code : BYTE_OF.get(character);
    if (byte === undefined) return undefined;
    bytes += String.fromCharCode(byte);
  }
  return bytes;
}

/** A sequence whose byte 0xa0, a no-break space, became a plain space on the way. */
const LOST_SPACE =
  /[\xc2\xc3\xc5\xce\xd0\xd9] |[\xe2\xe3] [\x80-\x84\x86-\x9f\xa1-\xbf]|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf] |\xf0 [\x80-\xbf]{2}|\xf0[\x80-\xbf] [\x80-\xbf]|\xf0[\x80-\xbf]{2} /g;

/** The text that the bytes of another are in UTF-8; undefined if they are none. */
function reread(text: string): string | undefined {
  const bytes = asBytes(text)
    ?.replace(/\xc3 (?! |quele|quela|quilo|s )/g, "\xc3\xa0 ") // "Ã la mode": "à" is a word there, the space another
    .replace(LOST_SPACE, (sequence) => sequence.replace(" ", "\xa0"));
  if (bytes === undefined) return undefined;
  try {
    const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    return utf8.decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)));
  } catch {
    return undefined;
  }
}

const REST = WINDOWS.join("") + "\xa0-\xbf"; // what bytes 0x80 to 0xbf were read as
/** One or more UTF-8 sequences, read as Windows-1252, in a text of another kind. */
const SEQUENCES = new RegExp(
  `(?<![\x80-\xbfŒœŠšŸŽžƒˆ˜†‡•‰‹›€™])(?:[Â-ß][${REST}\x80-\x9f ]|[à-ï][${REST}\x80-\x9f ]{2}|[ðó][${REST}\x80-\x9f ]{3})+`,
  "gu",
);

function repairOnce(text: string): string {
  if (!SUSPICIOUS.test(text)) return text;
  const whole = reread(text);
  if (whole !== undefined) return whole;
  const parts = text.replace(SEQUENCES, (part) => part.length < text.length ? repairMojibake(part) : part);
  if (parts !== text) return parts;
  return text.replace(/[\x80-\x9f]/g, (control) => WINDOWS[control.charCodeAt(0) - 0x80]);
}

/**
 * Undoes UTF-8 read as Windows-1252 or Latin-1, as often as it happened, where the text is far more likely broken than meant.
 *
 * Source: the method and the categories of characters of ftfy 6.1 (`badness.py`, `fixes.py`), reduced to Windows-1252. Of
 * other encodings (Windows-1251, MacRoman, ...) and of sequences that have lost a byte nothing is repaired.
 *
 * @example Usage
 * ```ts
 * if (repairMojibake("schÃ¶n") !== "schön") throw new Error("broken");
 * if (repairMojibake("CAFÉ “ÖL”") !== "CAFÉ “ÖL”") throw new Error("meant");
 * ```
 */
export function repairMojibake(text: string): string {
  for (let fixed = text;; text = fixed) {
    fixed = repairOnce(text);
    if (fixed === text) return text;
  }
}
