/**
 * Checkpoints of random numbers with the keys, shapes and dtypes of the published ones, in any size: for benchmarks and
 * tests, since the published files are no part of this project.
 *
 * Source: LAVIS, `blip2_qformer.py`, `Qformer.py`, `clip_vit.py`; openai/CLIP, `model.py`.
 */
import { DataError } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import type { StoredDType, StoredTensor, TensorSource, WeightsFile } from "../../lib/io/stored_tensor.ts";

/** Sizes of LAVIS's `Blip2Qformer` with its vision transformer. */
export interface Blip2Sizes {
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly intermediateSize: number;
  readonly numQueryTokens: number;
  readonly crossAttentionFreq: number;
  readonly vocabSize: number;
  readonly maxPositions: number;
  readonly projDim: number;
  readonly visionWidth: number;
  readonly visionLayers: number;
  readonly patchSize: number;
  /** Patches a side. */
  readonly gridSize: number;
}

/** `blip2_pretrained_vitL.pth`: 474 million numbers. */
export const BLIP2_SIZES: Blip2Sizes = {
  hiddenSize: 768,
  numLayers: 12,
  intermediateSize: 3072,
  numQueryTokens: 32,
  crossAttentionFreq: 2,
  vocabSize: 30_523,
  maxPositions: 512,
  projDim: 256,
  visionWidth: 1024,
  visionLayers: 23,
  patchSize: 14,
  gridSize: 16,
};

/** Sizes of CLIP with a ModifiedResNet. */
export interface ClipSizes {
  readonly embedDim: number;
  readonly textWidth: number;
  readonly textLayers: number;
  readonly contextLength: number;
  readonly vocabSize: number;
  /** Width of the stem's output. */
  readonly visionWidth: number;
  /** Blocks of the four stages. */
  readonly visionLayers: readonly number[];
  /** Side of the last stage's map; the image is 32 times as large. */
  readonly gridSize: number;
}

/** `RN50x4.pt`: 178 million numbers. */
export const RN50X4_SIZES: ClipSizes = {
  embedDim: 640,
  textWidth: 640,
  textLayers: 12,
  contextLength: 77,
  vocabSize: 49_408,
  visionWidth: 80,
  visionLayers: [4, 6, 10, 6],
  gridSize: 9,
};

/** One tensor: its values are drawn uniformly from [low, high), or count up. */
interface Entry {
  readonly shape: readonly number[];
  readonly dtype: "F32" | "F16" | "I64";
  readonly low: number;
  readonly high: number;
}

/** Collects entries under a prefix. */
class Keys {
  readonly entries = new Map<string, Entry>();

  uniform(key: string, shape: readonly number[], low: number, high: number, dtype: Entry["dtype"] = "F32") {
    this.entries.set(key, { shape, dtype, low, high });
  }
  /** Keeps the size of what goes through: variance 1 / inputs. */
  weight(key: string, shape: readonly number[], dtype: Entry["dtype"] = "F32") {
    const bound = Math.sqrt(3 / sizeOf(shape.slice(1)));
    this.uniform(key, shape, -bound, bound, dtype);
  }
  linear(key: string, outputs: number, inputs: number, dtype: Entry["dtype"] = "F32") {
    this.weight(`${key}.weight`, [outputs, inputs], dtype);
    this.uniform(`${key}.bias`, [outputs], -0.1, 0.1, dtype);
  }
  norm(key: string, width: number) {
    this.uniform(`${key}.weight`, [width], 0.8, 1.2);
    this.uniform(`${key}.bias`, [width], -0.1, 0.1);
  }
  /** CLIP's transformer block: linear layers are stored f16, but for the attention's packed input in LAVIS. */
  resblock(key: string, width: number, inProjDtype: Entry["dtype"]) {
    this.weight(`${key}.attn.in_proj_weight`, [3 * width, width], inProjDtype);
    this.uniform(`${key}.attn.in_proj_bias`, [3 * width], -0.1, 0.1, inProjDtype);
    this.linear(`${key}.attn.out_proj`, width, width, "F16");
    this.norm(`${key}.ln_1`, width);
    this.linear(`${key}.mlp.c_fc`, 4 * width, width, "F16");
    this.linear(`${key}.mlp.c_proj`, width, 4 * width, "F16");
    this.norm(`${key}.ln_2`, width);
  }
  conv(key: string, outputs: number, inputs: number, side: number) {
    this.weight(`${key}.weight`, [outputs, inputs, side, side], "F16");
  }
  batchNorm(key: string, width: number) {
    this.norm(key, width);
    this.uniform(`${key}.running_mean`, [width], -0.1, 0.1);
    this.uniform(`${key}.running_var`, [width], 0.5, 1.5);
    this.uniform(`${key}.num_batches_tracked`, [], 0, 0, "I64");
  }

