/**
 * BatchNorm whose statistics are no part of a graph: a batch's own, as in training, or running ones, which are fed. Those
 * of all layers lie one behind the other, in two vectors.
 *
 * Source: `torch.nn.BatchNorm2d`. Quirk Q13: the released `clip_model.train()` uses it in training, though no weight of
 * the ResNet is trained.
 */
import type { Graph, GraphBuilder } from "./graph.ts";
import type { VisionWeights } from "./keys.ts";

/** Added to a variance, so that its root is not 0. */
export const EPS = 1e-5;
/** Share of a new batch in the running statistics: PyTorch's default. */
const MOMENTUM = 0.1;
/** TensorProto.DataType */
const BOOL = 9;

/** One BatchNorm. */
export interface NormLayer {
  /** Where its keys begin, without the dot: `visual.layer1.0.bn1`. */
  readonly name: string;
  readonly channels: number;
  /** Values of a channel in one image. */
  readonly area: number;
}

/** Means and biased variances of all layers: each `[T]`, T the channels of all layers. */
export interface Statistics {
  readonly mean: Float32Array<ArrayBuffer>;
  readonly variance: Float32Array<ArrayBuffer>;
}

/** What the layers keep of the batches they have seen; its variances are unbiased. */
export interface RunningStatistics extends Statistics {
  /** Batches seen, by layer. */
  readonly batches: Float32Array<ArrayBuffer>;
}

/** Writes the BatchNorms of one graph. */
export class NormWriter {
  /** Those written so far. */
  readonly layers: NormLayer[] = [];
  readonly #g: GraphBuilder;
  readonly #weights: VisionWeights;
  readonly #usesBatch: string;
  readonly #means: string[] = [];
  readonly #variances: string[] = [];
  #channels = 0;

  constructor(g: GraphBuilder, weights: VisionWeights) {
    this.#g = g;
    this.#weights = weights;
    this.#usesBatch = g.op("Cast", ["uses_batch"], { to: BOOL });
  }

  /** A layer over `x`, `[B, C, H, W]`. */
  add(x: string, layer: NormLayer): string {
    const g = this.#g, { name, channels } = layer, from = this.#channels, to = from + channels;
    const byChannel = (vector: string) => g.op("Reshape", [vector, g.sizes(-1, 1, 1)]);
    // In two steps: a sum of so many f32 as one batch has would lose digits.
    const over = (y: string, axis: readonly number[]) => g.op("ReduceMean", [y], { axes: axis, keepdims: 0 });
    const overBatch = (y: string) => over(over(y, [2, 3]), [0]); // [C]
    const mean = overBatch(x), centred = g.op("Sub", [x, byChannel(mean)]);
    const variance = overBatch(g.op("Mul", [centred, centred]));
    const chosen = (own: string, running: string) =>
      g.op("Where", [this.#usesBatch, own, g.op("Slice", [running, g.sizes(from), g.sizes(to)])]);
    const root = g.op("Sqrt", [g.op("Add", [chosen(variance, "running_var"), g.scalar(EPS)])]);
    const scale = g.op("Div", [this.#weights.add(g, `${name}.weight`), root]);
    const shift = g.op("Sub", [
      this.#weights.add(g, `${name}.bias`),
      g.op("Mul", [chosen(mean, "running_mean"), scale]),
    ]);
    this.layers.push(layer);
    this.#means.push(mean);
    this.#variances.push(variance);
    this.#channels = to;
    return g.op("Add", [g.op("Mul", [x, byChannel(scale)]), byChannel(shift)]);
  }

  /** Behind the last layer: the graph's inputs and outputs besides those of each image. */
  finish(): Graph["shared"] {
    this.#g.op("Concat", this.#means, { axis: 0 }, "mean");
    this.#g.op("Concat", this.#variances, { axis: 0 }, "variance");
    const shape = [this.#channels];
    return {
      inputs: { uses_batch: [1], running_mean: shape, running_var: shape },
      outputs: { mean: shape, variance: shape },
    };
  }
}

/**
 * Running statistics after one more batch, in f32: a tenth of them is the batch's, of its variances the unbiased ones.
 *
 * @param images Of the batch.
 *
 * @example Usage
 * ```ts
 * const zero = { mean: new Float32Array(1), variance: Float32Array.of(1), batches: new Float32Array(1) };
 * const batch = { mean: Float32Array.of(10), variance: Float32Array.of(3) };
 * const { mean, variance, batches } = afterBatch(zero, batch, [{ name: "bn1", channels: 1, area: 2 }], 2);
 * // Of four values the unbiased variance is 4/3 of the biased one.
 * if (mean[0] !== 1 || Math.abs(variance[0] - 1.3) > 1e-6 || batches[0] !== 1) throw new Error("afterBatch");
 * ```
 */
export function afterBatch(
  running: RunningStatistics,
  batch: Statistics,
  layers: readonly NormLayer[],
  images: number,
): RunningStatistics {
  const variance = new Float32Array(running.variance.length);
  let c = 0;
  for (const { channels, area } of layers) {
    const n = images * area, unbiased = n / (n - 1);
    for (const end = c + channels; c < end; c++) {
      variance[c] = blend(running.variance[c], unbiased * batch.variance[c]);
    }
  }
  return {
    mean: running.mean.map((old, i) => blend(old, batch.mean[i])),
    variance,
    batches: running.batches.map((n) => n + 1),
  };
}

const blend = (old: number, own: number): number => (1 - MOMENTUM) * old + MOMENTUM * own;
