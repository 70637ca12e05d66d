/** The released experiments, two steps each, on miniature data in the real formats and with tiny checkpoints. */
import { deepStrictEqual, notDeepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { openWeights } from "../../lib/io/weights_file.ts";
import { stepsOf, TinyWorld, trainedKeys } from "./train_tiny.ts";

/** The first parts of keys: `multimodal`, `tac`. */
const modulesOf = (keys: Iterable<string>) => [...new Set([...keys].map((key) => key.split(".")[0]))].sort();

const BLIP2 = ["hca", "multimodal", "tac", "textual", "visual"], CLIP = ["clip", "hca", "tac"];
const TERMS = ["contrastive", "loss", "reasoning"];

Deno.test("each experiment trains what it should, with the terms that it should", async (t) => {
  await using world = await TinyWorld.create();
  const check = (
    name: string,
    modules: readonly string[],
    flags: Parameters<TinyWorld["train"]>[1] = {},
    terms: readonly string[] = TERMS,
  ) =>
    t.step([name, ...Object.entries(flags).map((flag) => flag.join(" "))].join(", "), async () => {
      const run = await world.train(name, flags);
      const steps = await stepsOf(run);
      strictEqual(steps.length, 2);
      for (const { step: _, epoch, lr, ...values } of steps) {
        deepStrictEqual([epoch, lr, Object.keys(values).sort()], [0, flags.learningRate ?? 5e-6, terms]);
        ok(Object.values(values).every(Number.isFinite), JSON.stringify(values));
      }
      deepStrictEqual(modulesOf(await trainedKeys(run)), modules);
    });
  await check("cirr_blip2_sum", BLIP2, { trainModeValidation: true });
  await check("fashioniq_blip2_artemis", ["artemis", ...BLIP2]);
  await check("fashioniq_blip2_sum", BLIP2, { loss: "paper" }, ["aligning", ...TERMS]);
  await check("cirr_blip2_artemis", ["artemis", ...BLIP2].filter((m) => m !== "visual"), {
    encoder: "multi",
  });
  await check("cirr_clip_sum", CLIP, { spatialTokens: true, maskCaptionPadding: true });
  await check("cirr_clip_artemis", ["artemis", ...CLIP], { learnedClassToken: true });
  await check("folder_clip_sum", CLIP, { lrAfterMax: "hold" });
  await check(
    "fashioniq_clip_combiner",
    ["combiner"],
    { projectionDim: 16, hiddenDim: 16, learningRate: 2e-5, validateFirst: false },
    ["loss"],
  );
  await check("fashioniq_clip_sum", ["clip"], { baseline: true }, ["contrastive", "loss"]);
});

Deno.test("the Combiner trains alone, over the first stage's text encoder", async () => {
  await using world = await TinyWorld.create();
  const first = await world.train("cirr_clip_sum", { baseline: true });
  const small = { projectionDim: 16, hiddenDim: 32, learningRate: 2e-5 };
  const second = await world.train("cirr_clip_combiner", { ...small, firstStage: first, baseline: true });
  const cala = await world.train("cirr_clip_sum");
  await rejects(
    world.train("cirr_clip_combiner", { ...small, firstStage: cala, baseline: true }),
    /^ConfigError: --baseline has no CaLa, but .* has --tac-weight 0\.45 and --hca-weight 0\.1$/,
  );
  deepStrictEqual(modulesOf(await trainedKeys(second)), ["combiner"]);
  using published = await openWeights(await world.weights("clip"));
  using tuned = await openWeights(`${first}/checkpoints/best.safetensors`);
  using taken = await openWeights(`${second}/checkpoints/last.safetensors`);
  const key = "transformer.resblocks.1.attn.in_proj_bias", { data } = taken.read(`clip.${key}`);
  deepStrictEqual(data, tuned.read(`clip.${key}`).data);
  const { data: bits } = published.read(key);
  notDeepStrictEqual(data, Float32Array.from(new Float16Array(bits.buffer, bits.byteOffset, bits.length)));
  ok([...taken.tensors.keys()].includes("combiner.dynamic_scalar.3.weight"));
});
