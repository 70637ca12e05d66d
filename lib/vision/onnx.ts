/**
 * Writes a graph as an ONNX model: the graph in one file, the weights beside it ("external data"), where they may be
 * larger than the 2 GB that a protobuf message can hold.
 *
 * Source: onnx/onnx, `onnx.proto` and `docs/ExternalData.md`.
 */
import { sizeOf } from "../core/shape.ts";
import type { Constant, Graph, GraphNode } from "./graph.ts";
import type { Weight } from "./graph.ts";

/** What is used of the npm package `onnx-proto`. */
export interface OnnxProto {
  readonly onnx: {
    readonly ModelProto: { encode(message: object): { finish(): Uint8Array<ArrayBuffer> } };
  };
}

const IR_VERSION = 8, OPSET = 17; // the first with LayerNormalization
const FLOAT = 1, INT64 = 7; // TensorProto.DataType
const EXTERNAL = 1; // TensorProto.DataLocation
const ATTRIBUTE = { float: 1, int: 2, ints: 7 }; // AttributeProto.AttributeType
const ALIGNMENT = 64;

/** A model without its weights. */
export function encodeModel({ onnx }: OnnxProto, graph: Graph, weightsName: string): Uint8Array<ArrayBuffer> {
  const places = placesOf(graph);
  const initializer = [
    ...[...graph.weights].map(([name, { shape }]) => ({
      name,
      dataType: FLOAT,
      dims: shape,
      dataLocation: EXTERNAL,
      externalData: [
        { key: "location", value: weightsName },
        { key: "offset", value: String(places.get(name)) },
        { key: "length", value: String(4 * sizeOf(shape)) },
      ],
    })),
    ...[...graph.constants].map(([name, constant]) => ({ name, ...constantFields(constant) })),
  ];
  return onnx.ModelProto.encode({
    irVersion: IR_VERSION,
    producerName: "cala-toolkit",
    opsetImport: [{ domain: "", version: OPSET }],
    graph: {
      name: graph.name,
      node: graph.nodes.map(nodeFields),
      initializer,
      input: valueInfos(graph.inputs, graph.shared?.inputs),
      output: valueInfos(graph.outputs, graph.shared?.outputs),
    },
  }).finish();
}

/** The bytes of the file of weights, a tensor at a time. */
export function* weightPieces({ weights }: Graph): Generator<Uint8Array> {
  for (const weight of weights.values()) {
    const { buffer, byteOffset, byteLength } = weight.values();
    yield new Uint8Array(buffer, byteOffset, byteLength);
    const padding = paddedBytes(weight) - byteLength;
    if (padding > 0) yield new Uint8Array(padding);
  }
}

/** Length of the file of weights. */
export const weightBytes = ({ weights }: Graph): number =>
  [...weights.values()].reduce((sum, weight) => sum + paddedBytes(weight), 0);

const paddedBytes = ({ shape }: Weight): number => Math.ceil(4 * sizeOf(shape) / ALIGNMENT) * ALIGNMENT;

/** Where each tensor begins. */
function placesOf({ weights }: Graph): Map<string, number> {
  const places = new Map<string, number>();
  let end = 0;
  for (const [name, weight] of weights) {
    places.set(name, end);
    end += paddedBytes(weight);
  }
  return places;
}

const constantFields = (constant: Constant) =>
  "i64" in constant
    ? { dataType: INT64, dims: [constant.i64.length], int64Data: constant.i64 }
    : { dataType: FLOAT, dims: [], floatData: [constant.f32] };

const nodeFields = ({ op, inputs, outputs, attributes }: GraphNode) => ({
  opType: op,
  name: outputs[0],
  input: inputs,
  output: outputs,
  attribute: Object.entries(attributes).map(([name, value]) => {
    if (typeof value === "number") return { name, type: ATTRIBUTE.int, i: value };
    return "float" in value
      ? { name, type: ATTRIBUTE.float, f: value.float }
      : { name, type: ATTRIBUTE.ints, ints: value };
  }),
});

const valueInfos = (batched: Graph["inputs"], shared: Graph["inputs"] = {}) => [
  ...Object.entries(batched).map(([name, shape]) => valueInfo(name, [{ dimParam: "B" }, ...dims(shape)])),
  ...Object.entries(shared).map(([name, shape]) => valueInfo(name, dims(shape))),
];

const dims = (shape: readonly number[]) => shape.map((dimValue) => ({ dimValue }));

const valueInfo = (name: string, dim: readonly object[]) => ({
  name,
  type: { tensorType: { elemType: FLOAT, shape: { dim } } },
});
