/**
 * Features of a data set's texts by a frozen text encoder, computed once: the Combiner trains on stored features, of
 * texts as of images. They are kept in the cache folder under the hash of what made them.
 */
import { createHash } from "node:crypto";
import { ConfigError, DataError } from "../core/errors.ts";
import { sha256Hex } from "../io/atomic.ts";
import { type Gpu, openDevice } from "../gpu/device.ts";
import { readSafetensors, tensorOf, writeSafetensors } from "../io/safetensors.ts";
import { encodeTexts, filledBatches } from "../data/loader.ts";
import { clipFrom } from "../models/clip_from.ts";
import type { ClipText } from "../models/clip_text.ts";
import { params } from "../nn/module.ts";
import { Program } from "../plan/compile.ts";
import { State } from "../plan/state.ts";
import { captionTexts, singleCaption } from "../text/captions.ts";
import type { TextFeatures } from "../train/batch.ts";
import type { RunContext } from "../train/session.ts";
import { hashValues } from "./belonging.ts";
import { openReleasedData, type StoreData, type StoreFlags } from "./data.ts";
import { openReleasedWeights, type WeightsFlags } from "./weights.ts";

/** Texts at once: see the evaluator's batch. */
const BATCH = 128;

/**
 * The data of a released experiment with the features of their texts, by the text encoder that `openReleasedWeights` gives.
 *
 * @throws As `openReleasedData` and `openReleasedWeights`.
 */
export async function openCombinerData(
  run: RunContext,
  flags: StoreFlags & WeightsFlags,
): Promise<StoreData & { readonly textFeatures: TextFeatures }> {
  const data = await openReleasedData(run, flags);
  using weights = await openReleasedWeights(run, flags, data);
  const { clip } = await clipFrom(weights);
  return { ...data, textFeatures: await storedTextFeatures(clip, data, run) };
}

/** Reads the features of all texts that training and evaluation make of the data set's captions, or computes them first. */
export async function storedTextFeatures(
  encoder: ClipText,
  { dataset, text, evalCaption = singleCaption }: Pick<StoreData, "dataset" | "text" | "evalCaption">,
  { cacheDir, progress }: Pick<RunContext, "cacheDir" | "progress">,
): Promise<TextFeatures> {
  const { train, val, test } = dataset.splits;
  const texts = [
    ...new Set([
      ...train.triplets.flatMap(({ captions }) => captionTexts(captions)),
      ...[val, test].flatMap(({ triplets }) => triplets.map(({ captions }) => evalCaption(captions))),
    ]),
  ];
  const tokens = encodeTexts(texts, text).inputIds, dim = encoder.config.embedDim;
  using gpu = await openDevice(); // another one may differ in the last bits
  const key = keyOf(encoder, texts, tokens, gpu.name);
  const folder = `${cacheDir}/text-features`, path = `${folder}/${key}.safetensors`;
  const known = await readIfThere(path, [texts.length, dim]);
  const features = known ?? await compute(gpu, encoder, texts, text, progress);
  if (!known) {
    await Deno.mkdir(folder, { recursive: true });
    await writeSafetensors(path, { features: { dtype: "F32", shape: [texts.length, dim], data: features } }, {
      sha256: sha256Hex(new Uint8Array(features.buffer)),
    });
  }
  return new FeatureTable(texts, features, dim);
}

/** Features by text. */
class FeatureTable implements TextFeatures {
  readonly dim: number;
  readonly #features: Float32Array;
  readonly #rowOf: ReadonlyMap<string, number>;

  constructor(texts: readonly string[], features: Float32Array, dim: number) {
    this.dim = dim;
    this.#features = features;
    this.#rowOf = new Map(texts.map((text, row) => [text, row]));
  }

  read(texts: readonly string[], into: Float32Array): void {
    for (const [i, text] of texts.entries()) {
      const row = this.#rowOf.get(text);
      if (row === undefined) {
        throw new ConfigError(`no features of the text ${JSON.stringify(text)} are stored`);
      }
      into.set(this.#features.subarray(row * this.dim, (row + 1) * this.dim), i * this.dim);
    }
  }
}

/** SHA-256 over the encoder's values, the texts, their tokens and the GPU: equal keys, equal features. */
function keyOf(encoder: ClipText, texts: readonly string[], tokens: Uint32Array, gpu: string): string {
  const hash = createHash("sha256");
  hashValues(hash, encoder);
  hash.update(JSON.stringify([gpu, texts])).update(
    new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength),
  );
  return hash.digest("hex");
}

/** @throws {DataError} If the file is damaged. */
async function readIfThere(
  path: string,
  shape: readonly number[],
): Promise<Float32Array<ArrayBuffer> | undefined> {
  try {
    await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const file = await readSafetensors(path), { data, ...found } = tensorOf(file, "features", "F32");
  const { buffer, byteOffset, byteLength } = data;
  const isWhole = found.shape.join() === shape.join() &&
    file.metadata.sha256 === sha256Hex(new Uint8Array(buffer, byteOffset, byteLength));
  if (isWhole) return data;
  throw new DataError(`${path}: is not as it was written`, {
    where: path,
    fix: "delete it: it is made again",
  });
}

async function compute(
  gpu: Gpu,
  encoder: ClipText,
  texts: readonly string[],
  options: StoreData["text"],
  progress: RunContext["progress"],
): Promise<Float32Array<ArrayBuffer>> {
  const { embedDim } = encoder.config, features = new Float32Array(texts.length * embedDim);
  using state = new State(gpu, [{ params: params(encoder), isTrained: false }]);
  using program = new Program(
    gpu,
    (t) => ({ outputs: { features: encoder.forward(t.inputIds, t.attentionMask).features } }),
    { state, label: "features of texts" },
  );
  let done = 0;
  for (const { items, rows } of filledBatches([...texts.keys()], BATCH)) {
    const { inputIds, attentionMask, paddedLength } = encodeTexts(items.map((i) => texts[i]), options);
    const plan = await program.plan({
      inputIds: { shape: [BATCH, paddedLength], dtype: "u32" },
      attentionMask: { shape: [BATCH, paddedLength] },
    });
    plan.run({ inputIds, attentionMask });
    const { features: { data } } = await plan.read(); // sync: the features are stored by the CPU
    features.set(Float32Array.from(data).subarray(0, rows * embedDim), done * embedDim);
    done += rows;
    progress(`features of texts ${done}/${texts.length}`);
  }
  return features;
}
