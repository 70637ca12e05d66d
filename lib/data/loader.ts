/** Batches: which triplets a step sees, and their texts as token ids. A batch is a function of (seed, step) alone. */
import { ConfigError, DataError } from "../core/errors.ts";
import { Random } from "../core/random.ts";
import { singleCaption } from "../text/captions.ts";
import type { Tokenizer } from "../text/wordpiece.ts";
import type { Shift } from "./pixels.ts";
import type { Triplet } from "./triplet.ts";

/** Texts as the model reads them. */
export interface TextBatch {
  readonly captions: readonly string[];
  /** `[B, L]`, 0 is padding. */
  readonly inputIds: Uint32Array<ArrayBuffer>;
  /** `[B, L]`: 1 for a token, 0 for padding. */
  readonly attentionMask: Float32Array<ArrayBuffer>;
  /** L, the padded length: one of the buckets. */
  readonly paddedLength: number;
  /** Tokens of the longest text. */
  readonly length: number;
}

/** How texts become token ids. */
export interface TextOptions {
  tokenizer: Tokenizer;
  /** Padded lengths to choose from, ascending; longer texts are cut to the last. */
  bucketLengths: readonly number[];
}

/**
 * Tokenizes texts and pads them to the shortest bucket that holds them all.
 *
 * @throws {ConfigError} If the buckets are not ascending integers of at least 2.
 */
export function encodeTexts(
  captions: readonly string[],
  { tokenizer, bucketLengths }: TextOptions,
): TextBatch {
  const maxLength = checkBuckets(bucketLengths);
  const rows = captions.map((caption) => tokenizer.encode(caption, maxLength));
  const length = Math.max(0, ...rows.map((row) => row.length));
  const paddedLength = bucketLengths.find((bucket) => bucket >= length) ?? maxLength;
  const inputIds = new Uint32Array(rows.length * paddedLength);
  const attentionMask = new Float32Array(rows.length * paddedLength);
  for (const [b, row] of rows.entries()) {
    inputIds.set(row, b * paddedLength);
    attentionMask.fill(1, b * paddedLength, b * paddedLength + row.length);
  }
  return { captions, inputIds, attentionMask, paddedLength, length };
}

function checkBuckets(buckets: readonly number[]): number {
  const isAscending = buckets.every((b, i) =>
    Number.isInteger(b) && b >= 2 && (i === 0 || b > buckets[i - 1])
  );
  if (buckets.length === 0 || !isAscending) {
    throw new ConfigError(
      `bucketLengths: expected ascending integers of at least 2, got [${buckets.join(", ")}]`,
    );
  }
  return buckets[buckets.length - 1];
}

/** What one training step sees. Image numbers are positions in `Dataset.images`. */
export interface TrainBatch extends TextBatch {
  readonly step: number;
  readonly epoch: number;
  /** `[B]` */
  readonly references: Uint32Array<ArrayBuffer>;
  /** `[B]` */
  readonly targets: Uint32Array<ArrayBuffer>;
  /** One window for all references, one for all targets. */
  readonly shifts: { readonly reference: Shift; readonly target: Shift };
}

export interface TrainOptions extends TextOptions {
  batchSize: number;
  seed: number;
  /**
   * The text of a triplet, from its captions and a number in [0, 1). The number is drawn anew in each epoch, by (seed,
   * epoch, position of the triplet): the batch size does not change it.
   */
  caption?: (captions: readonly string[], u: number) => string;
  /** Largest shift of the pictures in pixels, in all directions. Default 0. */
  maxShift?: number;
}

/**
 * Shuffled epochs without their incomplete last batch. Nothing is remembered between calls: a run resumes at any step.
 *
 * @example Usage
 * ```ts
 * const triplets = [0, 1, 2, 3, 4].map((i) => ({ reference: i, target: i + 1, captions: ["red"] }));
 * const tokenizer = { size: 5, encode: () => [2, 4, 3] };
 * const loader = new TrainLoader(triplets, { batchSize: 2, seed: 1, tokenizer, bucketLengths: [4] });
 * if (loader.stepsPerEpoch !== 2 || loader.batchAt(7).epoch !== 3) throw new Error("TrainLoader");
 * ```
 */
export class TrainLoader {
  readonly stepsPerEpoch: number;
  #order?: { epoch: number; permutation: Uint32Array }; // only saves time: it follows from (seed, epoch)

