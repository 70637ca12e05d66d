/** A frozen vision backbone: pixels in, features out. */
import { env } from "../core/env.ts";
import { ShapeError } from "../core/errors.ts";
import { sizeOf } from "../core/shape.ts";
import type { ImageField } from "../data/image_source.ts";
import type { WeightsFile } from "../io/stored_tensor.ts";
import { hashOfModel, type VisionArch, visionModelOf } from "./backbone_hash.ts";
import { VisionWeights } from "./keys.ts";
import { openGraph } from "./open_graph.ts";
import type { VisionProvider } from "./runtime.ts";

/** Options of `openBackbone`. */
export interface BackboneOptions {
  /** The checkpoint; it is not read again once the backbone is open. */
  readonly weights: WeightsFile;
  /** `blip2`: LAVIS's CLIP ViT. `clip`: CLIP's ModifiedResNet. */
  readonly arch: VisionArch;
  readonly provider?: VisionProvider;
  /** Attention heads; default: as many as the width has 64s. */
  readonly heads?: number;
  /** Where packages and models are kept; default `CALA_CACHE`. */
  readonly cacheDir?: string;
  /** Told what takes time. */
  readonly onProgress?: (message: string) => void;
}

/** A frozen backbone. */
export interface Backbone extends AsyncDisposable {
  /** What it gives of an image: `tokens [N + 1, W]` before `ln_vision`; or `map [C, H, W]` and `pooled [D]`. */
  readonly fields: Readonly<Record<string, ImageField>>;
  /** Side of the square images, in pixels: `S`. */
  readonly imageSize: number;
  /** SHA-256 of the tensors that it is made of, with their keys, shapes and dtypes. */
  readonly hash: string;
  /** What runs it: never `auto`. */
  readonly provider: Exclude<VisionProvider, "auto">;
  /**
   * Features of normalised pixels `[B, 3, S, S]`, by field: `[B, ...]`, one image after another. An image's features
   * do not depend on the others of its batch.
   *
   * @throws {ShapeError} If the pixels are not whole images.
   */
  run(pixels: Float32Array): Promise<Record<string, Float32Array<ArrayBuffer>>>;
  dispose(): Promise<void>;
}

/**
 * Opens the frozen backbone of a checkpoint. All sizes are those of the file's shapes. The model is written once, as
 * ONNX, into the cache folder.
 *
 * @throws {DataError} If a key is missing, misshaped or damaged.
 * @throws {ConfigError} If onnxruntime cannot be installed, or does not have the provider.
 *
 * @example Usage
 * ```ts ignore
 * using weights = await openWeights("RN50x4.pt");
 * await using backbone = await openBackbone({ weights, arch: "clip" });
 * const { map, pooled } = await backbone.run(pixels); // [B, 2560, 9, 9], [B, 640]
 * ```
 */
export async function openBackbone(
  { weights, arch, provider = "auto", heads, cacheDir = env("CALA_CACHE"), onProgress }: BackboneOptions,
): Promise<Backbone> {
  const model = visionModelOf(weights, arch, heads);
  const graph = model.graph(new VisionWeights(weights)), hash = hashOfModel(weights, model);
  const session = await openGraph(graph, `${arch}-${hash}`, { provider, cacheDir, onProgress });
  const { imageSize } = model, imageShape = [3, imageSize, imageSize];
  const dispose = () => session.dispose();
  return {
    fields: Object.fromEntries(
      Object.entries(model.fields).map(([name, shape]) => [name, { shape, dtype: "f32" as const }]),
    ),
    imageSize,
    hash,
    provider: session.provider,
    run(pixels) {
      const B = pixels.length / sizeOf(imageShape);
      if (B === 0 || !Number.isInteger(B)) {
        throw new ShapeError(`${pixels.length} pixels are no batch [B, ${imageShape.join(", ")}]`);
      }
      return session.run({ image: { data: pixels, shape: [B, ...imageShape] } });
    },
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}
