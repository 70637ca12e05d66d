/** What a backbone asks of a checkpoint, without running anything. */
import { deepStrictEqual, match, rejects, strictEqual, throws } from "node:assert/strict";
import { join } from "node:path";
import type { TensorInfo, WeightsFile } from "../../lib/io/weights_file.ts";
import { openBackbone } from "../../lib/vision/backbone.ts";
import { resnet } from "../../lib/vision/resnet.ts";
import { vit } from "../../lib/vision/vit.ts";
import { compareShapes } from "../../lib/models/weights.ts";
import { BLIP2_SIZES, randomBlip2, randomClip, RN50X4_SIZES } from "../../tasks/bench/random_checkpoint.ts";
import { TINY_BLIP2, TINY_CLIP } from "../models/tiny_checkpoints.ts";

/** A checkpoint of which only the shapes are asked. */
const fileOf = (tensors: ReadonlyMap<string, TensorInfo>): WeightsFile => ({
  name: "x.pth",
  format: "PyTorch",
  metadata: {},
  tensors,
  read() {
    throw new Error("no values are needed");
  },
});

Deno.test("full-size checkpoints: sizes, fields, and every vision key but BatchNorm's count", () => {
  const blip2 = randomBlip2(BLIP2_SIZES, 1), transformer = vit(fileOf(blip2.tensors));
  deepStrictEqual([transformer.imageSize, transformer.fields], [224, { tokens: [257, 1024] }]);
  const clip = randomClip(RN50X4_SIZES, 1), pooling = resnet(fileOf(clip.tensors));
  deepStrictEqual([pooling.imageSize, pooling.fields], [288, { map: [2560, 9, 9], pooled: [640] }]);
  for (
    const [{ tensors }, { keys }, prefix] of [[blip2, transformer, "visual_encoder."], [
      clip,
      pooling,
      "visual.",
    ]] as const
  ) {
    const { missing, misshaped, unused } = compareShapes(tensors, keys);
    deepStrictEqual([missing.size, misshaped.size], [0, 0]);
    const left = unused.filter((key) => key.startsWith(prefix) && !key.endsWith("num_batches_tracked"));
    deepStrictEqual(left, []);
  }
});

Deno.test("of ViT-L's 24 blocks 23 run, whether keys have LAVIS's prefix or none", () => {
  const { tensors } = randomBlip2({ ...BLIP2_SIZES, visionLayers: 24 }, 1), prefix = "visual_encoder.";
  const plain = new Map([...tensors].map(([key, info]) => [key.replace(prefix, ""), info]));
  for (const [file, start] of [[tensors, prefix], [plain, ""]] as const) {
    const { keys } = vit(fileOf(file));
    strictEqual(keys.has(`${start}transformer.resblocks.22.ln_1.weight`), true);
    strictEqual(keys.has(`${start}transformer.resblocks.23.ln_1.weight`), false);
  }
});

type Changes = Readonly<Record<string, readonly number[] | undefined>>;

/** The tensors of a tiny checkpoint with other shapes; `undefined` leaves a key out. */
function changed(tensors: ReadonlyMap<string, TensorInfo>, changes: Changes) {
  const own = new Map(tensors);
  for (const [key, shape] of Object.entries(changes)) {
    if (shape) own.set(key, { dtype: "F32", shape });
    else own.delete(key);
  }
  return own;
}

Deno.test("a missing or misshaped key is named, with both shapes and the model, before anything is installed", async () => {
  const blip2 = randomBlip2(TINY_BLIP2, 1).tensors, clip = randomClip(TINY_CLIP, 1).tensors;
  const cacheDir = join("no", "such", "folder");
  const open = (arch: "blip2" | "clip", changes: Changes) =>
    openBackbone({
      weights: fileOf(changed(arch === "blip2" ? blip2 : clip, changes)),
      arch,
      provider: "cpu",
      cacheDir,
    });
  const vitKey = "visual_encoder.transformer.resblocks.1.mlp.c_proj.weight";
  await rejects(open("blip2", { [vitKey]: [128, 128] }), {
    name: "DataError",
    message: `x.pth: tensor "${vitKey}" is [128, 128], BLIP-2's vision transformer has [128, 512]`,
  });
  await rejects(open("blip2", { [vitKey]: undefined }), {
    message: `x.pth: no tensor "${vitKey}", BLIP-2's vision transformer has it as [128, 512]`,
  });
  await rejects(open("clip", { "visual.layer2.0.downsample.1.running_var": undefined }), {
    message:
      `x.pth: no tensor "visual.layer2.0.downsample.1.running_var", CLIP's ModifiedResNet has it as [32]`,
  });
  for (
    const key of [
      "visual.conv3.weight",
      "visual.attnpool.positional_embedding",
      "visual.attnpool.c_proj.weight",
    ]
  ) {
    await rejects(open("clip", { [key]: undefined }), {
      name: "DataError",
      message: `x.pth: no tensor "${key}", which CLIP's ModifiedResNet has`,
    });
  }
  await rejects(open("clip", { "visual.attnpool.positional_embedding": [6, 128] }), {
    message: /has 6 rows, CLIP's ModifiedResNet has a square and one more/,
  });
});

Deno.test("a file of another model is refused", () => {
  throws(() => vit(fileOf(randomClip(TINY_CLIP, 1).tensors)), (error: Error) => {
    match(error.message, /no tensor "visual_encoder.conv1.weight", which BLIP-2's vision transformer has/);
    return error.name === "DataError";
  });
  throws(() => resnet(fileOf(randomBlip2(TINY_BLIP2, 1).tensors)), { name: "DataError" });
});
