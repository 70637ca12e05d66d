import assert from "node:assert/strict";
import type { Drawing, Emoji } from "../../lib/data/demo/emoji.ts";
import { CLOCKS, colourOf, conceptOf } from "../../lib/data/demo/families.ts";
import { parsePerson } from "../../lib/data/demo/person.ts";
import { deriveChanges } from "../../lib/data/demo/rules.ts";
import { assignSides, distinct } from "../../lib/data/demo/split.ts";
import { stratify } from "../../lib/data/demo/stratify.ts";
import { role, withArticle } from "../../lib/data/demo/words.ts";

/** An emoji as the packages would give it. */
const emoji = (
  label: string,
  drawing: Drawing = "noto",
  subgroup = "person-role",
  group = "people-body",
): Emoji => ({
  name: `${drawing}/${label}`,
  drawing,
  label,
  group,
  subgroup,
  person: group === "people-body" ? parsePerson(label) : undefined,
  svg: () => Promise.resolve(""),
});
const thing = (label: string, drawing?: Drawing) => emoji(label, drawing, "thing", "objects");
const told = (list: Emoji[], rule: string) =>
  deriveChanges(list).filter((c) => c.rule === rule).map((c) => `${c.reference.label} -> ${c.target.label}`)
    .sort();

Deno.test("parsePerson() takes a name apart", () => {
  const plain = { hair: "", facing: "", skin: "", isPlural: false } as const;
  assert.deepEqual(parsePerson("deaf man"), { ...plain, role: "deaf", gender: "man" });
  assert.deepEqual(parsePerson("health worker"), { ...plain, role: "health worker", gender: "person" });
  assert.deepEqual(parsePerson("mermaid: dark skin tone"), {
    ...plain,
    role: "merperson",
    gender: "woman",
    skin: "dark",
  });
  assert.deepEqual(parsePerson("prince"), { ...plain, role: "prince", gender: "man" });
  assert.deepEqual(parsePerson("women wrestling"), {
    ...plain,
    role: "wrestling",
    gender: "woman",
    isPlural: true,
  });
  assert.deepEqual(parsePerson("man: medium skin tone, bald"), {
    ...plain,
    role: "",
    gender: "man",
    skin: "medium",
    hair: "bald",
  });
  assert.deepEqual(parsePerson("older person"), { ...plain, role: "old", gender: "person" });
  assert.equal(parsePerson("kiss: woman, man, light skin tone, dark skin tone"), undefined);
});

Deno.test("deriveChanges() changes one part of a person and keeps the others", () => {
  const people = ["man", "woman"].flatMap((who) =>
    ["light", "dark"].map((tone) => emoji(`${who} cook: ${tone} skin tone`))
  );
  assert.deepEqual(told(people, "skin tone"), [
    "man cook: dark skin tone -> man cook: light skin tone",
    "man cook: light skin tone -> man cook: dark skin tone",
    "woman cook: dark skin tone -> woman cook: light skin tone",
    "woman cook: light skin tone -> woman cook: dark skin tone",
  ]);
  assert.equal(told(people, "gender").length, 4);
  assert.equal(told(people, "gender + skin tone").length, 4);
});

Deno.test("deriveChanges() keeps gender and skin tone when the role changes", () => {
  const people = ["deaf man", "man bowing", "woman bowing", "man frowning"].map((l) =>
    emoji(l, "noto", "person-gesture")
  );
  assert.deepEqual(told(people, "role"), [
    "deaf man -> man bowing",
    "deaf man -> man frowning",
    "man bowing -> deaf man",
    "man bowing -> man frowning",
    "man frowning -> deaf man",
    "man frowning -> man bowing",
  ]);
});

Deno.test("deriveChanges() asks line art for no colour: no skin tone, no hair colour, no colour", () => {
  const labels = ["man", "man: red hair", "man: bald", "man: dark skin tone"];
  const art = [
    ...labels.map((l) => emoji(l, "openmoji-black")),
    thing("red book", "openmoji-black"),
    thing("blue book", "openmoji-black"),
  ];
  assert.deepEqual(told(art, "skin tone"), []);
  assert.deepEqual(told(art, "colour"), []);
  assert.deepEqual(told(art, "hair"), ["man -> man: bald", "man: bald -> man"]);
});

Deno.test("deriveChanges() steps along clocks by the hour that the caption says", () => {
  const changes = deriveChanges(CLOCKS.map((label) => thing(label)));
  assert.equal(changes.length, 24 * 6);
  const later: Record<string, number> = { half: 1, thirty: 1, one: 2, move: 2, turn: -2, three: 6, six: 12 };
  for (const { reference, target, caption } of changes) {
    const step = later[caption.split(" ")[0]] * (caption.endsWith("earlier") ? -1 : 1);
    assert.equal(
      target.label,
      CLOCKS[(CLOCKS.indexOf(reference.label) + step + 24) % 24],
      `${reference.label}: ${caption}`,
    );
  }
});

