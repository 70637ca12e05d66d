/** The ResNet in batch statistics, against a computation of its own in f64. Needs onnxruntime: else skipped by name. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { join } from "node:path";
import { env } from "../../lib/core/env.ts";
import { Random } from "../../lib/core/random.ts";
import { toFloat32 } from "../../lib/io/floats.ts";
import { openWeights, type WeightsFile } from "../../lib/io/weights_file.ts";
import { openBackbone } from "../../lib/vision/backbone.ts";
import { afterBatch } from "../../lib/vision/batch_norm.ts";
import { openLiveResNet } from "../../lib/vision/live_resnet.ts";
import { importVisionPackages } from "../../lib/vision/packages.ts";
import { TINY_CLIP, writeTinyClip } from "../models/tiny_checkpoints.ts";

const cacheDir = env("CALA_CACHE");
const missing = await importVisionPackages({ cacheDir }).then(() => "", (error: Error) => error.message);
const IMAGES = 3;

function runtimeTest(name: string, run: (weights: WeightsFile) => Promise<void>): void {
  Deno.test({
    name: missing ? `${name} (skipped: ${missing})` : name,
    ignore: missing !== "",
    async fn() {
      const folder = await Deno.makeTempDir(), path = join(folder, "clip.pth");
      try {
        await writeTinyClip(path);
        using weights = await openWeights(path);
        await run(weights);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

/** A batch of maps `[B, C, S, S]`. */
interface Maps {
  readonly channels: number;
  readonly side: number;
  readonly data: Float64Array;
}

/** What PyTorch's BatchNorm2d keeps: by key, without its last part. */
type Kept = Map<string, { readonly mean: number[]; readonly variance: number[] }>;

/** ModifiedResNet in train mode, by loops. Of each batch a tenth goes into `kept`, as with PyTorch's momentum. */
function referenceMap(file: WeightsFile, pixels: Float32Array, kept: Kept): Float64Array {
  const read = (key: string) => toFloat32(file.read(`visual.${key}`), key);
  const conv = (x: Maps, key: string, stride = 1): Maps => {
    const [channels, inputs, k] = file.tensors.get(`visual.${key}`)?.shape ?? [], w = read(key);
    const side = x.side / stride, pad = (k - 1) / 2, data = new Float64Array(IMAGES * channels * side * side);
    for (let o = 0, i = 0; i < IMAGES * channels; i++) {
      const b = Math.floor(i / channels), c = i % channels;
      for (let r = 0; r < side; r++) {
        for (let q = 0; q < side; q++, o++) {
          for (let d = 0; d < inputs; d++) {
            for (let u = 0; u < k; u++) {
              for (let v = 0; v < k; v++) {
                const y = r * stride + u - pad, z = q * stride + v - pad;
                if (y < 0 || z < 0 || y >= x.side || z >= x.side) continue;
                data[o] += w[((c * inputs + d) * k + u) * k + v] *
                  x.data[((b * inputs + d) * x.side + y) * x.side + z];
              }
            }
          }
        }
      }
    }
    return { channels, side, data };
  };
  const norm = ({ channels, side, data }: Maps, key: string): Maps => {
    const gamma = read(`${key}.weight`), beta = read(`${key}.bias`), area = side * side, n = IMAGES * area;
    const channelOf = (i: number) => Math.floor(i / area) % channels;
    const mean = new Float64Array(channels), variance = new Float64Array(channels);
    data.forEach((v, i) => mean[channelOf(i)] += v / n);
    data.forEach((v, i) => variance[channelOf(i)] += (v - mean[channelOf(i)]) ** 2 / n);
    const old = kept.get(key) ??
      { mean: [...read(`${key}.running_mean`)], variance: [...read(`${key}.running_var`)] };
    kept.set(key, {
      mean: old.mean.map((v, c) => 0.9 * v + 0.1 * mean[c]),
      variance: old.variance.map((v, c) => 0.9 * v + 0.1 * variance[c] * n / (n - 1)),
    });
    const normed = data.map((v, i) => {
      const c = channelOf(i);
      return gamma[c] * (v - mean[c]) / Math.sqrt(variance[c] + 1e-5) + beta[c];
    });
    return { channels, side, data: normed };
  };
  const relu = ({ data, ...x }: Maps): Maps => ({ ...x, data: data.map((v) => Math.max(v, 0)) });
  const halve = ({ channels, side, data }: Maps): Maps => {
    const half = side / 2, out = new Float64Array(data.length / 4);
    data.forEach((v, i) => {
      const map = Math.floor(i / side ** 2), r = Math.floor(i / side) % side, q = i % side;
      out[map * half ** 2 + (r >> 1) * half + (q >> 1)] += v / 4;
    });
    return { channels, side: half, data: out };
  };
  let x: Maps = { channels: 3, side: TINY_CLIP.gridSize * 32, data: Float64Array.from(pixels) };
  for (const i of [1, 2, 3]) x = relu(norm(conv(x, `conv${i}.weight`, i === 1 ? 2 : 1), `bn${i}`));
  x = halve(x);
  for (const [s, blocks] of TINY_CLIP.visionLayers.entries()) {
    for (let b = 0; b < blocks; b++) {
      const at = `layer${s + 1}.${b}`, pool = s > 0 && b === 0 ? halve : (y: Maps) => y;
      let y = relu(norm(conv(x, `${at}.conv1.weight`), `${at}.bn1`));
      y = pool(relu(norm(conv(y, `${at}.conv2.weight`), `${at}.bn2`)));
      y = norm(conv(y, `${at}.conv3.weight`), `${at}.bn3`);
      const short = b === 0 ? norm(conv(pool(x), `${at}.downsample.0.weight`), `${at}.downsample.1`) : x;
      x = relu({ ...y, data: y.data.map((v, i) => v + short.data[i]) });
    }
  }
  return x.data;
}

