/** The pictures of the demo: three emoji packages, matched by name. */
import { fileURLToPath } from "node:url";
import { dirname, join } from "node:path";
import { DataError } from "../../core/errors.ts";
import { parsePerson, type Person } from "./person.ts";

/** Who drew a picture, and how. */
export type Drawing = "openmoji" | "openmoji-black" | "noto" | "fluent-flat";

/** One picture and what its package says about it. */
export interface Emoji {
  /** `drawing/file`: unique. */
  readonly name: string;
  readonly drawing: Drawing;
  /** The Unicode name as OpenMoji spells it; the same for all drawings of a thing. Unique in a drawing. */
  readonly label: string;
  readonly group: string;
  readonly subgroup: string;
  /** For people, hands and body parts. */
  readonly person?: Person;
  readonly svg: () => Promise<string>;
}

type Facts = Pick<Emoji, "label" | "group" | "subgroup" | "person">;
interface OpenMojiEntry {
  hexcode: string;
  annotation: string;
  group: string;
  subgroups: string;
  skintone: string;
}
interface IconSet {
  icons: Record<string, { body: string; width?: number; height?: number; hidden?: boolean }>;
  width: number;
  height: number;
}

const PACKAGES = ["openmoji", "@iconify-json/noto", "@iconify-json/fluent-emoji-flat"] as const;

/** The emoji of the three packages, and the packages' versions. */
export interface EmojiPackages {
  readonly emoji: readonly Emoji[];
  readonly versions: Readonly<Record<string, string>>;
}

/**
 * Reads the names of all pictures, about 13,800; a picture's SVG is read when asked for.
 *
 * @throws {DataError} If a package is not installed.
 */
export async function readEmojiPackages(): Promise<EmojiPackages> {
  const [openmoji, noto, fluent] = PACKAGES.map(packageFolder);
  const entries = await readJson<OpenMojiEntry[]>(join(openmoji, "data/openmoji.json"));
  const factsOf = factsByName(entries);
  const emoji = [
    ...openMoji(openmoji, entries, factsOf),
    ...iconify("noto", await readJson<IconSet>(join(noto, "icons.json")), factsOf),
    ...iconify("fluent-flat", await readJson<IconSet>(join(fluent, "icons.json")), factsOf),
  ];
  const versions: Record<string, string> = {};
  for (const [i, folder] of [openmoji, noto, fluent].entries()) {
    versions[PACKAGES[i]] = (await readJson<{ version: string }>(join(folder, "package.json"))).version;
  }
  return { emoji: oneOfEachLabel(emoji), versions };
}

function packageFolder(name: string): string {
  try {
    return dirname(fileURLToPath(import.meta.resolve(`${name}/package.json`)));
  } catch (cause) {
    throw new DataError(`the demo's npm package "${name}" is not installed`, {
      where: name,
      fix: 'run "deno install" with a network, and without --no-npm',
      cause,
    });
  }
}

const readJson = async <T>(path: string): Promise<T> => JSON.parse(await Deno.readTextFile(path));

function* openMoji(folder: string, entries: OpenMojiEntry[], factsOf: Map<string, Facts>): Generator<Emoji> {
  for (const { hexcode, annotation, skintone } of entries) {
    const facts = factsOf.get(nameKey(slug(annotation)));
    if (facts?.label !== annotation) continue; // the name is taken
    const drawings = { "openmoji": "color", "openmoji-black": "black" } as const;
    for (const [drawing, style] of Object.entries(drawings) as [Drawing, string][]) {
      // Line art has no skin tone: the files of all tones draw the same picture.
      if (drawing === "openmoji-black" && skintone) continue;
      const path = join(folder, style, "svg", `${hexcode}.svg`);
      yield { name: `${drawing}/${hexcode}`, drawing, ...facts, svg: () => Deno.readTextFile(path) };
    }
  }
}

function* iconify(drawing: Drawing, set: IconSet, factsOf: Map<string, Facts>): Generator<Emoji> {
  for (const [file, { body, width = set.width, height = set.height, hidden }] of Object.entries(set.icons)) {
    const facts = hidden ? undefined : spellings(file).map((s) => factsOf.get(s)).find(Boolean);
    if (!facts) continue;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ` +
      `viewBox="0 0 ${width} ${height}" width="72" height="72">${body}</svg>`; // 72: OpenMoji's size
    yield { name: `${drawing}/${file}`, drawing, ...facts, svg: () => Promise.resolve(svg) };
  }
}

function factsByName(entries: readonly OpenMojiEntry[]): Map<string, Facts> {
  const facts = new Map<string, Facts>();
  for (const { annotation: label, group, subgroups: subgroup } of entries) {
    const key = nameKey(slug(label));
    if (facts.has(key)) continue; // OpenMoji's own additions repeat some Unicode names
    facts.set(key, {
      label,
      group,
      subgroup,
      person: group === "people-body" ? parsePerson(label) : undefined,
    });
  }
  return facts;
}

const slug = (label: string): string =>
  label.toLowerCase().normalize("NFD").replace(/\p{M}/gu, "").replaceAll("&", "and").replace(
    /[’'“”".(),!]/g,
    "",
  )
    .replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");

/** A slug with its skin tone, hair and facing in a fixed order: the packages place them differently. */
function nameKey(name: string): string {
  let [skin, hair, facing] = ["", "", ""];
  if (name.split("skin-tone").length > 2) return name; // a couple
  const base = name
    .replace(/-(light|medium-light|medium|medium-dark|dark)-skin-tone/, (_, s) => (skin = s, ""))
    .replace(
      /-(red-hair|curly-hair|white-hair|blonde?-hair|bald|beard)(?=-|$)/,
      (_, h) => (hair = h.replace("blonde", "blond"), ""),
    )
    .replace(/-facing-right(?=-|$)/, (_) => (facing = "right", ""));
  return [base, skin, hair, facing].join("|");
}

/** The keys under which a Noto or Fluent name may be known. Fluent shortens skin tones and writes some roles its own way. */
function spellings(file: string): string[] {
  const names = [
    file,
    file.replace(/-(light|medium-light|medium|medium-dark|dark)$/, "-$1-skin-tone"),
    file.replace(/-default$/, ""),
  ];
  const others = names.flatMap((name) => [
    name.replace(/^(man|woman|person)-deaf/, "deaf-$1"),
    name.replace(/^woman-merpeople/, "mermaid").replace(/^man-merpeople/, "merman").replace(
      /^person-merpeople/,
      "merperson",
    ),
    name.replace(
      /^(man|woman|person)-(with-bunny-ears|wrestling)/,
      (_, who, what) => `${PLURAL[who]}-${what}`,
    ),
    name.replace(/^person-/, ""),
  ]);
  return [...names, ...others].map(nameKey);
}
const PLURAL: Record<string, string> = { man: "men", woman: "women", person: "people" };

function oneOfEachLabel(emoji: Iterable<Emoji>): Emoji[] {
  const seen = new Set<string>();
  return [...emoji].filter(({ drawing, label }) => {
    const key = `${drawing}/${label}`;
    return !seen.has(key) && seen.add(key);
  });
}
