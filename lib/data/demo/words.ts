/** The captions: several wordings for each change. */
import type { Person } from "./person.ts";

/** "a hat", "an umbrella"; no article before a name or a plural. */
export function withArticle(noun: string): string {
  if (
    /^[A-Z][a-z]/.test(noun) || /^(thumbs|palms)|^\w+ (fingers|hands)$/.test(noun)
  ) return noun;
  return (/^[aeiou]|^OK/i.test(noun) && !/^(uni|euro)/i.test(noun) ? "an " : "a ") + noun;
}

export const skin = (tone: string): string[] =>
  tone === ""
    ? ["in the neutral yellow instead", "without a skin tone, plain yellow", "back to the default yellow"]
    : [
      `with a ${tone} skin tone`,
      `give it ${tone} skin`,
      `same but ${tone}-skinned`,
      `change the skin tone to ${tone}`,
    ];

const WHO = { man: ["a man", "men"], woman: ["a woman", "women"], person: ["a person", "people"] };
const who = ({ gender, isPlural }: Person): string => WHO[gender][isPlural ? 1 : 0];

export const gender = (to: Person): string[] =>
  to.gender === "person"
    ? [
      "make it gender neutral",
      `${who(to)} instead, neither ${to.isPlural ? "men nor women" : "man nor woman"}`,
    ]
    : [`make it ${who(to)}`, `${who(to)} doing the same`, `${who(to)} instead`];

export const genderAndSkin = (to: Person): string[] =>
  to.gender === "person"
    ? [`gender neutral and with ${to.skin} skin`]
    : [`${who(to)} with ${to.skin} skin`, `make it ${who(to)} and change the skin to ${to.skin}`];

export function hair(style: string): string[] {
  if (style === "") return ["with ordinary hair", "plain hair again"];
  if (style === "bald") return ["without hair", "bald instead"];
  if (style === "beard") return ["with a beard", "let a beard grow"];
  return [`with ${style}`, `change the hairstyle to ${style}`];
}

export const facing = (to: Person): string[] =>
  to.facing === "right"
    ? ["turned to the right", "mirror it so that it faces right"]
    : ["turned to the left", "facing left"];

/** A role is a noun ("health worker"), or a phrase that goes with any person ("with veil", "facepalming", "deaf"). */
export function role(to: string): string[] {
  if (/^(with|in|wearing|deaf|pregnant)\b|\w{2}ing\b/.test(to)) {
    return [`now ${to}`, `${to} instead`, `the same person, ${to}`];
  }
  return [`the same person as ${withArticle(to)}`, `dressed as ${withArticle(to)}`, `now ${withArticle(to)}`];
}

export function gesture(name: string): string[] {
  const hand = name.replace("index pointing", "index finger pointing").replace(
    "raised back of hand",
    "back of a raised hand",
  );
  return [`show ${withArticle(hand)} instead`, `change the gesture to ${withArticle(hand)}`];
}

export const colour = (
  to: string,
): string[] => [`make it ${to}`, `in ${to}`, `the same in ${to}`, `change the colour to ${to}`];

/** @param steps Of 45 degrees, clockwise, 1 to 7. */
export function direction(to: string, steps: number, isTurned: boolean): string[] {
  const angle = steps * 45;
  const turn = angle === 180
    ? "turned around"
    : angle < 180
    ? `turned ${angle} degrees clockwise`
    : `turned ${360 - angle} degrees anticlockwise`;
  return isTurned ? [`pointing ${to}`, turn] : [`pointing ${to}`, `${to} instead`];
}

/** Half-hours later (or earlier) and how to say it. */
export const CLOCK_STEPS: readonly [halfHours: number, captions: readonly string[]][] = [
  [1, ["half an hour later", "thirty minutes later"]],
  [2, ["one hour later", "move it on by an hour"]],
  [-1, ["half an hour earlier"]],
  [-2, ["one hour earlier", "turn it back an hour"]],
  [6, ["three hours later"]],
  [12, ["six hours later"]],
];
export const MOON_STEPS: readonly [phases: number, captions: readonly string[]][] = [
  [1, ["the next phase", "a few days later"]],
  [-1, ["the phase before", "a few days earlier"]],
  [4, ["the opposite phase", "two weeks later"]],
];
export const NUMBER_STEPS: readonly [step: number, captions: readonly string[]][] = [
  [1, ["one more", "the next number"]],
  [-1, ["one less", "the number before"]],
];

export const wholeAnimal = ["the whole animal instead of its face", "show the full body"];
export const onlyFace = ["only its face", "zoom in on the head"];
export const frontView = ["seen from the front", "coming towards me"];
export const sideView = ["seen from the side"];

export const added = (what: string): string[] => [`with ${what}`, `add ${what}`];
export const removed = (what: string): string[] => [`without ${what}`, `remove ${what}`];
export const mood = (to: string): string[] => [`make it ${withArticle(to)}`, `now ${withArticle(to)}`];
export const neighbour = (to: string): string[] => [
  `${withArticle(to)} instead`,
  `replace it with ${withArticle(to)}`,
  `the same kind of thing, but ${withArticle(to)}`,
];
export const flag = (country: string): string[] => [`the flag of ${country}`, `${country} instead`];

export const style = {
  "openmoji": ["as an OpenMoji drawing with black outlines", "coloured, with black outlines"],
  "openmoji-black": ["as black line art", "only the black outlines, no colour"],
  "noto": ["in the shaded Noto style", "with soft shading and no outline"],
  "fluent-flat": ["in the flat Fluent style", "flat colours without outlines"],
};