/** The largest difference, of the largest value. */
function distance(values: ArrayLike<number>, expected: ArrayLike<number>): number {
  deepStrictEqual(values.length, expected.length);
  const of = (f: (i: number) => number) =>
    Array.from(expected, (_, i) => Math.abs(f(i))).reduce((a, b) => Math.max(a, b));
  return of((i) => values[i] - expected[i]) / of((i) => expected[i]);
}

runtimeTest(
  "batch statistics agree with f64: features, and what two batches leave of the running ones",
  async (weights) => {
    await using resnet = await openLiveResNet({ weights, provider: "cpu", cacheDir });
    const kept: Kept = new Map();
    let running = resnet.initial;
    for (const step of [0, 1]) {
      const pixels = new Random(step, "pixels").uniform(IMAGES * 3 * resnet.imageSize ** 2, -2, 2);
      const { features: { map }, statistics } = await resnet.run(pixels);
      const off = distance(map, referenceMap(weights, pixels, kept));
      ok(off < 5e-6, `map of step ${step}: ${off}`);
      running = afterBatch(running, statistics, resnet.layers, IMAGES);
    }
    const layers = resnet.layers.map(({ name }) => name.replace("visual.", ""));
    deepStrictEqual(layers.toSorted(), [...kept.keys()].sort());
    const expected = (of: "mean" | "variance") => layers.flatMap((name) => kept.get(name)?.[of] ?? []);
    for (const  of of["mean", "variance"] as const) {
      const off = distance(running[of], expected(of));
      ok(off < 1e-6, `${of}: ${off}`);
    }
    deepStrictEqual(running.batches, new Float32Array(layers.length).fill(2));
  },
);

runtimeTest(
  "by running statistics an image has the features of the frozen backbone, whatever its batch",
  async (weights) => {
    await using resnet = await openLiveResNet({ weights, provider: "cpu", cacheDir });
    await using frozen = await openBackbone({ weights, arch: "clip", provider: "cpu", cacheDir });
    const size = 3 * resnet.imageSize ** 2, pixels = new Random(1, "pixels").uniform(IMAGES * size, -2, 2);
    const expected = await frozen.run(pixels);
    const { features: together } = await resnet.run(pixels, resnet.initial);
    const { features: alone } = await resnet.run(pixels.subarray(size, 2 * size), resnet.initial);
    const { features: byBatch } = await resnet.run(pixels);
    for (const field of ["map", "pooled"]) {
      const off = distance(together[field], expected[field]), n = alone[field].length;
      ok(off < 2e-6, `${field}: ${off}`);
      deepStrictEqual(alone[field], together[field].slice(n, 2 * n));
      ok(distance(byBatch[field], expected[field]) > 0.01, `${field}: the batch's statistics change nothing`);
    }
  },
);