  /** The tensors, each a function of (seed, key): the order of reading does not matter. */
  source(seed: number): TensorSource {
    const { entries } = this;
    return {
      tensors: new Map(
        [...entries].map((
          [key, { shape, dtype }],
        ): [string, { shape: readonly number[]; dtype: StoredDType }] => [key, { shape, dtype }]),
      ),
      read(key) {
        const entry = entries.get(key);
        if (!entry) throw new DataError(`no tensor "${key}"`);
        return drawn(entry, new Random(seed, key));
      },
    };
  }
}

function drawn({ shape, dtype, low, high }: Entry, random: Random): StoredTensor {
  const n = sizeOf(shape);
  if (dtype === "I64") return { dtype, shape, data: BigInt64Array.from({ length: n }, (_, i) => BigInt(i)) };
  const values = random.uniform(n, low, high);
  if (dtype === "F32") return { dtype, shape, data: values };
  return { dtype, shape, data: new Uint16Array(new Float16Array(values).buffer) };
}

/** The state dict of `Blip2Qformer`: what LAVIS's files hold under `model`. */
export function randomBlip2(sizes: Blip2Sizes, seed: number): TensorSource {
  const keys = new Keys();
  const { hiddenSize: D, visionWidth: W, intermediateSize: F, vocabSize: V, patchSize, gridSize } = sizes;
  keys.uniform("query_tokens", [1, sizes.numQueryTokens, D], -1, 1);
  keys.uniform("temp", [], 0.07, 0.07);

  keys.uniform("visual_encoder.class_embedding", [W], -1, 1);
  keys.uniform("visual_encoder.positional_embedding", [gridSize ** 2 + 1, W], -1, 1);
  keys.conv("visual_encoder.conv1", W, 3, patchSize);
  keys.norm("visual_encoder.ln_pre", W);
  for (let k = 0; k < sizes.visionLayers; k++) {
    keys.resblock(`visual_encoder.transformer.resblocks.${k}`, W, "F32");
  }
  keys.norm("ln_vision", W);

  const bert = "Qformer.bert", embeddings = `${bert}.embeddings`;
  keys.uniform(`${embeddings}.position_ids`, [1, sizes.maxPositions], 0, 0, "I64");
  keys.uniform(`${embeddings}.word_embeddings.weight`, [V, D], -1, 1);
  keys.uniform(`${embeddings}.position_embeddings.weight`, [sizes.maxPositions, D], -1, 1);
  keys.norm(`${embeddings}.LayerNorm`, D);
  const attention = (key: string, inputs: number) => {
    keys.linear(`${key}.self.query`, D, D);
    keys.linear(`${key}.self.key`, D, inputs);
    keys.linear(`${key}.self.value`, D, inputs);
    keys.linear(`${key}.output.dense`, D, D);
    keys.norm(`${key}.output.LayerNorm`, D);
  };
  for (let i = 0; i < sizes.numLayers; i++) {
    const layer = `${bert}.encoder.layer.${i}`;
    attention(`${layer}.attention`, D);
    if (i % sizes.crossAttentionFreq === 0) attention(`${layer}.crossattention`, W);
    for (const suffix of ["", "_query"]) {
      keys.linear(`${layer}.intermediate${suffix}.dense`, F, D);
      keys.linear(`${layer}.output${suffix}.dense`, D, F);
      keys.norm(`${layer}.output${suffix}.LayerNorm`, D);
    }
  }
  // Parts of the original that CaLa leaves alone.
  const predictions = "Qformer.cls.predictions";
  keys.uniform(`${predictions}.bias`, [V], -0.1, 0.1);
  keys.linear(`${predictions}.transform.dense`, D, D);
  keys.norm(`${predictions}.transform.LayerNorm`, D);
  keys.linear(`${predictions}.decoder`, V, D);
  keys.linear("vision_proj", sizes.projDim, D);
  keys.linear("text_proj", sizes.projDim, D);
  keys.linear("itm_head", 2, D);
  return keys.source(seed);
}

