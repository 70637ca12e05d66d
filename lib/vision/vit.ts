/**
 * LAVIS's CLIP ViT as an ONNX graph: all tokens behind the last block, without a final norm and without a projection.
 * `ln_vision` is not part of it: each Q-Former copy has its own.
 *
 * Source: LAVIS, `clip_vit.py` (`VisionTransformer`, `create_clip_vit_L`).
 */
import type { Shape } from "../core/shape.ts";
import type { WeightsFile } from "../io/weights_file.ts";
import { type Graph, GraphBuilder } from "./graph.ts";
import { blockCount, headsOf, shapeOf, sideOf, type VisionModel, type VisionWeights } from "./keys.ts";

/** The constructor's `layers=23`: the blocks of ViT-L/14 that run, also where a file has the last one too. */
const VIT_L = { width: 1024, layers: 23 };
const EPS = { epsilon: { float: 1e-5 } };

/** Sizes of a vision transformer. */
interface VitSizes {
  readonly width: number;
  readonly hidden: number;
  readonly layers: number;
  readonly patch: number;
  /** Patches a side. */
  readonly grid: number;
}

/**
 * The model of a file: a whole `Blip2Qformer`, whose keys begin with `visual_encoder.`, or `clip_vit_L.pth`, whose keys
 * have no prefix.
 *
 * @param heads Default: as many as the width has 64s.
 * @throws {DataError} If the file does not tell the sizes.
 */
export function vit(file: WeightsFile, heads?: number): VisionModel {
  const title = "BLIP-2's vision transformer";
  const prefix = file.tensors.has("class_embedding") ? "" : "visual_encoder.";
  const shape = (key: string, rank: number) => shapeOf(file, title, `${prefix}${key}`, rank);
  const [width, , patch] = shape("conv1.weight", 4);
  const blocks = `${prefix}transformer.resblocks.`, count = blockCount(file, title, blocks);
  const sizes: VitSizes = {
    width,
    hidden: shape("transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
    layers: width === VIT_L.width ? Math.min(count, VIT_L.layers) : count,
    patch,
    grid: sideOf(file, title, `${prefix}positional_embedding`),
  };
  return {
    title,
    keys: keysOf(sizes, prefix),
    imageSize: sizes.grid * patch,
    fields: { tokens: [sizes.grid ** 2 + 1, width] },
    graph: (weights) => graphOf(sizes, heads ?? headsOf(width, file), prefix, weights),
  };
}

function keysOf(
  { width: W, hidden, layers, patch, grid }: VitSizes,
  prefix: string,
): Map<string, { shape: Shape }> {
  const keys = new Map<string, { shape: Shape }>();
  const add = (key: string, ...shape: number[]) => keys.set(key, { shape });
  const norm = (key: string) => {
    add(`${key}.weight`, W);
    add(`${key}.bias`, W);
  };
  const linear = (key: string, outputs: number, inputs: number) => {
    add(`${key}.weight`, outputs, inputs);
    add(`${key}.bias`, outputs);
  };
  add(`${prefix}class_embedding`, W);
  add(`${prefix}positional_embedding`, grid ** 2 + 1, W);
  add(`${prefix}conv1.weight`, W, 3, patch, patch);
  norm(`${prefix}ln_pre`);
  for (let k = 0; k < layers; k++) {
    const block = `${prefix}transformer.resblocks.${k}`;
    add(`${block}.attn.in_proj_weight`, 3 * W, W);
    add(`${block}.attn.in_proj_bias`, 3 * W);
    linear(`${block}.attn.out_proj`, W, W);
    norm(`${block}.ln_1`);
    linear(`${block}.mlp.c_fc`, hidden, W);
    linear(`${block}.mlp.c_proj`, W, hidden);
    norm(`${block}.ln_2`);
  }
  return keys;
}

function graphOf(
  { width: W, layers, patch, grid }: VitSizes,
  heads: number,
  prefix: string,
  weights: VisionWeights,
): Graph {
  const g = new GraphBuilder();
  const norm = (x: string, key: string) =>
    g.op("LayerNormalization", [x, weights.add(g, `${key}.weight`), weights.add(g, `${key}.bias`)], EPS);
  const linear = (x: string, weight: string, bias: string, output = "") =>
    g.op("Add", [g.op("MatMul", [x, weights.addTransposed(g, weight)]), weights.add(g, bias)], {}, output);

  const patches = g.op("Conv", ["image", weights.add(g, `${prefix}conv1.weight`)], {
    kernel_shape: [patch, patch],
    strides: [patch, patch],
  });
  const rows = g.op("Transpose", [g.op("Reshape", [patches, g.sizes(0, W, -1)])], { perm: [0, 2, 1] });
  // A row of zeros in front, to which the class embedding is added with its position: no row to repeat for each image.
  const padded = g.op("Pad", [rows, g.sizes(0, 1, 0, 0, 0, 0)]);
  const position = g.weight(`${prefix}positional_embedding`, {
    shape: [grid ** 2 + 1, W],
    values() {
      const values = weights.read(`${prefix}positional_embedding`).slice();
      weights.read(`${prefix}class_embedding`).forEach((v, i) => values[i] += v);
      return values;
    },
  });
  let x = norm(g.op("Add", [padded, position]), `${prefix}ln_pre`);

  const split = (qkv: string, k: number) => {
    const names = ["q", "k", "v"].map((name) => `${name}_${k}`);
    return g.ops("Split", [qkv, g.sizes(W, W, W)], names, { axis: 2 });
  };
  const byHead = (y: string, perm: readonly number[]) =>
    g.op("Transpose", [g.op("Reshape", [y, g.sizes(0, 0, heads, W / heads)])], { perm });
  for (let k = 0; k < layers; k++) {
    const block = `${prefix}transformer.resblocks.${k}`;
    const qkv = linear(
      norm(x, `${block}.ln_1`),
      `${block}.attn.in_proj_weight`,
      `${block}.attn.in_proj_bias`,
    );
    const [q, key, value] = split(qkv, k);
    const scaled = g.op("Mul", [q, g.scalar((W / heads) ** -0.5)]);
    const scores = g.op("MatMul", [byHead(scaled, [0, 2, 1, 3]), byHead(key, [0, 2, 3, 1])]);
    const seen = g.op("MatMul", [g.op("Softmax", [scores], { axis: -1 }), byHead(value, [0, 2, 1, 3])]);
    const joined = g.op("Reshape", [g.op("Transpose", [seen], { perm: [0, 2, 1, 3] }), g.sizes(0, 0, W)]);
    x = g.op("Add", [x, linear(joined, `${block}.attn.out_proj.weight`, `${block}.attn.out_proj.bias`)]);

    const h = linear(norm(x, `${block}.ln_2`), `${block}.mlp.c_fc.weight`, `${block}.mlp.c_fc.bias`);
    const gelu = g.op("Mul", [h, g.op("Sigmoid", [g.op("Mul", [h, g.scalar(1.702)])])]); // QuickGELU
    const y = linear(gelu, `${block}.mlp.c_proj.weight`, `${block}.mlp.c_proj.bias`);
    x = g.op("Add", [x, y], {}, k === layers - 1 ? "tokens" : "");
  }
  return g.finish("vit", { image: [3, grid * patch, grid * patch] }, { tokens: [grid ** 2 + 1, W] });
}
