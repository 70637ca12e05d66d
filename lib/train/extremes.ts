/** Where files are missing: what came of all queries, at worst and at best, whatever the missing files would have been. */
import type { Split, Triplet } from "../data/triplet.ts";
import { NO_RANK } from "../metrics/ranking.ts";
import type { Ranking } from "./evaluate.ts";
import { TOP } from "./score.ts";

/** Queries and what came of them. */
export interface Ranked {
  readonly split: Split;
  readonly ranking: Ranking;
}

/** A missing query's target, and a missing image before it: no image has these positions. */
const LOST_TARGET = -1, LOST_IMAGE = -2;
/** Rank of a query that misses at any cut-off; `NO_RANK` would say that it has none. */
const MISS = NO_RANK - 1;

/**
 * The whole data at both ends: at worst each missing query misses and each missing image stands before every target, at
 * best each missing query hits and no missing image does. A metric that grows with the hits lies between its values there.
 *
 * @returns Nothing where no file is missing.
 *
 * @example Usage
 * ```ts
 * const triplets = [{ reference: 2, target: 0, captions: ["in red"], group: [0, 1, 2] }], gallery = [0, 1];
 * const split = { triplets, gallery, leftOut: { "": { queries: 1, images: 3 } } };
 * const ranking = { target: Uint32Array.of(0), subset: Uint32Array.of(0), top: [[0, 1]], groups: [[0, 1]] };
 * const [worst, best] = extremes(split, ranking) ?? [];
 * if (worst?.ranking.target[0] !== 3 || best?.ranking.target.join() !== "0,0") throw new Error("extremes");
 * ```
 */
export function extremes(split: Split, ranking: Ranking): [worst: Ranked, best: Ranked] | undefined {
  const { triplets, galleries, leftOut = {} } = split, missing = Object.entries(leftOut);
  if (missing.every(([, { queries, images }]) => queries + images === 0)) return undefined;
  const isGrouped = triplets.every(({ group }) => group);
  const lost = missing.flatMap(([category, { queries }]) =>
    Array.from({ length: queries }, (): Triplet => ({
      reference: LOST_TARGET,
      target: LOST_TARGET,
      captions: [],
      ...galleries && { category },
      ...isGrouped && { group: [] },
    }))
  );
  const whole = { ...split, triplets: [...triplets, ...lost], leftOut: undefined };
  const inGallery = triplets.map(({ category = "" }) => leftOut[galleries ? category : ""]?.images ?? 0);
  const inGroup = triplets.map(({ groupLeftOut = 0 }) => groupLeftOut), none = triplets.map(() => 0);
  /** With so many missing images before each target, in the gallery and in the group. */
  const end = (
    { gallery, group }: Record<"gallery" | "group", readonly number[]>,
    rankOfLost: number,
    topOfLost: readonly number[],
  ): Ranked => {
    const ranks = (of: ArrayLike<number>, missing: readonly number[]) =>
      Uint32Array.from([
        ...Array.from(of, (rank, q) => rank === NO_RANK ? rank : Math.min(MISS, rank + missing[q])),
        ...lost.map(() => rankOfLost),
      ]);
    const top = ranking.top.map((best, q) =>
      [...Array<number>(Math.min(TOP, gallery[q])).fill(LOST_IMAGE), ...best].slice(0, TOP)
    );
    return {
      split: whole,
      ranking: {
        target: ranks(ranking.target, gallery),
        subset: ranks(ranking.subset, group),
        top: [...top, ...lost.map(() => topOfLost)],
        groups: [...ranking.groups, ...lost.map(() => undefined)],
      },
    };
  };
  return [
    end({ gallery: inGallery, group: inGroup }, MISS, []),
    end({ gallery: none, group: none }, 0, [LOST_TARGET]),
  ];
}
