/** From pictures to the three sides: concepts, triplets, groups of look-alikes. */
import { hashString, Random } from "../../core/random.ts";
import type { Split, SplitName, Triplet } from "../triplet.ts";
import type { Emoji } from "./emoji.ts";
import { conceptOf } from "./families.ts";
import { likeness } from "./grid.ts";
import { type Change, deriveChanges, type OptionalRule } from "./rules.ts";
import { stratify } from "./stratify.ts";

/** At most so many triplets of a rule on a side. */
export const RULE_CAPS: Readonly<Record<SplitName, number>> = { train: 2500, val: 400, test: 400 };
const GROUP_SIZE = 6; // as in CIRR

/** Position of the first picture of each kind: same bytes, one picture. */
export function distinct(hashes: readonly string[]): number[] {
  const first = new Map<string, number>();
  hashes.forEach((hash, i) => first.has(hash) || first.set(hash, i));
  return [...first.values()];
}

/** The side of each emoji. All emoji of a concept share one. */
export function assignSides(emoji: readonly Emoji[], changes: readonly Change[]): SplitName[] {
  const labels = new Set(emoji.map((e) => e.label));
  const concepts = new Map(emoji.map((e) => [e, conceptOf(e, (label) => labels.has(label))]));
  const weights = new Map<string, Map<string, number>>();
  const count = (e: Emoji, rule: string) => {
    const concept = concepts.get(e) ?? "";
    const rules = weights.get(concept) ?? new Map<string, number>();
    weights.set(concept, rules.set(rule, (rules.get(rule) ?? 0) + 1));
  };
  for (const { reference, rule } of changes) count(reference, rule);
  for (const e of emoji) count(e, "picture"); // the rule of all concepts, hence the last: it evens out the galleries
  const sideOf = stratify(weights);
  return emoji.map((e) => sideOf.get(concepts.get(e) ?? "") ?? "train");
}

/**
 * The three sides. Triplets are derived among the pictures of a side, so none joins two sides; a rule with more than its
 * cap keeps those of the smallest hash. Training triplets come in a random order, so that the first n are a fair sample.
 *
 * @param emoji Distinct pictures: positions here are the numbers in the triplets.
 * @param grids The colour grid of each.
 */
export function splitDemo(
  emoji: readonly Emoji[],
  grids: readonly Float32Array[],
  include: readonly OptionalRule[] = [],
): Record<SplitName, Split> {
  const sides = assignSides(emoji, deriveChanges(emoji, include));
  const number = new Map(emoji.map((e, i) => [e, i]));
  const numberOf = (e: Emoji) => number.get(e) ?? -1;
  const split = (side: SplitName): Split => {
    const gallery = emoji.flatMap((_, i) => sides[i] === side ? i : []);
    const kept = capped(deriveChanges(gallery.map((i) => emoji[i]), include), RULE_CAPS[side]);
    const lookAlikes = groupFinder(gallery, emoji, grids);
    const triplets = kept.map((change): Triplet => {
      const reference = numberOf(change.reference), target = numberOf(change.target);
      const group = side === "train" ? undefined : lookAlikes(reference, target);
      return { reference, target, captions: [change.caption], rule: change.rule, ...group && { group } };
    });
    return { gallery, triplets: side === "train" ? shuffled(triplets) : triplets };
  };
  return { train: split("train"), val: split("val"), test: split("test") };
}

function capped(changes: readonly Change[], cap: number): Change[] {
  const order = ({ reference, target }: Change) => hashString(`${reference.name} ${target.name}`);
  return [...Map.groupBy(changes, ({ rule }) => rule).values()].flatMap((ofRule) =>
    ofRule.map((change) => ({ change, hash: order(change) }))
      .sort((a, b) => a.hash - b.hash).slice(0, cap).map(({ change }) => change)
  );
}

const shuffled = <T>(items: readonly T[]): T[] =>
  [...new Random(0, "demo training triplets").permutation(items.length)].map((i) => items[i]);

/**
 * CIRR-like groups: reference, target, and the four pictures of the target's subgroup and drawing style that look most like
 * the target. Undefined where there are not four.
 */
function groupFinder(gallery: readonly number[], emoji: readonly Emoji[], grids: readonly Float32Array[]) {
  const kin = Map.groupBy(gallery, (i) => `${emoji[i].drawing} ${emoji[i].subgroup}`);
  const nearest = new Map<number, number[]>(); // target → its kin, the most alike first
  const ranked = (target: number): number[] => {
    const known = nearest.get(target);
    if (known) return known;
    const others = (kin.get(`${emoji[target].drawing} ${emoji[target].subgroup}`) ?? []).filter((i) =>
      i !== target
    );
    const scored = others.map((i) => ({ i, score: likeness(grids[i], grids[target]) }));
    const result = scored.sort((a, b) => b.score - a.score || a.i - b.i).slice(0, GROUP_SIZE - 1).map((
      { i },
    ) => i);
    nearest.set(target, result);
    return result;
  };
  return (reference: number, target: number): number[] | undefined => {
    const others = ranked(target).filter((i) => i !== reference).slice(0, GROUP_SIZE - 2);
    return others.length === GROUP_SIZE - 2
      ? [reference, target, ...others].sort((a, b) => a - b)
      : undefined;
  };
}
