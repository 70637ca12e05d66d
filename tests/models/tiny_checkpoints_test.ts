import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { sizeOf } from "../../lib/core/shape.ts";
import type { TensorSource } from "../../lib/io/stored_tensor.ts";
import { openWeights } from "../../lib/io/weights_file.ts";
import { ClipText, RN50X4_TEXT } from "../../lib/models/clip_text.ts";
import { BLIP2_CONFIG, QFormer } from "../../lib/models/qformer.ts";
import { compareKeys } from "../../lib/models/weights.ts";
import { BLIP2_SIZES, randomBlip2, randomClip, RN50X4_SIZES } from "../../tasks/bench/random_checkpoint.ts";
import { TINY_CLIP, writeTinyBlip2, writeTinyClip } from "./tiny_checkpoints.ts";

const elements = ({ tensors }: TensorSource, isCounted: (key: string) => boolean = () => true): number =>
  [...tensors].filter(([key]) => isCounted(key)).reduce((sum, [, { shape }]) => sum + sizeOf(shape), 0);

Deno.test("full-size random checkpoints have the keys that the models take, and the published counts", () => {
  const blip2 = randomBlip2(BLIP2_SIZES, 1), clip = randomClip(RN50X4_SIZES, 1);
  const { missing, misshaped } = compareKeys(blip2.tensors, new QFormer({ ...BLIP2_CONFIG, projDim: 256 }));
  deepStrictEqual([missing.size, misshaped.size], [0, 0]);
  const clipReport = compareKeys(clip.tensors, new ClipText(RN50X4_TEXT));
  deepStrictEqual([clipReport.missing.size, clipReport.misshaped.size], [0, 0]);

  const isParam = (key: string) => !/running_|num_batches|position_ids|cls\.predictions\.decoder/.test(key);
  strictEqual(elements(blip2, isParam), 473_747_262);
  strictEqual(elements(blip2, (key) => key.startsWith("visual_encoder.")), 290_581_504);
  strictEqual(clip.tensors.size, 669);
  strictEqual(elements(clip, isParam), 178_300_601);
  strictEqual(elements(clip, (key) => isParam(key) && key.startsWith("visual.")), 87_137_080);
});

Deno.test("tiny checkpoints are read back as they were drawn, and are functions of the seed", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const blip2 = join(folder, "blip2.pth"), clip = join(folder, "clip.pt");
    await writeTinyBlip2(blip2, { seed: 5 });
    await writeTinyClip(clip);
    using first = await openWeights(blip2);
    deepStrictEqual(first.tensors.get("visual_encoder.positional_embedding"), {
      dtype: "F32",
      shape: [17, 128],
    });
    using second = await openWeights(clip);
    const drawn = randomClip(TINY_CLIP, 1);
    for (const key of drawn.tensors.keys()) deepStrictEqual(second.read(key), drawn.read(key), key);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
