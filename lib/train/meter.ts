/** How fast a run is, how its losses stand, and how long it still takes. */
import { formatBytes, formatDuration } from "../core/format.ts";
import type { StepRecord } from "./log.ts";

/** What a meter knows from the start. */
export interface MeterOptions {
  /** The step that the process began with. */
  readonly start: number;
  readonly totalSteps: number;
  /** Losses are shown as their mean over so many steps. */
  readonly logEvery: number;
  readonly batchSize: number;
  readonly plannedBytes: number;
}

/** Speed, losses and time left, as one line. */
export class Meter {
  readonly #options: MeterOptions;
  #recent: StepRecord[] = [];
  #skipped = 0;
  #hasBegun = false;
  #busyMs = 0;
  #since = performance.now();

  constructor(options: MeterOptions) {
    this.#options = options;
  }

  /** Called before each step; the clock starts at the first one, after its plan was compiled. */
  begin(): void {
    if (!this.#hasBegun) this.#since = performance.now();
    this.#hasBegun = true;
  }

  add(records: readonly StepRecord[]): void {
    this.#skipped += records.filter(({ isSkipped }) => isSkipped).length;
    this.#recent = [...this.#recent, ...records].slice(-this.#options.logEvery);
  }

  pause(): void {
    this.#busyMs += performance.now() - this.#since;
  }
  resume(): void {
    this.#since = performance.now();
  }

  line(step: number): string {
    const { start, totalSteps, batchSize, plannedBytes } = this.#options;
    const ms = this.#busyMs + performance.now() - this.#since, done = step - start;
    const rate = done * batchSize / ms * 1000;
    const mean = (term: string) =>
      this.#recent.reduce((sum, { terms }) => sum + terms[term], 0) / this.#recent.length;
    const { loss: _, ...others } = this.#recent.at(-1)?.terms ?? { loss: NaN };
    const parts = Object.keys(others).map((term) => `${term} ${mean(term).toFixed(3)}`);
    return [
      `step ${step}/${totalSteps}`,
      `loss ${mean("loss").toFixed(3)}${parts.length > 0 ? ` (${parts.join(", ")})` : ""}`,
      `${rate < 10 ? rate.toPrecision(2) : rate.toFixed(0)} pairs/s`,
      `${formatDuration(ms / done * (totalSteps - step))} left`,
      `planned memory ${formatBytes(plannedBytes)}`,
      ...(this.#skipped > 0 ? [`${this.#skipped} steps skipped: gradients not finite`] : []),
    ].join("  ");
  }
}
