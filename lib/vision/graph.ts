/** An ONNX graph as plain data. What stands in a file of its own is `onnx.ts`'s subject. */
import type { Shape } from "../core/shape.ts";

/** An attribute of a node: integers, or one float. */
export type Attribute = number | readonly number[] | { readonly float: number };

/** One operation. It has one name for itself and its first output. */
export interface GraphNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** A tensor of weights, whose values are asked for when they are written: one at a time is in memory. */
export interface Weight {
  readonly shape: Shape;
  values(): Float32Array<ArrayBuffer>;
}

/** A small tensor that stands in the graph itself: sizes for `Reshape`, a factor. */
export type Constant = { readonly i64: readonly number[] } | { readonly f32: number };

/** A graph with a free batch size. Every input and output is f32. */
export interface Graph {
  readonly name: string;
  readonly nodes: readonly GraphNode[];
  readonly weights: ReadonlyMap<string, Weight>;
  readonly constants: ReadonlyMap<string, Constant>;
  /** By name, without the batch axis. */
  readonly inputs: Readonly<Record<string, Shape>>;
  readonly outputs: Readonly<Record<string, Shape>>;
  /** Inputs and outputs that belong to the batch as a whole, with all their axes. */
  readonly shared?: {
    readonly inputs: Readonly<Record<string, Shape>>;
    readonly outputs: Readonly<Record<string, Shape>>;
  };
}

/** Collects a graph. Every method gives the name of the tensor that it adds. */
export class GraphBuilder {
  readonly #nodes: GraphNode[] = [];
  readonly #weights = new Map<string, Weight>();
  readonly #constants = new Map<string, Constant>();

  /** An operation of opset 17. Its output is `output`, or gets a name. */
  op(op: string, inputs: readonly string[], attributes: GraphNode["attributes"] = {}, output = ""): string {
    return this.ops(op, inputs, [output || `${op}_${this.#nodes.length}`], attributes)[0];
  }

  /** An operation with several outputs, by their names. */
  ops(
    op: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: GraphNode["attributes"] = {},
  ): readonly string[] {
    this.#nodes.push({ op, inputs, outputs, attributes });
    return outputs;
  }

  weight(name: string, weight: Weight): string {
    this.#weights.set(name, weight);
    return name;
  }

  /** A list of whole numbers, each list once. */
  sizes(...i64: number[]): string {
    return this.#constant(`sizes_${i64.join("_")}`, { i64 });
  }

  scalar(f32: number): string {
    return this.#constant(`scalar_${f32}`, { f32 });
  }

  #constant(name: string, constant: Constant): string {
    this.#constants.set(name, constant);
    return name;
  }

  finish(
    name: string,
    inputs: Graph["inputs"],
    outputs: Graph["outputs"],
    shared?: Graph["shared"],
  ): Graph {
    const [nodes, weights, constants] = [this.#nodes, this.#weights, this.#constants];
    return { name, nodes, weights, constants, inputs, outputs, shared };
  }
}
