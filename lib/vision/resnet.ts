/**
 * CLIP's ModifiedResNet as an ONNX graph: the last stage's map, and its attention pool. BatchNorm has the statistics of
 * the checkpoint, and is folded into the convolution before it; or its statistics are the graph's inputs and outputs.
 *
 * Source: openai/CLIP, `model.py` (`ModifiedResNet`, `Bottleneck`, `AttentionPool2d`); CaLa's README for the map.
 */
import type { Shape } from "../core/shape.ts";
import type { WeightsFile } from "../io/weights_file.ts";
import { EPS, type NormLayer, NormWriter } from "./batch_norm.ts";
import { type Graph, GraphBuilder } from "./graph.ts";
import { blockCount, headsOf, shapeOf, sideOf, type VisionModel, type VisionWeights } from "./keys.ts";

/** Pixels of the image to one of the last map: the stem halves twice, three stages once. */
const STRIDE = 32;

/** The model, with a second graph: its BatchNorms take statistics that are fed, or the batch's. */
export interface ResNetModel extends VisionModel {
  /** @returns Also its layers, in the order of their statistics. */
  liveGraph(weights: VisionWeights): { readonly graph: Graph; readonly layers: readonly NormLayer[] };
}

/** One convolution with the BatchNorm behind it. */
interface ConvSpec {
  readonly conv: string;
  readonly norm: string;
  readonly outputs: number;
  readonly inputs: number;
  /** Of the kernel; 3 has a padding of 1. */
  readonly side: 1 | 3;
  readonly stride: 1 | 2;
}

/** A bottleneck: three convolutions; an average over `stride` by `stride` before the third and before the shortcut's. */
interface BlockSpec {
  readonly convs: readonly [ConvSpec, ConvSpec, ConvSpec];
  readonly stride: 1 | 2;
  readonly downsample?: ConvSpec;
}

interface ResNetSpec {
  readonly stem: readonly ConvSpec[];
  readonly blocks: readonly BlockSpec[];
  /** Channels of the last map: `C`. */
  readonly channels: number;
  /** Side of the last map. */
  readonly grid: number;
  /** Size of the pooled feature: `D`. */
  readonly embedDim: number;
}

/**
 * The model of a file: keys begin with `visual.`, as in OpenAI's archives and CaLa's own checkpoints.
 *
 * @param heads Of the attention pool. Default: as many as its width has 64s.
 * @throws {DataError} If the file does not tell the sizes.
 */
export function resnet(file: WeightsFile, heads?: number): ResNetModel {
  const title = "CLIP's ModifiedResNet", prefix = "visual.";
  const [width, half] = shapeOf(file, title, `${prefix}conv3.weight`, 4);
  const stages = [1, 2, 3, 4].map((s) => blockCount(file, title, `${prefix}layer${s}.`));
  const stem = [
    convSpec(prefix, 1, half, 3, 3, 2),
    convSpec(prefix, 2, half, half, 3),
    convSpec(prefix, 3, width, half, 3),
  ];
  const { blocks, channels } = blockSpecs(prefix, width, stages);
  const spec: ResNetSpec = {
    stem,
    blocks,
    channels,
    grid: sideOf(file, title, `${prefix}attnpool.positional_embedding`),
    embedDim: shapeOf(file, title, `${prefix}attnpool.c_proj.weight`, 2)[0],
  };
  const addPool = (g: GraphBuilder, weights: VisionWeights) =>
    attentionPool(g, spec, heads ?? headsOf(channels, file), `${prefix}attnpool.`, weights);
  return {
    title,
    keys: keysOf(spec, prefix),
    imageSize: spec.grid * STRIDE,
    fields: fieldsOf(spec),
    graph(weights) {
      const g = new GraphBuilder();
      addLayers(g, spec, (x, conv) => addFolded(g, x, conv, weights));
      addPool(g, weights);
      return g.finish("resnet", inputsOf(spec), fieldsOf(spec));
    },
    liveGraph(weights) {
      const g = new GraphBuilder(), norms = new NormWriter(g, weights);
      addLayers(g, spec, (x, conv, side) => {
        const y = addConv(g, conv, [x, weights.add(g, conv.conv)]);
        return norms.add(y, { name: conv.norm, channels: conv.outputs, area: side ** 2 });
      });
      addPool(g, weights);
      const graph = g.finish("resnet-live", inputsOf(spec), fieldsOf(spec), norms.finish());
      return { graph, layers: norms.layers };
    },
  };
}

