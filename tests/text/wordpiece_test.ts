import assert from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { sha256Hex } from "../../lib/io/atomic.ts";
import { CompactVocabulary, wordPiece } from "../../lib/text/wordpiece.ts";

Deno.test("wordPiece() has the vocabulary of bert-base-uncased, byte for byte", async () => {
  const { vocabulary, size } = await wordPiece();
  assert.equal(size, 30_522);
  assert.ok(sha256Hex(vocabulary.join("\n") + "\n").startsWith("07eced37"));
});

// Computed with google-research/bert's tokenization.py, as the transformers' BertTokenizer changes it.
const CASES: readonly (readonly [text: string, ids: string])[] = [
  ["\t\n", "101 102"],
  ["\uff26\uff35\uff2c\uff2c \uff37\uff29\uff24\uff34\uff28", "101 100 100 102"],
  [
    "is a 3/4 sleeve red dress and is red with 3/4 sleeves",
    "101 2003 1037 1017 1013 1018 10353 2417 4377 1998 2003 2417 2007 1017 1013 1018 15114 102",
  ],
  ["\u2717", "101 100 102"],
  [
    "is plain and white and has a thinner fabric and is white",
    "101 2003 5810 1998 2317 1998 2038 1037 23082 8313 1998 2003 2317 102",
  ],
  ["\u338f", "101 100 102"],
  ["\ufb03", "101 100 102"],
  ["has animal pattern", "101 2038 4111 5418 102"],
  ["Mr. T's", "101 2720 1012 1056 1005 1055 102"],
  ["is a darker solid gray in color", "101 2003 1037 9904 5024 3897 1999 3609 102"],
  ["size XXL", "101 2946 22038 2140 102"],
  ["2024-05-14", "101 16798 2549 1011 5709 1011 2403 102"],
  ["\ue000private", "101 2797 102"],
  ["\u00c7ALI\u015eMA", "101 10250 2964 2050 102"],
  ["NA\u00cfVE CAF\u00c9", "101 15743 7668 102"],
  ["\u202eabc", "101 5925 102"],
  ["...", "101 1012 1012 1012 102"],
  ["is longer and stripped", "101 2003 2936 1998 10040 102"],
  ["v-neck, t-shirt; x:y", "101 1058 1011 3300 1010 1056 1011 3797 1025 1060 1024 1061 102"],
  [
    "They\u2019re coverup cutlets & not clothes",
    "101 2027 1521 2128 3104 6279 3013 13461 1004 2025 4253 102",
  ],
  ["\ufb01ne \ufb02ower", "101 1984 2638 1985 25114 102"],
  ["\u00a7", "101 1073 102"],
  ["\u266a", "101 100 102"],
  ["\u221e", "101 1601 102"],
  ["&eacute;", "101 1004 19413 26869 1025 102"],
  ["caf\u00c3\u00a9", "101 24689 2050 29652 102"],
  ["\u092b\u0942\u0932", "101 100 102"],
  ["\u2022", "101 1528 102"],
  ["\u2640", "101 100 102"],
  ["\ud83d\udc68\u200d\ud83d\udc69\u200d\ud83d\udc67\u200d\ud83d\udc66", "101 100 102"],
  ["\u00bd", "101 1092 102"],
  ["\u00e9", "101 1041 102"],
  ["stra\u00dfe", "101 2358 27807 102"],
  ["0", "101 1014 102"],
  ["user@example.com", "101 5310 1030 2742 1012 4012 102"],
  ["\u2025", "101 100 102"],
  ["Has longer sleeves & larger words", "101 2038 2936 15114 1004 3469 2616 102"],
  [" and pink and Has stripes and shorter sleeves", "101 1998 5061 1998 2038 13560 1998 7820 15114 102"],
  [
    "3/4 sleeved blouse with shapes on it.",
    "101 1017 1013 1018 10353 2094 18149 2007 10466 2006 2009 1012 102",
  ],
  [
    "Change the angle, zoom in and add more background color.",
    "101 2689 1996 6466 1010 24095 1999 1998 5587 2062 4281 3609 1012 102",
  ],
  [
    "is darker and more elegant and is closed necked and beige",
    "101 2003 9904 1998 2062 11552 1998 2003 2701 3300 2098 1998 28799 102",
  ],
  ["Is ombr\u00e9 blue with a flare bottom", "101 2003 18168 13578 2630 2007 1037 17748 3953 102"],
  ["\u0378unassigned", "101 14477 18719 19225 102"],
];

Deno.test("wordPiece().encode() gives the ids of bert-base-uncased", async () => {
  const tokenizer = await wordPiece();
  for (const [text, ids] of CASES) {
    assert.equal(tokenizer.encode(text, 32).join(" "), ids, JSON.stringify(text));
  }
});

Deno.test("wordPiece().encode() cuts long texts and keeps [SEP] last", async () => {
  const tokenizer = await wordPiece();
  assert.deepEqual(tokenizer.encode("is red and has a hood", 4), [101, 2003, 2417, 102]);
  assert.deepEqual(tokenizer.encode("", 4), [101, 102]);
  assert.throws(() => tokenizer.encode("red", 1), ConfigError);
});

Deno.test("wordPiece() makes a word of over 100 characters [UNK]", async () => {
  const { pieceIds } = await wordPiece();
  assert.deepEqual(pieceIds("a".repeat(101)), [100]);
  assert.ok(pieceIds("a".repeat(100)).length > 1);
});

Deno.test("CompactVocabulary numbers the pieces of its captions from 4, in BERT's order", async () => {
  const base = await wordPiece();
  const vocabulary = CompactVocabulary.of(["make it red", "is red"], base);
  assert.deepEqual(vocabulary.pieces, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "is", "it", "make", "red"]);
  vocabulary.learn(["make it blue"], base);
  assert.deepEqual(vocabulary.encode("make it blue", 10), [2, 6, 5, 1, 3]);
  assert.deepEqual(vocabulary.encode("make it blue", 4), [2, 6, 5, 3]);
  assert.throws(() => vocabulary.encode("never learnt", 10), ConfigError);
});

Deno.test("CompactVocabulary is the same after it was written down", async () => {
  const base = await wordPiece();
  const vocabulary = CompactVocabulary.of(["make it red"], base);
  vocabulary.learn(["make it red"], base);
  const copy = new CompactVocabulary(vocabulary.pieces, vocabulary.bertIds, vocabulary.known());
  assert.deepEqual(copy.encode("make it red", 10), vocabulary.encode("make it red", 10));
});
