/** Derives triplets (reference, caption, target) from what the names say: a rule for each kind of change. */
import { hashString } from "../../core/random.ts";
import type { Emoji } from "./emoji.ts";
import { additionOf, CLOCKS, colourOf, COMPASS, KEYCAPS, MOONS, POINTERS } from "./families.ts";
import { GENDERS, HAIRS, type Person, personKey, SKINS } from "./person.ts";
import * as words from "./words.ts";

/** A triplet before its images have numbers. */
export interface Change {
  readonly rule: string;
  readonly reference: Emoji;
  readonly target: Emoji;
  readonly caption: string;
}

type Human = Emoji & { readonly person: Person };
/** A target that does not exist, or is the reference, makes no triplet. One of the captions is chosen. */
type Draft = readonly [reference: Emoji | undefined, target: Emoji | undefined, captions: readonly string[]];
type Rule = (drawn: Drawn) => Iterable<Draft>;

/** The pictures of one drawing style, by name and by the parts of a person. */
class Drawn {
  readonly isLineArt: boolean;
  readonly people: readonly Human[];
  #byLabel: Map<string, Emoji>;
  #byPerson: Map<string, Emoji>;

  constructor(readonly emoji: readonly Emoji[]) {
    this.isLineArt = emoji[0]?.drawing === "openmoji-black";
    this.people = emoji.filter((e): e is Human => e.person !== undefined);
    this.#byLabel = new Map(emoji.map((e) => [e.label, e]));
    this.#byPerson = new Map(this.people.map((e) => [personKey(e.person), e]));
  }
  named(label: string): Emoji | undefined {
    return this.#byLabel.get(label);
  }
  person(parts: Person): Emoji | undefined {
    return this.#byPerson.get(personKey(parts));
  }
}

/** The others whose hash with `of` is smallest: a sample that one emoji more or less hardly changes. */
const sampleOthers = <E extends Emoji>(others: readonly E[], count: number, of: Emoji): E[] =>
  others.filter((e) => e !== of)
    .map((e) => ({ e, hash: hashString(`${of.name} ${e.name}`) }))
    .sort((a, b) => a.hash - b.hash).slice(0, count).map(({ e }) => e);

function* skinTone(d: Drawn): Iterable<Draft> {
  if (d.isLineArt) return;
  for (const e of d.people) {
    for (const skin of SKINS) yield [e, d.person({ ...e.person, skin }), words.skin(skin)];
  }
}

function* gender(d: Drawn): Iterable<Draft> {
  for (const e of d.people) {
    for (const gender of GENDERS) {
      yield [e, d.person({ ...e.person, gender }), words.gender({ ...e.person, gender })];
    }
  }
}

function* genderAndSkin(d: Drawn): Iterable<Draft> {
  for (const e of d.people) {
    for (const gender of GENDERS.filter((g) => g !== e.person.gender)) {
      for (const skin of SKINS.filter((s) => s && e.person.skin && s !== e.person.skin)) {
        const to = { ...e.person, gender, skin };
        yield [e, d.person(to), words.genderAndSkin(to)];
      }
    }
  }
}

function* hair(d: Drawn): Iterable<Draft> {
  const isShown = (hair: string) => !d.isLineArt || !/^(red|white|blond)/.test(hair); // line art has no colour
  for (const e of d.people.filter(({ person }) => person.role === "" && isShown(person.hair))) {
    for (const hair of HAIRS.filter(isShown)) yield [e, d.person({ ...e.person, hair }), words.hair(hair)];
  }
}

function* facing(d: Drawn): Iterable<Draft> {
  for (const e of d.people) {
    const to: Person = { ...e.person, facing: e.person.facing ? "" : "right" };
    yield [e, d.person(to), words.facing(to)];
  }
}

/** The same person (gender, skin) doing something else. */
function* role(d: Drawn): Iterable<Draft> {
  const acting = d.people.filter((e) =>
    /^person-(role|fantasy|activity|sport|gesture)$/.test(e.subgroup) && !e.person.isPlural
  );
  const alike = Map.groupBy(acting, (e) => `${e.subgroup} ${personKey({ ...e.person, role: "" })}`);
  for (const group of alike.values()) {
    for (const e of group) {
      for (const to of sampleOthers(group, 4, e)) yield [e, to, words.role(to.person.role)];
    }
  }
}

function* handGesture(d: Drawn): Iterable<Draft> {
  const hands = d.people.filter((e) => /^hand(s|-fingers|-single)/.test(e.subgroup));
  for (const group of Map.groupBy(hands, (e) => `${e.subgroup} ${e.person.skin}`).values()) {
    for (const e of group) for (const to of group) yield [e, to, words.gesture(to.person.role)];
  }
}

function* colour(d: Drawn): Iterable<Draft> {
  if (d.isLineArt) return;
  const coloured = d.emoji.flatMap((e) => ({ e, ...colourOf(e.label) })).filter(({ noun }) => noun);
  for (const family of Map.groupBy(coloured, ({ noun }) => noun).values()) {
    for (const { e } of family) for (const to of family) yield [e, to.e, words.colour(to.colour ?? "")];
  }
}

function* direction(d: Drawn): Iterable<Draft> {
  for (const { name, isTurned } of POINTERS) {
    for (const [from, fromName] of COMPASS.entries()) {
      for (const [to, toName] of COMPASS.entries()) {
        for (const skin of SKINS) {
          const [e, target] = [fromName, toName].map((n) =>
            d.named(name(n) + (skin && `: ${skin} skin tone`))
          );
          if (from !== to) yield [e, target, words.direction(toName, (to - from + 8) % 8, isTurned)];
        }
      }
    }
  }
}

