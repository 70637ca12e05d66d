/**
 * The two files that CIRR's server measures: the first 50 of each test query's ranking, and the first 3 of its group.
 *
 * Source: the released `cirr_test_submission_blip2.py`; CIRR's server, version rc2.
 */
import { isJsonObject, JsonKeyError, keyPlaces } from "../io/json_keys.ts";

/** Which of the two files. */
export type SubmissionMetric = "recall" | "recall_subset";

/** Names that each query has in a file. */
export const SUBMISSION_LENGTH: Readonly<Record<SubmissionMetric, number>> = { recall: 50, recall_subset: 3 };

/** What the server takes at most. */
const MAX_BYTES = 5_000_000;
const VERSION = "rc2";
/** Queries of CIRR's test1, where the annotations are not at hand. */
const TEST1_QUERIES = 4148;

/** A query of the test split, by the names of its images. */
export interface SubmissionQuery {
  readonly pairId: string;
  readonly reference: string;
  /** Its group; the reference may be among them. */
  readonly members: readonly string[];
}

/** What the files are about. */
export interface SubmissionData {
  readonly queries: readonly SubmissionQuery[];
  readonly gallery: ReadonlySet<string>;
}

/**
 * A file's text, byte for byte as the released scripts write it: keys in the order of strings, one line.
 *
 * @param answers Names by pair id, best first.
 *
 * @example Usage
 * ```ts
 * const text = submissionText("recall_subset", new Map([["2", ["a", "b"]], ["10", ["c", "a"]]]));
 * if (text !== '{"10": ["c", "a"], "2": ["a", "b"], "metric": "recall_subset", "version": "rc2"}') throw new Error(text);
 * ```
 */
export function submissionText(
  metric: SubmissionMetric,
  answers: ReadonlyMap<string, readonly string[]>,
): string {
  const list = (names: readonly string[]) => `[${names.map((name) => JSON.stringify(name)).join(", ")}]`;
  const entries: [string, string][] = [...answers].map(([pairId, names]) => [pairId, list(names)]);
  entries.push(["metric", JSON.stringify(metric)], ["version", JSON.stringify(VERSION)]);
  entries.sort(([a], [b]) => a < b ? -1 : 1);
  return `{${entries.map(([key, value]) => `${JSON.stringify(key)}: ${value}`).join(", ")}}`;
}

/** What a check found. */
export interface SubmissionCheck {
  /** Which of the two files it is, where it says so. */
  readonly metric?: SubmissionMetric;
  /** Entries for queries. */
  readonly queries: number;
  /** What is wrong, a line each; nothing where the server will take it. */
  readonly problems: readonly string[];
}

/**
 * Checks a file as the server would, and what the server cannot see: whether the reference was left out of the ranking.
 *
 * @param data The test split; without it, ids and names cannot be compared with it, only counted.
 *
 * @example Usage
 * ```ts
 * const data = {
 *   queries: [{ pairId: "7", reference: "a", members: ["a", "b", "c", "d"] }],
 *   gallery: new Set(["a", "b", "c", "d"]),
 * };
 * const text = submissionText("recall_subset", new Map([["7", ["b", "a", "c"]]]));
 * const { problems } = checkSubmission(text, data);
 * if (problems.join() !== 'query 7: holds the reference "a"; it has to be left out') throw new Error(problems.join());
 * ```
 */
export function checkSubmission(text: string, data?: SubmissionData): SubmissionCheck {
  const problems: string[] = [], bytes = new TextEncoder().encode(text).length;
  if (bytes > MAX_BYTES) problems.push(`${bytes} bytes; the server takes ${MAX_BYTES} at most`);
  let value: unknown;
  try {
    value = JSON.parse(text);
    keyPlaces(text);
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof JsonKeyError)) throw error;
    const what = error instanceof JsonKeyError
      ? `${error.message}: a query has one entry`
      : `not JSON: ${error.message}`;
    return { queries: 0, problems: [...problems, what] };
  }
  if (!isJsonObject(value)) return { queries: 0, problems: [...problems, "not a JSON object"] };
  const { metric, version, ...answers } = value, given = Object.keys(answers);
  if (version !== VERSION) problems.push(`"version" is ${JSON.stringify(version)}, expected "${VERSION}"`);
  const isMetric = metric === "recall" || metric === "recall_subset";
  if (!isMetric) {
    const both = ["recall", "recall_subset"].every((name) => Object.hasOwn(value, name));
    problems.push(
      both
        ? 'both metrics in one file; the server takes two files, each with its own "metric"'
        : `"metric" is ${JSON.stringify(metric)}, expected "recall" or "recall_subset"`,
    );
    return { queries: given.length, problems };
  }
  problems.push(...checkIds(given, data));
  const known = new Map(data?.queries.map((query) => [query.pairId, query]));
  for (const [pairId, names] of Object.entries(answers)) {
    const query = known.get(pairId);
    if (data && !query) continue; // said by checkIds
    for (const problem of checkNames(names, metric, query, data)) {
      problems.push(`query ${pairId}: ${problem}`);
    }
  }
  return { metric, queries: given.length, problems };
}

function checkIds(given: readonly string[], data?: SubmissionData): string[] {
  if (!data) {
    const strange = given.filter((id) => !/^\d+$/.test(id)).map((id) => `key "${id}": expected a pair id`);
    if (given.length === TEST1_QUERIES) return strange;
    return [...strange, `${given.length} queries; CIRR's test1 has ${TEST1_QUERIES}`];
  }
  const expected = new Set(data.queries.map(({ pairId }) => pairId)), has = new Set(given);
  const missing = [...expected].filter((id) => !has.has(id)),
    unknown = given.filter((id) => !expected.has(id));
  return [
    ...(missing.length > 0
      ? [`${missing.length} of ${expected.size} queries are missing: ${some(missing)}`]
      : []),
    ...(unknown.length > 0 ? [`${unknown.length} keys are no query of this split: ${some(unknown)}`] : []),
  ];
}

function checkNames(
  names: unknown,
  metric: SubmissionMetric,
  query?: SubmissionQuery,
  data?: SubmissionData,
): string[] {
  if (!Array.isArray(names) || !names.every((name) => typeof name === "string")) {
    return ["expected a list of image names"];
  }
  const problems: string[] = [], inGroup = new Set(query?.members);
  inGroup.delete(query?.reference ?? "");
  const there = metric === "recall"
    ? (data ? data.gallery.size - 1 : Infinity)
    : (query ? inGroup.size : Infinity);
  const wanted = Math.min(SUBMISSION_LENGTH[metric], there);
  if (names.length !== wanted) problems.push(`${names.length} names, expected ${wanted}`);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) problems.push(`"${twice}" occurs twice`);
  if (query && names.includes(query.reference)) {
    problems.push(`holds the reference "${query.reference}"; it has to be left out`);
  }
  const others = names.filter((name) => name !== query?.reference);
  const stranger = data && others.find((name) => !data.gallery.has(name));
  if (stranger !== undefined) problems.push(`"${stranger}" is no image of the split`);
  else if (query && metric === "recall_subset") {
    const outside = others.find((name) => !inGroup.has(name));
    if (outside !== undefined) problems.push(`"${outside}" is not in the query's group`);
  }
  return problems;
}

const some = (ids: readonly string[]): string => ids.slice(0, 5).join(", ") + (ids.length > 5 ? ", ..." : "");
