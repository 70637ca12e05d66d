/** Families of emoji whose members differ in one thing that the name tells, and the concept that each emoji belongs to. */
import type { Emoji } from "./emoji.ts";

const HOURS = [
  "twelve",
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
  "ten",
  "eleven",
];
/** The 24 clock faces, half an hour apart. */
export const CLOCKS = HOURS.flatMap((hour) => [`${hour} o’clock`, `${hour}-thirty`]);
/** The eight phases, a few days apart. */
export const MOONS = [
  "new",
  "waxing crescent",
  "first quarter",
  "waxing gibbous",
  "full",
  "waning gibbous",
  "last quarter",
  "waning crescent",
]
  .map((phase) => `${phase} moon`);
export const KEYCAPS = Array.from({ length: 11 }, (_, n) => `keycap: ${n}`);

/** Clockwise from the top. */
export const COMPASS = ["up", "up-right", "right", "down-right", "down", "down-left", "left", "up-left"];
/** Things that point somewhere: the name for each direction, and whether the picture is turned (or else mirrored). */
export const POINTERS: readonly { name: (direction: string) => string; isTurned: boolean }[] = [
  { name: (d) => `${d} arrow`, isTurned: true },
  { name: (d) => `backhand index pointing ${d}`, isTurned: true },
  { name: (d) => `red triangle pointed ${d}`, isTurned: true },
  { name: (d) => `swipe ${d}`, isTurned: true },
  { name: (d) => `${d}-facing fist`, isTurned: false },
  { name: (d) => `${d}wards hand`, isTurned: false },
  { name: (d) => `${d}wards pushing hand`, isTurned: false },
  { name: (d) => `thumbs ${d}`, isTurned: false },
  { name: (d) => `palm ${d} hand`, isTurned: false },
  { name: (d) => `${d}wards button`, isTurned: false },
  { name: (d) => `fast ${d} button`, isTurned: false },
  { name: (d) => `magnifying glass tilted ${d}`, isTurned: false },
  { name: (d) => `stick figure leaning ${d}`, isTurned: false },
  { name: (d) => `stick figure with dress leaning ${d}`, isTurned: false },
];

const COLOURS = "red|orange|yellow|green|blue|purple|brown|black|white|pink|grey|light blue";
const COLOURED = new RegExp(`^((?:deep|large|small) )?(${COLOURS}) (.+)$`);
/** "large blue diamond" as colour "blue" and noun "large diamond"; undefined where the name has no colour. */
export function colourOf(label: string): { colour: string; noun: string } | undefined {
  const [, kind = "", colour, noun] = COLOURED.exec(label) ?? [];
  return colour ? { colour, noun: kind + noun } : undefined;
}

/** "cloud with rain" as "cloud" and "rain"; undefined where the name has neither "with" nor "without". */
export function additionOf(label: string): { base: string; has: boolean; what: string } | undefined {
  const [, base, word, what] = /^(.+?) (with|without) (.+)$/.exec(label) ?? [];
  return base ? { base, has: word === "with", what } : undefined;
}

// An ordered family is cut into three runs, since its members are asked for by their neighbours: the first place of each.
const RUNS: readonly [name: string, members: readonly string[], starts: readonly number[]][] = [
  ["clock", CLOCKS, [0, 16, 20]], // hours twelve to seven, eight and nine, ten and eleven
  ["moon", MOONS, [0, 4, 6]],
  ["keycap", KEYCAPS, [0, 7, 9]],
];
const POINTER_OF = new Map(
  POINTERS.flatMap(({ name }) => COMPASS.map((direction) => [name(direction), name("*")] as const)),
);

/**
 * What a picture is about, whatever its skin tone, gender, hair, direction, colour, view or drawing style. All pictures of
 * a concept lie on one side of the split. Nobody in particular (a person without a role) is one concept a designer: all
 * changes of hair are there, and each side needs some.
 *
 * @param isLabel True for the names that exist: "cloud with rain" belongs to "cloud", "face with monocle" to itself.
 */
export function conceptOf(emoji: Emoji, isLabel: (label: string) => boolean): string {
  const { person } = emoji;
  if (person) {
    if (person.role) return `person: ${POINTER_OF.get(person.role) ?? person.role}`;
    return `nobody in particular: ${emoji.drawing.replace("-black", "")}`;
  }
  const label = emoji.label.replace(/ face$/, "");
  for (const [name, members, starts] of RUNS) {
    const place = members.indexOf(label);
    if (place >= 0) return `${name}, run ${starts.findLastIndex((start) => start <= place)}`;
  }
  const pointer = POINTER_OF.get(emoji.label);
  if (pointer) return pointer;
  const addition = additionOf(emoji.label);
  const base = addition && isLabel(addition.base) ? addition.base : emoji.label;
  return (colourOf(base)?.noun ?? base)
    .replace(
      /^oncoming | (?:face|man|woman)$|^(?:female|male|man|woman|person) |\b(?:deep|large|medium|small|medium-small) /g,
      "",
    );
}