const convSpec = (
  prefix: string,
  i: number,
  outputs: number,
  inputs: number,
  side: 1 | 3,
  stride: 1 | 2 = 1,
): ConvSpec => ({ conv: `${prefix}conv${i}.weight`, norm: `${prefix}bn${i}`, outputs, inputs, side, stride });

function blockSpecs(prefix: string, width: number, stages: readonly number[]) {
  const blocks: BlockSpec[] = [];
  let channels = width;
  for (const [s, count] of stages.entries()) {
    const planes = width * 2 ** s;
    for (let b = 0; b < count; b++) {
      const block = `${prefix}layer${s + 1}.${b}.`, stride = s > 0 && b === 0 ? 2 : 1;
      blocks.push({
        convs: [
          convSpec(block, 1, planes, channels, 1),
          convSpec(block, 2, planes, planes, 3),
          convSpec(block, 3, 4 * planes, planes, 1),
        ],
        stride,
        downsample: stride > 1 || channels !== 4 * planes
          ? {
            conv: `${block}downsample.0.weight`,
            norm: `${block}downsample.1`,
            outputs: 4 * planes,
            inputs: channels,
            side: 1,
            stride: 1,
          }
          : undefined,
      });
      channels = 4 * planes;
    }
  }
  return { blocks, channels };
}

function keysOf({ stem, blocks, channels: C, grid, embedDim }: ResNetSpec, prefix: string) {
  const keys = new Map<string, { shape: Shape }>();
  const add = (key: string, ...shape: number[]) => keys.set(key, { shape });
  const convs = [
    ...stem,
    ...blocks.flatMap(({ convs, downsample }) => [...convs, ...downsample ? [downsample] : []]),
  ];
  for (const { conv, norm, outputs, inputs, side } of convs) {
    add(conv, outputs, inputs, side, side);
    for (const name of ["weight", "bias", "running_mean", "running_var"]) add(`${norm}.${name}`, outputs);
  }
  const pool = `${prefix}attnpool.`;
  add(`${pool}positional_embedding`, grid ** 2 + 1, C);
  for (
    const [name, outputs] of [["k_proj", C], ["q_proj", C], ["v_proj", C], ["c_proj", embedDim]] as const
  ) {
    add(`${pool}${name}.weight`, outputs, C);
    add(`${pool}${name}.bias`, outputs);
  }
  return keys;
}

const inputsOf = ({ grid }: ResNetSpec) => ({ image: [3, grid * STRIDE, grid * STRIDE] });
const fieldsOf = ({ channels, grid, embedDim }: ResNetSpec) => ({
  map: [channels, grid, grid],
  pooled: [embedDim],
});

/**
 * From `image` to `map`.
 *
 * @param convNorm Adds a convolution of `x` and its BatchNorm; the result has sides of `side`.
 */
function addLayers(
  g: GraphBuilder,
  { stem, blocks, grid }: ResNetSpec,
  convNorm: (x: string, conv: ConvSpec, side: number) => string,
): void {
  const relu = (x: string, output = "") => g.op("Relu", [x], {}, output);
  const average = (x: string, stride: number) =>
    stride === 1
      ? x
      : g.op("AveragePool", [x], { kernel_shape: [stride, stride], strides: [stride, stride] });
  let side = grid * STRIDE / 2;
  let x = average(stem.reduce((h, conv) => relu(convNorm(h, conv, side)), "image"), 2);
  side /= 2;
  for (const [i, { convs: [one, two, three], stride, downsample }] of blocks.entries()) {
    const inner = average(relu(convNorm(relu(convNorm(x, one, side)), two, side)), stride);
    side /= stride;
    const shortcut = downsample ? convNorm(average(x, stride), downsample, side) : x;
    const isLast = i === blocks.length - 1;
    x = relu(g.op("Add", [convNorm(inner, three, side), shortcut]), isLast ? "map" : "");
  }
}