Deno.test("deriveChanges() never has two answers to one query, nor one pair twice", () => {
  const drawings: Drawing[] = ["openmoji", "openmoji-black", "noto", "fluent-flat"];
  const all = drawings.flatMap((d) =>
    ["thumbs up", "thumbs down", "raised fist"].map((l) => emoji(l, d, "hand-fingers-closed"))
  );
  const changes = deriveChanges(all);
  assert.equal(new Set(changes.map((c) => c.reference.name + c.caption)).size, changes.length);
  assert.equal(new Set(changes.map((c) => c.reference.name + c.target.name)).size, changes.length);
  assert.ok(changes.some((c) => c.rule === "direction") && changes.some((c) => c.rule === "style"));
});

Deno.test("deriveChanges() leaves out the neighbour and flag rules unless they are asked for", () => {
  const things = ["hammer", "axe", "saw"].map((label) => thing(label));
  assert.equal(deriveChanges(things).length, 0);
  assert.equal(deriveChanges(things, ["neighbour"]).length, 6);
});

Deno.test("captions read well", () => {
  assert.deepEqual(
    ["hat", "OK hand", "umbrella", "thumbs up", "open hands", "Santa Claus", "unicorn"].map(withArticle),
    [
      "a hat",
      "an OK hand",
      "an umbrella",
      "thumbs up",
      "open hands",
      "Santa Claus",
      "a unicorn",
    ],
  );
  assert.ok(role("facepalming").includes("now facepalming"));
  assert.ok(role("health worker").includes("dressed as a health worker"));
});

Deno.test("conceptOf() is the same for all variants of a thing, and only for them", () => {
  const isLabel = (label: string) => ["cloud", "cow"].includes(label);
  const concept = (e: Emoji) => conceptOf(e, isLabel);
  const same = (...variants: Emoji[]) =>
    assert.equal(new Set(variants.map(concept)).size, 1, variants.map(concept).join("; "));
  same(emoji("woman cook: dark skin tone"), emoji("cook", "openmoji"), emoji("man cook", "fluent-flat"));
  same(thing("cloud"), thing("cloud with rain"));
  same(thing("cow"), thing("cow face"));
  same(thing("bus"), thing("oncoming bus"));
  same(thing("large blue diamond"), thing("small orange diamond"));
  same(thing("left arrow"), thing("up-right arrow"));
  same(emoji("thumbs up", "noto", "hand"), emoji("thumbs down: dark skin tone", "noto", "hand"));
  same(thing("eight o’clock"), thing("nine-thirty"));
  assert.notEqual(concept(thing("seven-thirty")), concept(thing("eight o’clock")));
  assert.notEqual(concept(thing("face with monocle")), concept(thing("face with tongue"))); // no "face" by itself
  same(emoji("man: bald", "openmoji"), emoji("woman", "openmoji-black"));
  assert.notEqual(concept(emoji("man", "openmoji")), concept(emoji("man", "noto")));
});

Deno.test("colourOf() finds the colour behind a kind", () => {
  assert.deepEqual(colourOf("large blue diamond"), { colour: "blue", noun: "large diamond" });
  assert.equal(colourOf("bluebird"), undefined);
});

Deno.test("stratify() gives every side some of each rule, near 70 : 15 : 15", () => {
  const weights = new Map<string, Map<string, number>>();
  for (let i = 0; i < 400; i++) weights.set(`thing ${i}`, new Map([["style", 1 + i % 7]]));
  for (let i = 0; i < 4; i++) weights.set(`car ${i}`, new Map([["view", 2], ["style", 12]]));
  const side = stratify(weights);
  const total = { train: 0, val: 0, test: 0 };
  for (const [concept, rules] of weights) total[side.get(concept) ?? "train"] += rules.get("style") ?? 0;
  const sum = total.train + total.val + total.test;
  assert.ok(
    Math.abs(total.train / sum - 0.7) < 0.01 && Math.abs(total.val / sum - 0.15) < 0.01,
    JSON.stringify(total),
  );
  assert.equal(new Set([0, 1, 2, 3].map((i) => side.get(`car ${i}`))).size, 3);
});

Deno.test("assignSides() keeps the pictures of a concept together", () => {
  const list = ["bus", "taxi", "automobile", "police car"].flatMap((l) => [thing(l), thing(`oncoming ${l}`)]);
  const sides = assignSides(list, deriveChanges(list));
  for (let i = 0; i < list.length; i += 2) assert.equal(sides[i], sides[i + 1]);
  assert.equal(new Set(sides).size, 3);
});

Deno.test("distinct() keeps the first of equal pictures", () =>
  assert.deepEqual(distinct(["a", "b", "a", "c", "b"]), [0, 1, 3]));
