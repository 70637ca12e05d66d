/** The parts of an emoji person's name: who, doing what, looking how. */

export const SKINS = ["", "light", "medium-light", "medium", "medium-dark", "dark"] as const;
export const HAIRS = ["", "red hair", "curly hair", "white hair", "bald", "blond hair", "beard"] as const;
export const GENDERS = ["man", "woman", "person"] as const;
export type Gender = (typeof GENDERS)[number];

/** A person, or a hand or body part (gender "person"). Two pictures of equal parts show the same. */
export interface Person {
  /** What the person is or does, without gender: "health worker", "with veil", "" for nobody in particular. */
  readonly role: string;
  readonly gender: Gender;
  readonly hair: string;
  readonly facing: "" | "right";
  readonly skin: string;
  /** Several people, all of one gender. */
  readonly isPlural: boolean;
}

// "deaf man", "pregnant woman": the adjective is the role.
const GENDERED = /^(?:(deaf|pregnant|older|old) )?(man|woman|person|men|women|people)\b ?(.*)$/;
const GENDER: Record<string, Gender> = { man: "man", men: "man", woman: "woman", women: "woman" };
// Names whose gender is in the noun. Those with a counterpart share a role.
const NOUNS: Record<string, [gender: Gender, role?: string]> = {
  "mermaid": ["woman", "merperson"],
  "merman": ["man", "merperson"],
  "prince": ["man"],
  "princess": ["woman"],
  "boy": ["man"],
  "girl": ["woman"],
  "Santa Claus": ["man"],
  "Mrs. Claus": ["woman"],
  "breast-feeding": ["woman"],
};

/**
 * "woman health worker: curly hair, dark skin tone" as its parts; undefined for a couple of two skin tones.
 *
 * @example Usage
 * ```ts
 * const person = parsePerson("deaf man: dark skin tone");
 * if (person?.role !== "deaf" || person.gender !== "man" || person.skin !== "dark") throw new Error("parsePerson");
 * ```
 */
export function parsePerson(label: string): Person | undefined {
  const [head, ...rest] = label.split(": ");
  let hair = "", skin = "", facing: Person["facing"] = "";
  const others: string[] = [];
  for (const part of rest.join(": ").split(", ").filter(Boolean)) {
    if (part.endsWith(" skin tone")) {
      if (skin) return undefined;
      skin = part.replace(" skin tone", "");
    } else if ((HAIRS as readonly string[]).includes(part)) hair = part;
    else if (part === "facing right") facing = "right";
    else others.push(part);
  }
  const [, adjective, word, what] = GENDERED.exec(head) ?? [];
  const [nounGender, nounRole] = NOUNS[head] ?? [];
  const gender = nounGender ?? GENDER[word] ?? "person";
  const role = nounRole ??
    (word ? [adjective?.replace("older", "old"), what].filter(Boolean).join(" ") : head);
  return {
    role: [role, ...others].join(": "),
    gender,
    hair,
    facing,
    skin,
    isPlural: word === "men" || word === "women" || word === "people",
  };
}

/** One string for all the parts: equal keys, equal persons. */
export const personKey = (p: Person): string => [p.role, p.gender, p.hair, p.facing, p.skin].join("|");
