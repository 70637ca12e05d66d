/** `deno task bench --vision`: the frozen backbones at full size, of random weights, on each provider. */
import { note } from "../../lib/core/command.ts";
import { env } from "../../lib/core/env.ts";
import { textTable } from "../../lib/core/format.ts";
import { Random } from "../../lib/core/random.ts";
import type { TensorSource, WeightsFile } from "../../lib/io/stored_tensor.ts";
import { type Backbone, openBackbone } from "../../lib/vision/backbone.ts";
import type { VisionArch } from "../../lib/vision/backbone_hash.ts";
import type { VisionProvider } from "../../lib/vision/runtime.ts";
import { BLIP2_SIZES, randomBlip2, randomClip, RN50X4_SIZES } from "./random_checkpoint.ts";

/** A backbone, and its matrix products and convolutions for one image. */
interface Case {
  readonly arch: VisionArch;
  readonly title: string;
  readonly gflop: number;
  source(): TensorSource;
}

const CASES: readonly Case[] = [
  { arch: "blip2", title: "ViT-L/14, 23 blocks", gflop: 155.3, source: () => randomBlip2(BLIP2_SIZES, 1) },
  { arch: "clip", title: "RN50x4", gflop: 41.2, source: () => randomClip(RN50X4_SIZES, 1) },
];
/** Images a call, and timed calls after a first one. A GPU driver in software takes a minute for one image. */
const BATCHES = { fast: [1, 4, 8], slow: [1] }, RUNS = 5;
/** Largest difference between two providers, as a share of the largest value. */
const AGREEMENT = 1e-3;

interface Timing {
  readonly batch: number;
  readonly ms: number;
}

/** Median times of whole calls, and the features of the first image. */
async function measured(
  backbone: Backbone,
  batches: readonly number[],
  runs: number,
  interrupted: AbortSignal,
) {
  const imageNumbers = 3 * backbone.imageSize ** 2, timings: Timing[] = [];
  let features: Record<string, Float32Array> = {};
  for (const batch of batches) {
    const pixels = new Random(3, "pixels").uniform(batch * imageNumbers, -2, 2), times: number[] = [];
    for (let run = 0; run <= runs; run++) {
      interrupted.throwIfAborted();
      const start = performance.now(), result = await backbone.run(pixels);
      if (run > 0) times.push(performance.now() - start); // the first allocates, and on a GPU it compiles
      features = result;
    }
    timings.push({ batch, ms: times.sort((a, b) => a - b)[times.length >> 1] });
  }
  const first = Object.entries(features).map(([field, data]) => {
    return [field, data.subarray(0, data.length / (batches.at(-1) ?? 1))] as const;
  });
  return { timings, features: new Map(first) };
}

type Features = ReadonlyMap<string, Float32Array>;

/** The largest difference of all fields, as a share of the field's largest value. */
function differenceOf(a: Features, b: Features): number {
  let worst = 0;
  for (const [field, values] of a) {
    const others = b.get(field);
    let scale = 0, error = 0;
    for (const [i, v] of values.entries()) {
      scale = Math.max(scale, Math.abs(v));
      error = Math.max(error, Math.abs(v - (others?.[i] ?? NaN)));
    }
    worst = Math.max(worst, error / scale);
  }
  return worst;
}

/**
 * Prints a table: images/s of each backbone, provider and batch, and how far the provider is from the CPU.
 *
 * @throws {Error} If a provider is further from the CPU than 1e-3: then no time means anything.
 */
export async function benchVision(interrupted: AbortSignal): Promise<void> {
  const rows: string[][] = [];
  for (const { arch, title, gflop, source } of CASES) {
    const weights: WeightsFile = { name: `random ${arch}`, format: "safetensors", metadata: {}, ...source() };
    let reference: Features | undefined;
    for (const provider of ["cpu", "webgpu"] as const satisfies VisionProvider[]) {
      note(`${title}, ${provider}: opening (its weights are drawn at random)`);
      const start = performance.now(), progress: string[] = [];
      await using backbone = await openBackbone({
        weights,
        arch,
        provider,
        cacheDir: env("CALA_CACHE"),
        onProgress: (message) => progress.push(message),
      });
      const seconds = (performance.now() - start) / 1000;
      note([`  ${seconds.toFixed(1)} s`, ...progress].join("; "));
      const isFast = provider === "cpu";
      const { timings, features } = await measured(
        backbone,
        isFast ? BATCHES.fast : BATCHES.slow,
        isFast ? RUNS : 1,
        interrupted,
      );
      reference ??= features;
      const difference = differenceOf(reference, features);
      if (!(difference <= AGREEMENT)) throw new Error(`${title}, ${provider}: ${difference} from the CPU`);
      for (const { batch, ms } of timings) {
        rows.push([
          title,
          provider,
          String(batch),
          (1000 * batch / ms).toPrecision(3),
          (1000 * gflop * batch / ms).toFixed(1),
          isFast ? "-" : difference.toExponential(1),
        ]);
      }
    }
  }
  console.log(textTable(rows, {
    header: ["backbone", "provider", "batch", "images/s", "GFLOP/s", "from the CPU"],
    align: "llrrrr",
  }));
}
