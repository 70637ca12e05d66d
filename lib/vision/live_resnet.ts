/** CLIP's ResNet with BatchNorm as in training: by the statistics of each batch, which move running ones. */
import { env } from "../core/env.ts";
import { sizeOf } from "../core/shape.ts";
import type { ImageField } from "../data/image_source.ts";
import type { WeightsFile } from "../io/stored_tensor.ts";
import { checkReport, compareShapes } from "../models/weights.ts";
import type { BackboneOptions } from "./backbone.ts";
import { hashOfModel } from "./backbone_hash.ts";
import { type NormLayer, type RunningStatistics, type Statistics } from "./batch_norm.ts";
import { VisionWeights } from "./keys.ts";
import { openGraph } from "./open_graph.ts";
import { resnet } from "./resnet.ts";

/** What came of a batch. */
export interface LiveFeatures {
  /** By field: `map [B, C, H, W]` and `pooled [B, D]`. */
  readonly features: Readonly<Record<string, Float32Array<ArrayBuffer>>>;
  /** The batch's own. */
  readonly statistics: Statistics;
}

/** The ResNet. */
export interface LiveResNet extends AsyncDisposable {
  readonly fields: Readonly<Record<string, ImageField>>;
  /** Side of the square images, in pixels: `S`. */
  readonly imageSize: number;
  /** In the order of their statistics. */
  readonly layers: readonly NormLayer[];
  /** The running statistics of the checkpoint. */
  readonly initial: RunningStatistics;
  /**
   * Features of normalised pixels `[B, 3, S, S]`.
   *
   * @param running What normalises, if given: an image's features then do not depend on the others of its batch. Else the
   * statistics of the batch do.
   */
  run(pixels: Float32Array, running?: Statistics): Promise<LiveFeatures>;
}

/**
 * Opens the ResNet of a checkpoint of CLIP.
 *
 * @throws As `openBackbone`.
 *
 * @example Usage
 * ```ts ignore
 * using weights = await openWeights("RN50x4.pt");
 * await using resnet = await openLiveResNet({ weights });
 * const { features, statistics } = await resnet.run(pixels);
 * const running = afterBatch(resnet.initial, statistics, resnet.layers, 64);
 * ```
 */
export async function openLiveResNet(
  { weights, provider = "auto", heads, cacheDir = env("CALA_CACHE"), onProgress }: Omit<
    BackboneOptions,
    "arch"
  >,
): Promise<LiveResNet> {
  const model = resnet(weights, heads);
  checkReport(compareShapes(weights.tensors, model.keys), weights.name, model.title);
  const { graph, layers } = model.liveGraph(new VisionWeights(weights));
  const initial = statisticsIn(weights, layers);
  const session = await openGraph(graph, `clip-${hashOfModel(weights, model)}`, {
    provider,
    cacheDir,
    onProgress,
  });
  const imageShape = [3, model.imageSize, model.imageSize];
  return {
    fields: Object.fromEntries(
      Object.entries(model.fields).map(([name, shape]) => [name, { shape, dtype: "f32" as const }]),
    ),
    imageSize: model.imageSize,
    layers,
    initial,
    async run(pixels, running) {
      const { mean, variance } = running ?? initial, shape = [mean.length];
      const { mean: ownMean, variance: ownVariance, ...features } = await session.run({
        image: { data: pixels, shape: [pixels.length / sizeOf(imageShape), ...imageShape] },
        uses_batch: { data: Float32Array.of(running ? 0 : 1), shape: [1] },
        running_mean: { data: mean, shape },
        running_var: { data: variance, shape },
      });
      return { features, statistics: { mean: ownMean, variance: ownVariance } };
    },
    [Symbol.asyncDispose]: () => session.dispose(),
  };
}

/** The statistics that a checkpoint has. Some lack the count of batches, which decides nothing. */
function statisticsIn(file: WeightsFile, layers: readonly NormLayer[]): RunningStatistics {
  const weights = new VisionWeights(file);
  const joined = (name: string) =>
    Float32Array.from(layers.flatMap((layer) => [...weights.read(`${layer.name}.${name}`)]));
  const batches = Float32Array.from(layers, ({ name }) => {
    const key = `${name}.num_batches_tracked`;
    return file.tensors.has(key) ? Number(file.read(key).data[0]) : 0;
  });
  return { mean: joined("running_mean"), variance: joined("running_var"), batches };
}
