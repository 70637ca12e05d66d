/** Which side each concept lies on, so that every kind of change is on every side. */
import { hashString } from "../../core/random.ts";
import type { SplitName } from "../triplet.ts";

/** Share of each side. */
export const SHARES: Readonly<Record<SplitName, number>> = { train: 0.7, val: 0.15, test: 0.15 };
const SIDES = Object.keys(SHARES) as SplitName[];

/**
 * Puts concepts on sides, rule by rule from the rule of the fewest concepts: each concept, heaviest first, goes to the side
 * that is least full for that rule; where three concepts or more have the rule, no side is left without one. Equal weights
 * are ordered by a hash of the name. Nothing is drawn and nothing is tried twice.
 *
 * After Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011.
 *
 * @param weights For each concept the number of triplets of each rule.
 *
 * @example Usage
 * ```ts
 * const side = stratify(new Map(["a", "b", "c"].map((name, i) => [name, new Map([["clock", 3 - i]])])));
 * if (side.get("a") !== "train" || new Set(side.values()).size !== 3) throw new Error("stratify");
 * ```
 */
export function stratify(weights: ReadonlyMap<string, ReadonlyMap<string, number>>): Map<string, SplitName> {
  const holders = new Map<string, string[]>(); // rule → concepts
  for (const [concept, rules] of weights) {
    for (const rule of rules.keys()) holders.set(rule, [...holders.get(rule) ?? [], concept]);
  }
  const sideOf = new Map<string, SplitName>();
  for (
    const [rule, concepts] of [...holders].sort((a, b) =>
      a[1].length - b[1].length || hashString(a[0]) - hashString(b[0])
    )
  ) {
    const weight = (concept: string) => weights.get(concept)?.get(rule) ?? 0;
    const filled: Record<SplitName, number> = { train: 0, val: 0, test: 0 };
    for (const concept of concepts) {
      const side = sideOf.get(concept);
      if (side) filled[side] += weight(concept);
    }
    const open = concepts.filter((concept) => !sideOf.has(concept))
      .sort((a, b) => weight(b) - weight(a) || hashString(a) - hashString(b));
    for (const [i, concept] of open.entries()) {
      const empty = SIDES.filter((side) => filled[side] === 0);
      const allowed = open.length - i <= empty.length ? empty : SIDES;
      const fullness = (side: SplitName) => (filled[side] + weight(concept)) / SHARES[side];
      const side = allowed.reduce((best, next) => fullness(next) < fullness(best) ? next : best);
      sideOf.set(concept, side);
      filled[side] += weight(concept);
    }
  }
  return sideOf;
}