/** @param inputs Image, weight, and a bias where there is one. */
function addConv(g: GraphBuilder, { side, stride }: ConvSpec, inputs: readonly string[]): string {
  const pad = (side - 1) / 2;
  return g.op("Conv", inputs, {
    kernel_shape: [side, side],
    strides: [stride, stride],
    pads: [pad, pad, pad, pad],
  });
}

/** A convolution with its BatchNorm: weight and bias `w·γ/√(σ² + ε)` and `β - μ·γ/√(σ² + ε)`, in double precision. */
function addFolded(g: GraphBuilder, x: string, spec: ConvSpec, weights: VisionWeights): string {
  const { conv, norm, outputs, inputs, side } = spec;
  const scales = () => {
    const gamma = weights.read(`${norm}.weight`), variance = weights.read(`${norm}.running_var`);
    return Float64Array.from(gamma, (v, i) => v / Math.sqrt(variance[i] + EPS));
  };
  const weight = g.weight(conv, {
    shape: [outputs, inputs, side, side],
    values() {
      const scale = scales(), area = inputs * side * side;
      return weights.read(conv).map((v, i) => v * scale[Math.floor(i / area)]);
    },
  });
  const bias = g.weight(`${norm}.bias`, {
    shape: [outputs],
    values() {
      const scale = scales(), mean = weights.read(`${norm}.running_mean`);
      return weights.read(`${norm}.bias`).map((v, i) => v - mean[i] * scale[i]);
    },
  });
  return addConv(g, spec, [x, weight, bias]);
}

/** From `map` to `pooled`: attention whose only query is the mean of the map's cells. */
function attentionPool(
  g: GraphBuilder,
  { channels: C }: ResNetSpec,
  heads: number,
  pool: string,
  weights: VisionWeights,
) {
  const linear = (x: string, name: string, output = "") => {
    const weight = weights.addTransposed(g, `${pool}${name}.weight`);
    return g.op("Add", [g.op("MatMul", [x, weight]), weights.add(g, `${pool}${name}.bias`)], {}, output);
  };
  const byHead = (y: string, perm: readonly number[]) =>
    g.op("Transpose", [g.op("Reshape", [y, g.sizes(0, 0, heads, C / heads)])], { perm });

  const cells = g.op("Reshape", ["map", g.sizes(0, C, -1)]); // [B, C, HW]
  const all = g.op("Concat", [g.op("ReduceMean", [cells], { axes: [2], keepdims: 1 }), cells], { axis: 2 });
  const rows = g.op("Transpose", [all], { perm: [0, 2, 1] }); // [B, 1 + HW, C]
  const tokens = g.op("Add", [rows, weights.add(g, `${pool}positional_embedding`)]);
  const first = g.op("Slice", [tokens, g.sizes(0), g.sizes(1), g.sizes(1)]);
  const q = g.op("Mul", [linear(first, "q_proj"), g.scalar((C / heads) ** -0.5)]);
  const scores = g.op("MatMul", [
    byHead(q, [0, 2, 1, 3]),
    byHead(linear(tokens, "k_proj"), [0, 2, 3, 1]),
  ]);
  const values = byHead(linear(tokens, "v_proj"), [0, 2, 1, 3]);
  const seen = g.op("MatMul", [g.op("Softmax", [scores], { axis: -1 }), values]); // [B, heads, 1, C / heads]
  linear(g.op("Reshape", [seen, g.sizes(0, C)]), "c_proj", "pooled");
}
