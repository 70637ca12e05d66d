import assert from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { encodeTexts } from "../../lib/data/loader.ts";
import { clipBpe } from "../../lib/text/clip_bpe.ts";
import { clipCleaner } from "../../lib/text/fix_text.ts";
import { repairMojibake } from "../../lib/text/mojibake.ts";

// Computed with openai/CLIP's simple_tokenizer.py and ftfy 6.1.1.
const CASES: readonly (readonly [text: string, ids: string])[] = [
  ["N/A", "333 270 320"],
  ["\u21165", "8604 500 276"],
  ["NA\u00cfVE CAF\u00c9", "1097 35689 563 15304"],
  [
    "\ud835\udd18\ud835\udd2b\ud835\udd26\ud835\udd20\ud835\udd2c\ud835\udd21\ud835\udd22",
    "6874 242 246 6874 242 104 6874 242 99 6874 242 254 6874 242 105 6874 242 94 6874 242 351",
  ],
  ["\u00c9", "4166"],
  ["a\u200bb", "320 9844 321"],
  ["\ufdfa", "171 115 374"],
  ["user@example.com", "7031 287 6228 269 2464"],
  ["\ud83d\ude00\ud83d\ude03\ud83d\ude04\ud83d\ude01", "12832 14079 12141 4821"],
  ["\u21d2", "27228 496"],
  ["na\u00efve caf\u00e9", "1097 35689 563 15304"],
  ["\u0639\u0631\u0628\u064a", "18843 10948 16378 23853"],
  ["is darker and  yellow", "533 18737 537 4481"],
  ["\u00feorn", "127 122 8130"],
  ["\ufb03", "1021 328"],
  ["\u00b6", "126 370"],
  ["\u00bd", "33613"],
  ["1\ufe0f\u20e3", "272 4603"],
  ["\u2605\u2606", "9339 13439"],
  ["\u263a", "8703"],
  [
    "is less feminine and white and is lighter and has longer sleeves",
    "533 1285 24911 537 1579 537 533 14102 537 791 5349 19691",
  ],
  [
    "Ingl\u00eas  Copiar a larger number of animals and a different species",
    "45662 27515 338 622 741 625 320 12567 2842 539 4995 537 320 2731 6330",
  ],
  ["\u338f", "159 236 493"],
  ["a\u00a0b", "320 321"],
  [
    "is less feminine and Is black with a face design with words with disobey",
    "533 1285 24911 537 533 1449 593 320 1710 1681 593 2709 593 26305 6767",
  ],
  ["\u0110\u00e0 N\u1eb5ng", "128 239 21259 77 157 118 113 5215"],
  ["\u2640", "1548 478"],
  ["a\u200db", "320 728 491 321"],
  ["is shorter and tighter and has two sleeves", "533 20350 537 48193 537 791 1237 19691"],
  ["\u0130stanbul", "328 16384 11231"],
  ["e\u0301", "4166"],
  ["\u2713", "36700"],
  ["\u2665", "3405"],
  ["Is darker & more fitted", "533 18737 261 750 14863"],
  ["\u0153uvre", "129 241 84 17501"],
  [
    "Replace entire content with saloon spot with man and boy in window wal background effect",
    "9466 4709 4750 593 26038 3049 593 786 537 1876 530 4879 6903 5994 5436",
  ],
  ["5\u203210\u2033", "276 32633 272 271 25061"],
  ["\ud55c\uad6d\uc5b4 \ub4dc\ub808\uc2a4", "15197 250 31871 255 31625 368 30850 39810 43364 23829"],
  ["\ud83d\udc69\ud83c\udffd\u200d\ud83e\uddb0 with red hair", "18800 8514 4244 6040 364 593 736 2225"],
  ["a\u0301\u0301\u0301\u0301\u0301", "22229 136 223 136 223 136 223 136 479"],
  ["\u00b13", "126 365 274"],
  [
    "The target photo has seven large dogs roaming around a gravel and dirt path.",
    "518 5400 1125 791 5757 3638 3255 29240 1630 320 27054 537 11795 5035 269",
  ],
  ["&#233;", "4166"],
  ["\u0378unassigned", "137 372 569 25767"],
  ["sch\u00c3\u00b6n", "844 7255 333"],
  ["Is ombr\u00e9 blue with a flare bottom", "533 547 711 4166 1746 593 320 21185 5931"],
  ["\u2026", "959"],
  ["They\u2019re coverup cutlets & not clothes", "889 982 13534 705 10511 3243 261 783 7080"],
  ["\u0160\u0110\u010c\u0106\u017d", "35621 128 239 45414 128 229 129 378"],
  ["\u092b\u0942\u0932", "3124 360 7410 480 30881"],
  ["\u2177", "158 227 371"],
  [
    "its darker and less print and Shiny black and white zebra print with zipper-end front",
    "902 18737 537 1285 3557 537 12190 1449 537 1579 22548 3557 593 33670 268 806 2184",
  ],
  ["&amp;amp;", "261"],
  ["a\ud83d\ude00b", "320 7334 321"],
  ["\u00abguillemets\u00bb", "14434 5008 534 9633 7599"],
  ["&eacute;", "4166"],
  ["&amp; &lt;b&gt; &quot;", "261 283 321 285 257"],
  ["\ud83d\udc57\ud83d\udc5a\ud83d\udc55", "964 245 964 248 47865"],
  ["\u0131", "41901"],
  ["\u00e2\u20ac\u0153quotes\u00e2\u20ac\u009d", "257 5808 257"],
  ["\u0301", "136 479"],
  ["is black and has more colors", "533 1449 537 791 750 5389"],
  ["\u0e44\u0e17\u0e22", "31718 245 33091"],
  ["\u65e5\u672c\u8a9e", "39121 44353 34002 508"],
  ["\u01c4 \u01c5", "67 129 378 67 129 378"],
  ["l\u2019Or\u00e9al", "331 262 523 45251"],
  ["\u3000ideographic\u3000space", "1909 78 4245 2138"],
  ["\u00e9", "4166"],
  ["is a lighter denim blue", "533 320 14102 13606 1746"],
  ["\ud840\udc00", "172 254 222 478"],
  ["\ufb01ne \ufb02ower", "3797 4055"],
  [
    "\u043a\u0440\u0430\u0441\u043d\u043e\u0435 \u043f\u043b\u0430\u0442\u044c\u0435",
    "27152 16370 16912 23669 22705 20978 369 26302 47611 16912 17875 141 234 140 369",
  ],
];

