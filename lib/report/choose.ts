/** Which queries a report shows: those from which one learns where a model fails, and why. */
import { Random } from "../core/random.ts";

/** What came of a query, asked in one way. */
export interface Answer {
  /** Rank of the target, 0 is best. */
  readonly rank: number;
  /** The first of the ranking, best first: positions in `Dataset.images`. */
  readonly top: readonly number[];
}

/** A query and its answers. Images are positions in `Dataset.images`. */
export interface ReportQuery {
  readonly reference: number;
  readonly target: number;
  readonly caption: string;
  /** Its kind of change or its category, where the data set has them. */
  readonly kind?: string;
  readonly composed: Answer;
  /** The reference alone, and the text alone: what a model finds by them without composing anything. */
  readonly image?: Answer;
  readonly text?: Answer;
}

/** Queries with something in common. */
export interface Section {
  readonly title: string;
  /** What they have in common, in a sentence. */
  readonly why: string;
  /** How many of all queries are such. */
  readonly total: number;
  /** Positions of those that are shown, in the order to show them. */
  readonly queries: readonly number[];
}

const TOP = 10, FAR = 50;
/** Of ten answers so many in common are no accident: galleries have thousands of images. */
const SHARED = 5;

interface Rule {
  readonly title: string;
  readonly why: string;
  readonly holds: (query: ReportQuery) => boolean;
  /** Largest first. */
  readonly order?: (query: ReportQuery) => number;
}

const isMissed = ({ composed }: ReportQuery) => composed.rank >= TOP;
const sharedWith = ({ composed }: ReportQuery, alone?: Answer) =>
  alone?.top.slice(0, TOP).filter((image) => composed.top.slice(0, TOP).includes(image)).length ?? 0;
const bestAlone = ({ image, text }: ReportQuery) => Math.min(image?.rank ?? Infinity, text?.rank ?? Infinity);

const RULES: readonly Rule[] = [
  {
    title: "Worst",
    why: "The targets that stand lowest in the ranking.",
    holds: isMissed,
    order: ({ composed }) => composed.rank,
  },
  {
    title: "Misses that follow the picture",
    why:
      `The target is not among the first ${TOP}, and ${SHARED} or more of these are what the reference alone finds: ` +
      "the text was hardly read.",
    holds: (query) => isMissed(query) && sharedWith(query, query.image) >= SHARED,
    order: (query) => sharedWith(query, query.image),
  },
  {
    title: "Misses that follow the text",
    why:
      `The target is not among the first ${TOP}, and ${SHARED} or more of these are what the text alone finds: the ` +
      "picture was hardly seen.",
    holds: (query) => isMissed(query) && sharedWith(query, query.text) >= SHARED,
    order: (query) => sharedWith(query, query.text),
  },
  {
    title: "Misses that one half finds",
    why:
      `The reference alone or the text alone has the target among its first ${TOP}, both together have not.`,
    holds: (query) => isMissed(query) && bestAlone(query) < TOP,
    order: ({ composed }) => composed.rank,
  },
  {
    title: "Near misses",
    why: `The target is among the first ${FAR}, not among the first ${TOP}.`,
    holds: (query) => isMissed(query) && query.composed.rank < FAR,
  },
  {
    title: "Best",
    why: "The target is first, and neither half finds it by itself: these are composed.",
    holds: ({ composed }) => composed.rank === 0,
    order: bestAlone,
  },
  { title: "Random", why: "Drawn at random from all queries.", holds: () => true },
];

export interface ChooseOptions {
  /** Queries to show at most. */
  readonly count: number;
  readonly seed: number;
  /** The same queries, answered by another run, of which this one is compared with. */
  readonly others?: readonly ReportQuery[];
}

/**
 * Sections of queries, each query in the first section that takes it. The same queries and seed give the same choice.
 *
 * @example Usage
 * ```ts
 * const answer = (rank: number) => ({ rank, top: [7] });
 * const query = (rank: number) => ({ reference: 0, target: 1, caption: "red", composed: answer(rank) });
 * const sections = chooseQueries([query(0), query(90), query(12)], { count: 20, seed: 1 });
 * if (sections[0].title !== "Worst" || sections[0].queries[0] !== 1) throw new Error("chooseQueries");
 * ```
 */
export function chooseQueries(
  queries: readonly ReportQuery[],
  { count, seed, others }: ChooseOptions,
): Section[] {
  const shuffled = [...new Random(seed, "report").permutation(queries.length)];
  const rules = [...(others ? comparingRules(queries, others) : []), ...RULES].map((rule) => ({
    ...rule,
    members: ordered(shuffled.filter((q) => rule.holds(queries[q])), (q) => rule.order?.(queries[q]) ?? 0),
  }));
  const byKind = worstOfKinds(queries);
  let open =
    [...rules.map(({ members }) => members), byKind.queries].filter(({ length }) => length > 0).length;
  const taken = new Set<number>();
  /** An equal share of what is left to show: what one section does not use, the next ones may. */
  const take = (members: readonly number[]): number[] => {
    if (members.length === 0) return [];
    const share = Math.ceil((count - taken.size) / open--);
    const free = members.filter((q) => !taken.has(q)).slice(0, share);
    for (const q of free) taken.add(q);
    return free;
  };
  const sections = rules.map(({ title, why, members }): Section => ({
    title,
    why,
    total: members.length,
    queries: take(members),
  }));
  return [...sections, { ...byKind, queries: take(byKind.queries) }].filter(({ queries }) =>
    queries.length > 0
  );
}

/** Largest first; equal ones keep their order. */
const ordered = (members: number[], order: (q: number) => number): number[] =>
  members.sort((a, b) => order(b) - order(a));

/** A query's gain is what its rank falls by, on a scale where 0 to 1 counts as much as 50 to 101. */
function comparingRules(queries: readonly ReportQuery[], others: readonly ReportQuery[]): Rule[] {
  const otherOf = new Map(queries.map((query, q) => [query, others[q]]));
  const gain = (query: ReportQuery) =>
    Math.log((1 + (otherOf.get(query)?.composed.rank ?? 0)) / (1 + query.composed.rank));
  return [
    {
      title: "Gained",
      why: "The target stands higher than in the other run; the largest steps first.",
      holds: (query) => gain(query) > 0,
      order: gain,
    },
    {
      title: "Lost",
      why: "The target stands lower than in the other run; the largest steps first.",
      holds: (query) => gain(query) < 0,
      order: (query) => -gain(query),
    },
  ];
}

/** Of each kind the query whose target stands lowest, round after round. */
function worstOfKinds(queries: readonly ReportQuery[]): Section {
  const positions = queries.flatMap(({ kind }, q) => kind === undefined ? [] : [q]);
  const kinds = [...Map.groupBy(positions, (q) => queries[q].kind).values()]
    .map((members) => ordered(members, (q) => queries[q].composed.rank));
  const rounds = Math.max(0, ...kinds.map((members) => members.length));
  return {
    title: "Worst of each kind",
    why: "Of every kind of change the targets that stand lowest.",
    total: positions.length,
    queries: Array.from(
      { length: rounds },
      (_, round) => kinds.flatMap((members) => members.slice(round, round + 1)),
    )
      .flat(),
  };
}