/** Steps along an ordered family; `isRound` joins its ends. */
const steps = (
  members: readonly string[],
  by: readonly [number, readonly string[]][],
  isRound: boolean,
): Rule =>
  function* (d) {
    for (const [place, label] of members.entries()) {
      for (const [step, captions] of by) {
        const to = isRound ? (place + step + members.length) % members.length : place + step;
        yield [d.named(label), d.named(members[to]), captions];
      }
    }
  };

function* partAndWhole(d: Drawn): Iterable<Draft> {
  for (const face of d.emoji.filter((e) => e.subgroup.startsWith("animal") && e.label.endsWith(" face"))) {
    const whole = d.named(face.label.replace(/ face$/, ""));
    yield [face, whole, words.wholeAnimal];
    yield [whole, face, words.onlyFace];
  }
}

function* view(d: Drawn): Iterable<Draft> {
  for (const front of d.emoji.filter((e) => e.label.startsWith("oncoming ") && !e.person)) {
    const side = d.named(front.label.replace("oncoming ", ""));
    yield [side, front, words.frontView];
    yield [front, side, words.sideView];
  }
}

function* withOrWithout(d: Drawn): Iterable<Draft> {
  for (const e of d.emoji) {
    const addition = additionOf(e.label);
    const base = addition && d.named(addition.base);
    if (!base || e.person || base.group !== e.group) continue;
    const [added, removed] = [words.added(addition.what), words.removed(addition.what)];
    yield [base, e, addition.has ? added : removed];
    yield [e, base, addition.has ? removed : added];
  }
}

const FACES = /^(face-|cat-face)/;
function* mood(d: Drawn): Iterable<Draft> {
  const faces = d.emoji.filter((e) => FACES.test(e.subgroup));
  for (const group of Map.groupBy(faces, (e) => e.subgroup).values()) {
    for (const e of group) for (const to of sampleOthers(group, 2, e)) yield [e, to, words.mood(to.label)];
  }
}

const NO_NEIGHBOURS = /flag$|^(time|keycap|arrow|alphanum|regional-indicator|brand|queer-symbols)$/;
function* neighbour(d: Drawn): Iterable<Draft> {
  const things = d.emoji.filter((e) =>
    !e.person && !FACES.test(e.subgroup) && !NO_NEIGHBOURS.test(e.subgroup)
  );
  for (const group of Map.groupBy(things, (e) => `${e.group} ${e.subgroup}`).values()) {
    for (const e of group) {
      for (const to of sampleOthers(group, 2, e)) yield [e, to, words.neighbour(to.label)];
    }
  }
}

function* flag(d: Drawn): Iterable<Draft> {
  const flags = d.emoji.filter((e) => e.subgroup === "country-flag");
  for (const e of flags) {
    for (const to of sampleOthers(flags, 2, e)) yield [e, to, words.flag(to.label.replace("flag: ", ""))];
  }
}

/** The same thing by another designer: the one rule that joins drawing styles. */
function* style(emoji: readonly Emoji[]): Iterable<Draft> {
  for (const group of Map.groupBy(emoji, (e) => e.label).values()) {
    for (const e of group) for (const to of group) yield [e, to, words.style[to.drawing]];
  }
}

const RULES: Readonly<Record<string, Rule>> = {
  "skin tone": skinTone,
  "gender": gender,
  "gender + skin tone": genderAndSkin,
  "hair": hair,
  "facing": facing,
  "role": role,
  "direction": direction,
  "hand gesture": handGesture,
  "colour": colour,
  "clock": steps(CLOCKS, words.CLOCK_STEPS, true),
  "moon phase": steps(MOONS, words.MOON_STEPS, true),
  "number": steps(KEYCAPS, words.NUMBER_STEPS, false),
  "part / whole": partAndWhole,
  "view": view,
  "with / without": withOrWithout,
  "mood": mood,
  "neighbour": neighbour,
  "flag": flag,
};

/** Rules that are off by default: their captions name the target, and names unseen in training cannot be learnt. */
export const OPTIONAL_RULES = ["neighbour", "flag"] as const;
export type OptionalRule = (typeof OPTIONAL_RULES)[number];

/**
 * All triplets among some emoji. A pair is asked for once; a (reference, caption) that has two answers is left out.
 *
 * @param include Of the optional rules.
 */
export function deriveChanges(emoji: readonly Emoji[], include: readonly OptionalRule[] = []): Change[] {
  const skipped: readonly string[] = OPTIONAL_RULES.filter((rule) => !include.includes(rule));
  const changes = new Map<string, Change>();
  const add = (rule: string, drafts: Iterable<Draft>) => {
    for (const [reference, target, captions] of drafts) {
      if (!reference || !target || reference === target) continue;
      const pair = `${reference.name} ${target.name}`;
      const caption = captions[hashString(`${rule} ${pair}`) % captions.length];
      if (!changes.has(pair)) changes.set(pair, { rule, reference, target, caption });
    }
  };
  for (const drawing of Map.groupBy(emoji, (e) => e.drawing).values()) {
    const drawn = new Drawn(drawing);
    for (const [name, rule] of Object.entries(RULES)) if (!skipped.includes(name)) add(name, rule(drawn));
  }
  add("style", style(emoji));
  const query = ({ reference, caption }: Change) => `${reference.name} ${caption}`;
  const answers = Map.groupBy(changes.values(), query);
  return [...changes.values()].filter((change) => answers.get(query(change))?.length === 1);
}