Deno.test("clipBpe() gives CLIP's ids", async () => {
  const tokenizer = await clipBpe();
  assert.equal(tokenizer.size, 49_408);
  for (const [text, ids] of CASES) {
    assert.equal(tokenizer.pieceIds(text).join(" "), ids, JSON.stringify(text));
  }
});

Deno.test("clipBpe() and encodeTexts() make CLIP's rows: padded with 0, cut with their end kept", async () => {
  const tokenizer = await clipBpe();
  const long = "a red dress ".repeat(40);
  const { inputIds, attentionMask } = encodeTexts(["a red dress", long, ""], {
    tokenizer,
    bucketLengths: [77],
  });
  assert.deepEqual([...inputIds.subarray(0, 6)], [49_406, 320, 736, 2595, 49_407, 0]);
  assert.ok(inputIds.subarray(5, 77).every((id) => id === 0));
  assert.equal(inputIds[77 + 75], 2595, "the 75th piece, the last that fits");
  assert.equal(inputIds[77 + 76], 49_407);
  assert.deepEqual([...inputIds.subarray(154, 157)], [49_406, 49_407, 0]);
  const ends = [0, 1, 2].map((b) => attentionMask.subarray(b * 77, (b + 1) * 77).lastIndexOf(1));
  assert.deepEqual(ends, [4, 76, 1], "where the mask ends, the text ends");
});

Deno.test("clipBpe({ truncate: false }) refuses what does not fit", async () => {
  const tokenizer = await clipBpe({ truncate: false });
  assert.equal(tokenizer.encode("a red dress", 5).length, 5);
  assert.throws(() => tokenizer.encode("a red dress", 4), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /^a text of 5 ids, at most 4 fit: "a red dress"$/);
    return true;
  });
});

Deno.test("clipCleaner() leaves entities alone where the text is HTML, and CLIP decodes them all the same", async () => {
  const clean = await clipCleaner();
  assert.equal(clean("  A\tB\n\u3000C "), "a b c");
  assert.equal(clean("P&EACUTE;REZ"), "p\u00e9rez");
  assert.equal(clean("<p>P&EACUTE;REZ &eacute;"), "<p>p&eacute;rez \u00e9");
  assert.equal(clean("&amp;amp;amp;amp;lt;"), "<", "until nothing changes");
  assert.equal(clean("\x1b[31mred\x1b[0m\ufeff"), "red");
  assert.equal(clean("\ud800x"), "\ufffdx");
});

Deno.test("repairMojibake() repairs what is broken, as often as it was, and leaves the rest", () => {
  const misread = (text: string) => new TextDecoder("windows-1252").decode(new TextEncoder().encode(text));
  const texts = [
    "na\u00efve caf\u00e9",
    "it\u2019s \u201cred\u201d",
    "\ud83d\udc57 dress",
    "cr\u00e8me br\u00fbl\u00e9e",
  ];
  for (const text of texts) {
    assert.equal(repairMojibake(text), text, "as it is");
    assert.equal(repairMojibake(misread(text)), text, "once");
    assert.equal(repairMojibake(misread(misread(text))), text, "twice");
    assert.equal(repairMojibake(`\u65e5\u672c ${misread(text)}`), `\u65e5\u672c ${text}`, "in part");
  }
  for (
    const text of [
      "CAF\u00c9 \u201c\u00d6L\u201d",
      "\u20ac20 \u00b13",
      "\u00abmot\u00bb",
      "20\u00b0 \u00a9 \u00ae",
    ]
  ) {
    assert.equal(repairMojibake(text), text);
  }
});