/** The state dict of OpenAI's CLIP with a ModifiedResNet. */
export function randomClip(sizes: ClipSizes, seed: number): TensorSource {
  const keys = new Keys();
  const { embedDim, textWidth, visionWidth, gridSize, visionLayers } = sizes;
  keys.uniform("positional_embedding", [sizes.contextLength, textWidth], -1, 1);
  keys.weight("text_projection", [textWidth, embedDim], "F16");
  keys.uniform("logit_scale", [], 4.6, 4.6);

  const half = visionWidth / 2;
  const convNorm = (prefix: string, i: number, outputs: number, inputs: number, side: number) => {
    keys.conv(`${prefix}conv${i}`, outputs, inputs, side);
    keys.batchNorm(`${prefix}bn${i}`, outputs);
  };
  convNorm("visual.", 1, half, 3, 3);
  convNorm("visual.", 2, half, half, 3);
  convNorm("visual.", 3, visionWidth, half, 3);
  let inputs = visionWidth;
  for (const [stage, blocks] of visionLayers.entries()) {
    const planes = visionWidth * 2 ** stage;
    for (let b = 0; b < blocks; b++) {
      const block = `visual.layer${stage + 1}.${b}.`;
      convNorm(block, 1, planes, inputs, 1);
      convNorm(block, 2, planes, planes, 3);
      convNorm(block, 3, 4 * planes, planes, 1);
      if (b === 0) {
        keys.conv(`${block}downsample.0`, 4 * planes, inputs, 1);
        keys.batchNorm(`${block}downsample.1`, 4 * planes);
      }
      inputs = 4 * planes;
    }
  }
  keys.uniform("visual.attnpool.positional_embedding", [gridSize ** 2 + 1, inputs], -1, 1);
  for (const name of ["k_proj", "q_proj", "v_proj"]) {
    keys.linear(`visual.attnpool.${name}`, inputs, inputs, "F16");
  }
  keys.linear("visual.attnpool.c_proj", embedDim, inputs, "F16");

  for (let k = 0; k < sizes.textLayers; k++) keys.resblock(`transformer.resblocks.${k}`, textWidth, "F16");
  keys.uniform("token_embedding.weight", [sizes.vocabSize, textWidth], -1, 1);
  keys.norm("ln_final", textWidth);
  return keys.source(seed);
}

/** A file with the keys and shapes of a source whose numbers are all the same zeros: for what depends on shapes alone. */
export function zeroWeights({ tensors }: TensorSource): WeightsFile {
  const zeros = new Float32Array(Math.max(...[...tensors.values()].map(({ shape }) => sizeOf(shape))));
  return {
    name: "zeros",
    format: "safetensors",
    metadata: {},
    tensors,
    read(key) {
      const { shape = [0] } = tensors.get(key) ?? {};
      return { dtype: "F32", shape, data: zeros.subarray(0, sizeOf(shape)) };
    },
  };
}
