/** The running statistics of a run's BatchNorms, as parameters under PyTorch's keys. */
import { type Param, param } from "../tensor/tensor.ts";
import type { LiveValues } from "../train/live_images.ts";
import { afterBatch, type RunningStatistics, type Statistics } from "../vision/batch_norm.ts";
import type { LiveResNet } from "../vision/live_resnet.ts";

/** They move in training, a step at a time. */
export class LiveStatistics {
  /** As the last finished step left them. */
  now: RunningStatistics;
  /** By checkpoint key: of each layer, as PyTorch has them. */
  readonly params: ReadonlyMap<string, Param>;
  readonly #resnet: Pick<LiveResNet, "initial" | "layers">;
  #next: RunningStatistics; // with what was read since

  /** @param prefix Of the keys, before PyTorch's. */
  constructor(resnet: Pick<LiveResNet, "initial" | "layers">, prefix: string) {
    this.now = this.#next = resnet.initial;
    this.#resnet = resnet;
    this.params = new Map(
      this.#views(resnet.initial).map(([key, data]) => [
        `${prefix}${key}`,
        param(key.endsWith("tracked") ? [] : [data.length], data),
      ]),
    );
  }

  /** Adds a batch of the step that is being read. */
  add(own: Statistics, images: number): void {
    this.#next = afterBatch(this.#next, own, this.#resnet.layers, images);
  }

  /** @returns What the step has left. */
  finishStep(): LiveValues {
    this.now = this.#next;
    const views = this.#views(this.now);
    return new Map([...this.params.values()].map((param, i) => [param, views[i][1]]));
  }

  /** Goes on from these, without what was read since. */
  restore(values: LiveValues): void {
    const { mean, variance, batches } = this.#resnet.initial;
    const restored = { mean: mean.slice(), variance: variance.slice(), batches: batches.slice() };
    const views = this.#views(restored);
    for (const [i, param] of [...this.params.values()].entries()) views[i][1].set(values.get(param) ?? []);
    this.now = this.#next = restored;
  }

  /** The parts of each layer, under PyTorch's keys. */
  #views({ mean, variance, batches }: RunningStatistics) {
    let end = 0;
    return this.#resnet.layers.flatMap(({ name, channels }, i) => {
      const start = end;
      end += channels;
      return [
        [`${name}.running_mean`, mean.subarray(start, end)],
        [`${name}.running_var`, variance.subarray(start, end)],
        [`${name}.num_batches_tracked`, batches.subarray(i, i + 1)],
      ] as const;
    });
  }
}