  /** @throws {ConfigError} If an option is not allowed or there is not one whole batch. */
  constructor(readonly triplets: readonly Triplet[], readonly options: TrainOptions) {
    const { batchSize, maxShift = 0, bucketLengths } = options;
    checkBuckets(bucketLengths);
    if (!Number.isInteger(batchSize) || batchSize < 1 || batchSize > triplets.length) {
      throw new ConfigError(
        `batch size: expected 1 to ${triplets.length}, the number of triplets, got ${batchSize}`,
      );
    }
    if (!Number.isInteger(maxShift) || maxShift < 0) {
      throw new ConfigError(`maxShift: expected a whole number of pixels, got ${maxShift}`);
    }
    this.stepsPerEpoch = Math.floor(triplets.length / batchSize);
  }

  /** Where a step lies: its epoch, and its index there. */
  stateAt(step: number): { epoch: number; index: number } {
    if (!Number.isInteger(step) || step < 0) {
      throw new ConfigError(`step: expected a whole number, got ${step}`);
    }
    return { epoch: Math.floor(step / this.stepsPerEpoch), index: step % this.stepsPerEpoch };
  }

  /** @throws {DataError} If a triplet of the batch has no target. */
  batchAt(step: number): TrainBatch {
    const { epoch, index } = this.stateAt(step);
    const { batchSize, seed, caption = singleCaption, maxShift = 0 } = this.options;
    const chosen = this.#permutation(epoch).subarray(index * batchSize, (index + 1) * batchSize);
    const triplets = Array.from(chosen, (i) => this.triplets[i]);
    const captionRandom = new Random(seed, `caption${epoch}`), shiftRandom = new Random(seed, `shift${step}`);
    const captions = Array.from(
      chosen,
      (i) => caption(this.triplets[i].captions, captionRandom.uniformAt(i)),
    );
    const offset = () => shiftRandom.nextInt(2 * maxShift + 1) - maxShift;
    return {
      step,
      epoch,
      ...encodeTexts(captions, this.options),
      references: Uint32Array.from(triplets, ({ reference }) => reference),
      targets: Uint32Array.from(triplets, targetOf),
      shifts: { reference: { x: offset(), y: offset() }, target: { x: offset(), y: offset() } },
    };
  }

  #permutation(epoch: number): Uint32Array {
    if (this.#order?.epoch !== epoch) {
      this.#order = {
        epoch,
        permutation: new Random(this.options.seed, `shuffle${epoch}`).permutation(this.triplets.length),
      };
    }
    return this.#order.permutation;
  }
}

function targetOf({ target, reference, captions }: Triplet): number {
  if (target === null) {
    throw new DataError(
      `triplet without a target: reference ${reference}, captions ${JSON.stringify(captions)}`,
      {
        fix: "train on a split whose targets are public",
      },
    );
  }
  return target;
}

/** Queries in order; the last batch is filled up with copies of its last query, so that all batches have one shape. */
export interface QueryBatch extends TextBatch {
  /** `[B]` */
  readonly references: Uint32Array<ArrayBuffer>;
  /** How many of the B queries count. */
  readonly rows: number;
}

export interface QueryOptions extends TextOptions {
  batchSize: number;
  /** The text of a triplet. */
  caption?: (captions: readonly string[]) => string;
}

/** The queries of a split, batch by batch. */
export function* queryBatches(triplets: readonly Triplet[], options: QueryOptions): Generator<QueryBatch> {
  const { batchSize, caption = singleCaption } = options;
  for (const { items, rows } of filledBatches(triplets, batchSize)) {
    const references = Uint32Array.from(items, ({ reference }) => reference);
    yield { ...encodeTexts(items.map(({ captions }) => caption(captions)), options), references, rows };
  }
}

/**
 * Items in order, in batches of one size: the last is filled up with copies of its last item, and `rows` says how many count.
 *
 * @example Usage
 * ```ts
 * const batches = [...filledBatches([7, 8, 9], 2)];
 * if (batches[1].items.join() !== "9,9" || batches[1].rows !== 1) throw new Error("filledBatches");
 * ```
 */
export function* filledBatches<T>(
  items: readonly T[],
  batchSize: number,
): Generator<{ items: T[]; rows: number }> {
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new ConfigError(`batchSize: expected at least 1, got ${batchSize}`);
  }
  for (let start = 0; start < items.length; start += batchSize) {
    const batch = items.slice(start, start + batchSize), rows = batch.length;
    while (batch.length < batchSize) batch.push(batch[rows - 1]);
    yield { items: batch, rows };
  }
}
