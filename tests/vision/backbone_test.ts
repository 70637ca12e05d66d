/**
 * The frozen backbones on onnxruntime. The only tests that need its package, 113 MB packed: where it cannot be installed
 * they are skipped by name.
 */
import { deepStrictEqual, notEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { env } from "../../lib/core/env.ts";
import { Random } from "../../lib/core/random.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { openWeights } from "../../lib/io/weights_file.ts";
import { copyToSafetensors } from "../../lib/io/safetensors_writer.ts";
import { type Backbone, type BackboneOptions, openBackbone } from "../../lib/vision/backbone.ts";
import { importVisionPackages } from "../../lib/vision/packages.ts";
import { runCase, showOutcome } from "../../tasks/parity/run.ts";
import { randomClip } from "../../tasks/bench/random_checkpoint.ts";
import { TINY_CLIP, writeTinyBlip2, writeTinyClip } from "../models/tiny_checkpoints.ts";

const cacheDir = env("CALA_CACHE");
const missing = await importVisionPackages({ cacheDir }).then(() => "", (error: Error) => error.message);

/** A test of onnxruntime, in a folder of its own. */
function runtimeTest(name: string, run: (folder: string) => Promise<void>): void {
  const title = missing ? `${name} (skipped: ${missing})` : name;
  Deno.test({
    name: title,
    ignore: missing !== "",
    async fn() {
      const folder = await Deno.makeTempDir();
      try {
        await run(folder);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

for (const op of ["clip_vit", "clip_resnet"]) {
  runtimeTest(`${op} agrees with PyTorch`, async () => {
    using gpu = await openDevice();
    const path = new URL(`../oracle/${op}_tiny.safetensors`, import.meta.url).pathname;
    const outcome = await runCase(gpu, path);
    strictEqual(outcome.status, "ok", showOutcome(outcome));
  });
}

async function openTiny(
  folder: string,
  arch: BackboneOptions["arch"],
  options: Partial<BackboneOptions> = {},
): Promise<Backbone> {
  const path = join(folder, `${arch}.pth`);
  if (!existsSync(path)) await (arch === "blip2" ? writeTinyBlip2 : writeTinyClip)(path);
  using weights = await openWeights(path);
  return await openBackbone({ weights, arch, provider: "cpu", cacheDir, ...options });
}

const images = (count: number, { imageSize }: Backbone) =>
  new Random(7, "images").uniform(count * 3 * imageSize ** 2, -2, 2);

runtimeTest("a backbone's sizes are the checkpoint's", async (folder) => {
  await using blip2 = await openTiny(folder, "blip2");
  deepStrictEqual(blip2.fields, { tokens: { shape: [17, 128], dtype: "f32" } });
  await using clip = await openTiny(folder, "clip");
  deepStrictEqual(clip.fields, {
    map: { shape: [128, 2, 2], dtype: "f32" },
    pooled: { shape: [64], dtype: "f32" },
  });
  deepStrictEqual([blip2.imageSize, clip.imageSize, clip.provider], [16, 64, "cpu"]);
});

for (const arch of ["blip2", "clip"] as const) {
  runtimeTest(`${arch}: same image, same bits, whatever its batch`, async (folder) => {
    await using backbone = await openTiny(folder, arch);
    const pixels = images(3, backbone), size = pixels.length / 3;
    const together = await backbone.run(pixels);
    deepStrictEqual(await backbone.run(pixels), together);
    for (const [field, { shape }] of Object.entries(backbone.fields)) {
      const length = sizeOf(shape);
      strictEqual(together[field].length, 3 * length);
      for (let i = 0; i < 3; i++) {
        const alone = await backbone.run(pixels.subarray(i * size, (i + 1) * size));
        deepStrictEqual(alone[field], together[field].slice(i * length, (i + 1) * length));
      }
    }
    await rejects(async () => await backbone.run(pixels.subarray(1)), { name: "ShapeError" });
  });

  runtimeTest(`${arch}: WebGPU agrees with the CPU`, async (folder) => {
    await using cpu = await openTiny(folder, arch);
    await using webgpu = await openTiny(folder, arch, { provider: "webgpu" });
    const pixels = images(2, cpu), [a, b] = [await cpu.run(pixels), await webgpu.run(pixels)];
    for (const field of Object.keys(cpu.fields)) {
      const scale = Math.max(...a[field].map(Math.abs));
      const error = Math.max(...a[field].map((v, i) => Math.abs(v - b[field][i])));
      ok(error < 1e-5 * scale, `${field}: ${error} of ${scale}`);
    }
  });
}

runtimeTest(
  "a model is written once, and again if any of its files is missing or damaged",
  async (folder) => {
    const own = join(folder, "cache"), models = join(own, "vision");
    await Deno.mkdir(own);
    // The packages stay where they are: only the models are to be new.
    for (const { name } of Deno.readDirSync(cacheDir)) {
      if (!name.startsWith("vision-packages")) continue;
      await Deno.symlink(await Deno.realPath(join(cacheDir, name)), join(own, name));
    }
    const messages: string[] = [];
    const run = async () => {
      await using backbone = await openTiny(folder, "clip", {
        cacheDir: own,
        onProgress: (message) => messages.push(message),
      });
      return await backbone.run(images(1, backbone));
    };
    const first = await run();
    strictEqual(messages.length, 1, messages.join("\n"));
    deepStrictEqual(await run(), first);
    strictEqual(messages.length, 1);

    const files = [...Deno.readDirSync(models)].map(({ name }) => join(models, name)).sort();
    deepStrictEqual(files.map((path) => path.split(".").slice(1).join(".")), [
      "onnx",
      "weights",
      "weights.sha256",
    ]);
    const flipBit = async (path: string) => {
      const bytes = await Deno.readFile(path);
      bytes[bytes.length >> 1] ^= 1;
      await Deno.writeFile(path, bytes);
    };
    const damages = [
      ...files.map((path) => () => flipBit(path)),
      ...files.map((path) => () => Deno.remove(path)),
    ];
    for (const [i, damage] of [...damages, () => Deno.truncate(files[1], 1000)].entries()) {
      await damage();
      deepStrictEqual(await run(), first);
      strictEqual(messages.length, i + 2);
    }
  },
);

runtimeTest("the hash is that of the vision tensors, in whatever file", async (folder) => {
  await using fromTorch = await openTiny(folder, "clip");
  const copy = async (seed: number, changed: string) => {
    const path = join(folder, "copy.safetensors"), source = randomClip(TINY_CLIP, seed);
    await copyToSafetensors(path, {
      tensors: source.tensors,
      read(key) {
        const tensor = source.read(key);
        if (key === changed) tensor.data[0] = tensor.data[1];
        return tensor;
      },
    });
    using weights = await openWeights(path);
    await using backbone = await openBackbone({ weights, arch: "clip", provider: "cpu", cacheDir });
    return backbone.hash;
  };
  strictEqual(await copy(1, ""), fromTorch.hash);
  strictEqual(await copy(1, "ln_final.weight"), fromTorch.hash, "the text side is no part of it");
  notEqual(await copy(1, "visual.bn1.running_var"), fromTorch.hash);
});

runtimeTest("a provider that is not there is named, with what there is", async (folder) => {
  const foreign = Deno.build.os === "windows" ? "coreml" : "dml";
  await rejects(openTiny(folder, "clip", { provider: foreign }), {
    name: "ConfigError",
    message:
      `--vision-provider ${foreign}: onnxruntime-node has no ${foreign} on ${Deno.build.os} ${Deno.build.arch}`,
    where: /^it has cpu, webgpu/,
  });
});
