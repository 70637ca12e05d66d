/**
 * What came of every query, in a run's folder: `rankings_SPLIT.jsonl`. One JSON object a line.
 *
 * The first says what the file is about: `format`, `split`, `dataset` (name and hash), `protocol`, and `images`, the names
 * of all gallery images. Then a line a query, in the order of the split: `query` (its number), `pairId`, `reference`,
 * `target` (null where it is secret), `targets`, `captions`, `category`, `rule`, and for each way to ask (`composed`,
 * `image`, `text`) `rank` (of the target, 0 is best), `subset` (its rank in the group), `group` (its other members, best
 * first) and `top` (the best 50, best first). What a query does not have is left out; images of `group` and `top` are
 * positions in `images`.
 */
import { DataError } from "../core/errors.ts";
import type { Dataset, SplitName, Triplet } from "../data/triplet.ts";
import { writeFileAtomic } from "../io/atomic.ts";
import { isJsonObject } from "../io/json_keys.ts";
import { type JsonRecord, readJsonl } from "../io/jsonl.ts";
import type { Protocol } from "../metrics/protocol.ts";
import { NO_RANK } from "../metrics/ranking.ts";
import { galleryImages, type Kind, type Ranking } from "./evaluate.ts";

const FORMAT = "cala rankings 1";

/** A file of rankings. */
export interface Rankings {
  readonly split: string;
  readonly dataset: { readonly name: string; readonly hash: string };
  readonly protocol: Protocol;
  /** Names of all gallery images. */
  readonly images: readonly string[];
  /** In the order of the split. */
  readonly queries: readonly RankedQuery[];
}

/** A query by the names of its images, and what came of it. */
export interface RankedQuery {
  readonly query: number;
  readonly pairId?: string | number;
  readonly reference: string;
  /** Null where it is secret. */
  readonly target: string | null;
  /** All right answers, where there are several. */
  readonly targets?: readonly string[];
  readonly captions: readonly string[];
  readonly category?: string;
  readonly rule?: string;
  readonly composed: RankedAnswer;
  readonly image?: RankedAnswer;
  readonly text?: RankedAnswer;
}

/** What came of a query asked in one way. Images are positions in `Rankings.images`. */
export interface RankedAnswer {
  /** Of the target, 0 is best; null where it is secret. */
  readonly rank: number | null;
  /** Of the target in its group. */
  readonly subset?: number;
  /** The group's others, best first. */
  readonly group?: readonly number[];
  /** At most 50, best first. */
  readonly top: readonly number[];
}

/** The path of a run's rankings. */
export const rankingsPath = (folder: string, split: string): string => `${folder}/rankings_${split}.jsonl`;

/** Writes a split's rankings atomically. Equal rankings give equal bytes. */
export async function saveRankings(
  path: string,
  dataset: Dataset,
  protocol: Protocol,
  name: SplitName,
  rankings: ReadonlyMap<Kind, Ranking>,
): Promise<void> {
  const split = dataset.splits[name], images = galleryImages(split);
  const place = new Map(images.map((image, i) => [image, i]));
  const head = {
    format: FORMAT,
    split: name,
    dataset: { name: dataset.name, hash: dataset.hash },
    protocol: { ...protocol, split: name },
    images: images.map((image) => dataset.images[image].name),
  };
  const places = (found: readonly number[]) => found.map((image) => place.get(image));
  const answer = ({ target, subset, top, groups }: Ranking, q: number) => ({
    rank: target[q] === NO_RANK ? null : target[q],
    ...(subset[q] === NO_RANK ? {} : { subset: subset[q] }),
    ...(groups[q] ? { group: places(groups[q]) } : {}),
    top: places(top[q]),
  });
  await writeFileAtomic(
    path,
    (function* () {
      yield JSON.stringify(head) + "\n";
      for (const [q, triplet] of split.triplets.entries()) {
        const answers = [...rankings].map(([kind, ranking]) => [kind, answer(ranking, q)]);
        const rule = triplet.rule === undefined ? {} : { rule: triplet.rule };
        const asked = { query: q, ...askedByName(dataset, triplet), ...rule };
        yield JSON.stringify({ ...asked, ...Object.fromEntries(answers) }) + "\n";
      }
    })(),
  );
}

/** What a query asks, its images by name. What it does not have is left out. */
export function askedByName({ images }: Dataset, triplet: Triplet) {
  const { reference, target, targets, captions, pairId, category } = triplet;
  const nameOf = (image: number) => images[image].name;
  return {
    ...(pairId === undefined ? {} : { pairId }),
    reference: nameOf(reference),
    target: target === null ? null : nameOf(target),
    ...(targets ? { targets: targets.map(nameOf) } : {}),
    captions,
    ...(category === undefined ? {} : { category }),
  };
}

/**
 * Reads a file of rankings.
 *
 * @throws {DataError} If it is missing, cut short or not of this form; names the line.
 */
export async function readRankings(path: string): Promise<Rankings> {
  const { records: [head, ...lines], torn } = await readJsonl(path);
  const fix = "deno task eval measures the run anew and writes it";
  if (!head) throw new DataError(`${path}: no such file, or an empty one`, { where: path, fix });
  const broken = (line: number, what: string) =>
    new DataError(`${path}, line ${line}: ${what}`, { where: path, fix });
  if (torn) throw broken(lines.length + 2, "the line is cut short");
  const { format, split, dataset, protocol, images } = head;
  const isHead = format === FORMAT && typeof split === "string" && isJsonObject(dataset) &&
    typeof dataset.name === "string" && isJsonObject(protocol) && isStrings(images);
  if (!isHead) throw broken(1, `not the head of "${FORMAT}"`);
  const bad = lines.findIndex((line, q) => !isRankedQuery(line, q, images.length));
  if (bad >= 0) throw broken(bad + 2, `not the ranking of query ${bad}`);
  return { split, dataset, protocol, images, queries: lines } as unknown as Rankings;
}

const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === "string");

const isWhole = (value: unknown, below: number): boolean =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value < below;

function isRankedQuery(line: JsonRecord, q: number, images: number): boolean {
  const { query, reference, target, targets = [], captions, composed, image = composed, text = composed } =
    line;
  return query === q && typeof reference === "string" && (target === null || typeof target === "string") &&
    isStrings(targets) && isStrings(captions) &&
    [composed, image, text].every((answer) =>
      isJsonObject(answer) && (answer.rank === null || isWhole(answer.rank, images)) &&
      (answer.subset === undefined || isWhole(answer.subset, images)) &&
      [answer.top, answer.group ?? []].every((list) =>
        Array.isArray(list) && list.every((place) => isWhole(place, images))
      )
    );
}
