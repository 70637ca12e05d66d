/** What a run writes down while it trains: each step in `log.jsonl`, each epoch and validation in a CSV. */
import { appendCsv, type CsvRow, cutCsv } from "../io/csv.ts";
import { appendJsonl, cutAfter, cutJsonl, type JsonRecord, readJsonl } from "../io/jsonl.ts";
import type { Recalls } from "../metrics/recall.ts";

/** One step's losses. Steps count from 1: the number of steps done. */
export interface StepRecord {
  readonly step: number;
  /** Epochs finished before this step. */
  readonly epoch: number;
  readonly terms: Readonly<Record<string, number>>;
  /** Learning rate of the optimiser's first group: the released code schedules that one. */
  readonly lr?: number;
  /** True if a gradient was not finite: the step changed nothing. */
  readonly isSkipped: boolean;
}

/** Where a run is logged besides its folder. Its methods return at once and do not throw. */
export interface LogMirror {
  steps(records: readonly StepRecord[]): void;
  epoch(place: { step: number; epoch: number }, loss: number): void;
  validation(place: { step: number; epoch: number }, metrics: Recalls): void;
}

/** The lines of `log.jsonl` that are of steps; the others are of validations and name their split. */
export const stepLines = (records: readonly JsonRecord[]): JsonRecord[] =>
  records.filter(({ split }) => split === undefined);

/** The files of one run. A record never stands in them twice: what a checkpoint does not cover is cut before going on. */
export class RunLog {
  readonly #folder: string;
  readonly #stepsPerEpoch: number;
  readonly #mirror?: LogMirror;
  /** Steps of the epoch that is not finished. */
  #epoch: StepRecord[] = [];

  constructor(
    folder: string,
    { stepsPerEpoch }: { stepsPerEpoch: number },
    { mirror }: { mirror?: LogMirror } = {},
  ) {
    this.#folder = folder;
    this.#mirror = mirror;
    this.#stepsPerEpoch = stepsPerEpoch;
  }

  /** Cuts the files back to the first `step` steps, and takes up the epoch that was under way. */
  async resume(step: number): Promise<void> {
    await cutJsonl(this.#path("log.jsonl"), cutAfter(step));
    for (const name of ["train_metrics.csv", "validation_metrics.csv"]) {
      await cutCsv(this.#path(name), (row) => Number(row.step) <= step);
    }
    const { records } = await readJsonl(this.#path("log.jsonl"));
    const begun = step - step % this.#stepsPerEpoch;
    this.#epoch = stepLines(records).map(fromJson).filter((record) => record.step > begun);
  }

  /** Adds steps, in order; writes a row of `train_metrics.csv` for each epoch that they finish. */
  async steps(records: readonly StepRecord[]): Promise<void> {
    if (records.length === 0) return;
    await appendJsonl(this.#path("log.jsonl"), ...records.map(toJson));
    this.#mirror?.steps(records);
    for (const record of records) {
      this.#epoch.push(record);
      if (record.step % this.#stepsPerEpoch === 0) await this.finishEpoch();
    }
  }

  /** Writes the row of the epoch under way, if it has steps. */
  async finishEpoch(): Promise<void> {
    const last = this.#epoch.at(-1), counted = this.#epoch.filter(({ isSkipped }) => !isSkipped);
    this.#epoch = [];
    if (!last) return;
    const mean = (term: string) => counted.reduce((sum, { terms }) => sum + terms[term], 0) / counted.length;
    const { loss: _, ...others } = last.terms;
    // The released columns come first; batches are of one size, so the mean over steps is that over triplets.
    const row: CsvRow = { epoch: last.epoch, train_epoch_loss: mean("loss"), step: last.step };
    for (const term of Object.keys(others)) row[term] = mean(term);
    await appendCsv(this.#path("train_metrics.csv"), row);
    this.#mirror?.epoch(last, mean("loss"));
  }

  /** Adds a row of `validation_metrics.csv`, and the same to `log.jsonl`. */
  async validation({ step, epoch }: { step: number; epoch: number }, metrics: Recalls): Promise<void> {
    await appendJsonl(this.#path("log.jsonl"), { step, epoch, split: "val", ...metrics });
    await appendCsv(this.#path("validation_metrics.csv"), { epoch, ...metrics, step });
    this.#mirror?.validation({ step, epoch }, metrics);
  }

  #path(name: string): string {
    return `${this.#folder}/${name}`;
  }
}

/** Terms beside step and epoch; JSON has no NaN and writes null. */
const toJson = ({ step, epoch, terms, lr, isSkipped }: StepRecord): JsonRecord => ({
  step,
  epoch,
  ...(lr === undefined ? {} : { lr }),
  ...terms,
  ...(isSkipped ? { skipped: true } : {}),
});

function fromJson({ step, epoch, lr: _, skipped, ...terms }: JsonRecord): StepRecord {
  const numbers = Object.entries(terms).map((
    [name, value],
  ) => [name, typeof value === "number" ? value : NaN]);
  return {
    step: Number(step),
    epoch: Number(epoch),
    terms: Object.fromEntries(numbers),
    isSkipped: skipped === true,
  };
}
