/** CaLa's encoders from published checkpoints: sizes from shapes, one memory for three copies, errors by key. */
import { deepStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { DataError } from "../../lib/core/errors.ts";
import { openWeights, type TensorSource, type WeightsFile } from "../../lib/io/weights_file.ts";
import { blip2From, qformerConfigOf } from "../../lib/models/blip2_from.ts";
import { clipFrom, clipTextConfigOf } from "../../lib/models/clip_from.ts";
import { RN50X4_TEXT } from "../../lib/models/clip_text.ts";
import { BLIP2_CONFIG, QFormer } from "../../lib/models/qformer.ts";
import { compareKeys } from "../../lib/models/weights.ts";
import { params } from "../../lib/nn/module.ts";
import { BLIP2_SIZES, randomBlip2, randomClip, RN50X4_SIZES } from "../../tasks/bench/random_checkpoint.ts";
import { TINY_BLIP2, TINY_CLIP, writeTinyBlip2, writeTinyClip } from "./tiny_checkpoints.ts";

/** A source as a file, with some tensors changed or taken away. */
function fileOf(
  source: TensorSource,
  shapes: Record<string, readonly number[] | undefined> = {},
): WeightsFile {
  const tensors = new Map(source.tensors);
  for (const [key, shape] of Object.entries(shapes)) {
    if (shape) tensors.set(key, { dtype: "F32", shape });
    else tensors.delete(key);
  }
  return { name: "x.pth", format: "PyTorch", metadata: {}, tensors, read: (key) => source.read(key) };
}

async function inFile(write: (path: string) => Promise<void>, test: (file: WeightsFile) => Promise<void>) {
  const path = await Deno.makeTempFile();
  try {
    await write(path);
    using file = await openWeights(path);
    await test(file);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("the sizes of the published models are read from shapes alone", () => {
  const blip2 = fileOf(randomBlip2(BLIP2_SIZES, 1)), config = qformerConfigOf(blip2);
  deepStrictEqual(config, BLIP2_CONFIG);
  const report = compareKeys(blip2.tensors, new QFormer(config)); // zeros that nothing touches
  deepStrictEqual([report.missing.size, report.misshaped.size, report.used.length], [0, 0, 331]);
  deepStrictEqual(clipTextConfigOf(fileOf(randomClip(RN50X4_SIZES, 1))), RN50X4_TEXT);
});

Deno.test("blip2From() reads LAVIS's file; three copies start from one memory", async () => {
  await inFile(writeTinyBlip2, async (file) => {
    const blip2 = await blip2From(file, { train: "multi" });
    const { hiddenSize, numQueryTokens } = TINY_BLIP2;
    deepStrictEqual(blip2.multimodal.query_tokens.shape, [1, numQueryTokens, hiddenSize]);
    strictEqual(blip2.embedDim, hiddenSize);
    const [word] = [file.read("Qformer.bert.embeddings.word_embeddings.weight")];
    const { data } = blip2.textual.Qformer.bert.embeddings.word_embeddings.weight.source;
    deepStrictEqual(data.slice(0, 99), word.data.slice(0, 99));
    const first = params(blip2.textual);
    for (const copy of [blip2.multimodal, blip2.visual]) {
      params(copy).forEach((param, i) => strictEqual(param.source.data, first[i].source.data));
    }
    deepStrictEqual(blip2.paramGroups.map(({ name }) => name), [
      "multimodal.Qformer.bert",
      "multimodal.query_tokens",
      "textual.Qformer.bert",
    ]);
  });
});

Deno.test("clipFrom() reads OpenAI's file and widens its f16", async () => {
  await inFile(writeTinyClip, async (file) => {
    const { clip, embedDim } = await clipFrom(file);
    strictEqual(embedDim, TINY_CLIP.embedDim);
    const stored = file.read("text_projection");
    strictEqual(stored.dtype, "F16");
    const [first] = new Float16Array(stored.data.buffer, stored.data.byteOffset, 1);
    strictEqual(clip.text_projection.source.data[0], first);
  });
});

Deno.test("what does not fit is named: key, both shapes, model", async () => {
  const source = randomBlip2(TINY_BLIP2, 1), layer = "Qformer.bert.encoder.layer";
  const attempt = (shapes: Record<string, readonly number[] | undefined>) => () =>
    blip2From(fileOf(source, shapes));
  const message = (text: string) => (error: unknown) => {
    strictEqual(error instanceof DataError && error.message, `x.pth: ${text}`);
    return true;
  };
  const model = "BLIP-2's Q-Former";
  await rejects(
    attempt({ query_tokens: undefined }),
    message(`no tensor "query_tokens", ${model} has it as [1, K, D]`),
  );
  await rejects(
    attempt({ query_tokens: [4, 64] }),
    message(`tensor "query_tokens" is [4, 64], ${model} has it as [1, K, D]`),
  );
  await rejects(
    attempt({ [`${layer}.1.output.dense.bias`]: [63] }),
    message(`tensor "${layer}.1.output.dense.bias" is [63], ${model} has [64]`),
  );
  await rejects(
    attempt({ [`${layer}.1.output_query.dense.bias`]: undefined }),
    message(`no tensor "${layer}.1.output_query.dense.bias", ${model} has it as [64]`),
  );
  await rejects(
    attempt({ query_tokens: [1, 4, 96] }),
    message(`${model} is 96 wide, which is not a multiple of 64`),
  );
  const uneven = randomBlip2({ ...TINY_BLIP2, numLayers: 4 }, 1);
  await rejects(
    () => blip2From(fileOf(uneven, { [`${layer}.3.crossattention.self.key.weight`]: [64, 128] })),
    message(`layers 0, 2, 3 of 4 have a cross attention; ${model} has it in every n-th`),
  );
  await rejects(
    () => blip2From(fileOf(randomClip(TINY_CLIP, 1))),
    message(`no tensor "query_tokens", ${model} has it as [1, K, D]`),
  );
  await rejects(
    () => clipFrom(fileOf(source)),
    message(`no tensor "token_embedding.weight", CLIP's text transformer has it as [V, W]`),
  );
});
