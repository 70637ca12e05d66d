/** Runs a traced graph on the CPU in f64: what the GPU's f32 is held against at full size. */
import { ConfigError } from "../../lib/core/errors.ts";
import type { Node } from "../../lib/tensor/op.ts";
import type { Tensor, TensorData } from "../../lib/tensor/tensor.ts";
import { reachable } from "../../lib/tensor/trace.ts";
import { type Attrs, type Draw, formulas } from "./ops.ts";
import type { Value } from "./values.ts";

/** What a graph is run on. */
export interface ReferenceOptions extends Draw {
  readonly inputs: Readonly<Record<string, TensorData>>;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Values of tensors of a traced graph. Parameters have their initial values; a value is dropped after its last reader.
 *
 * @throws {ConfigError} If an op has no formula, an input is missing, or an auxiliary output is asked for.
 */
export function evaluateF64(roots: readonly Tensor[], options: ReferenceOptions): Value[] {
  const nodes = reachable(roots), values = new Map<Tensor, Value>();
  const readersLeft = new Map<Tensor, number>();
  for (const x of [...roots, ...nodes.flatMap(({ inputs }) => inputs)]) {
    readersLeft.set(x, (readersLeft.get(x) ?? 0) + 1);
  }
  const valueOf = (x: Tensor): Value => {
    const { shape, source } = x;
    switch (source.kind) {
      case "param":
      case "constant":
        return { shape, data: source.data };
      case "input": {
        const data = options.inputs[source.name];
        if (!data) throw new ConfigError(`input "${source.name}" is missing`);
        return { shape, data };
      }
      case "op": {
        const value = values.get(x);
        if (!value) {
          throw new ConfigError(`${source.node.op.name}: output ${source.index} has no formula in f64`);
        }
        return value;
      }
      default:
        throw new ConfigError(`a ${source.kind} has no value in f64`);
    }
  };
  nodes.forEach((node, i) => {
    values.set(node.outputs[0], run(node, node.inputs.map(valueOf), options));
    for (const x of node.inputs) {
      const left = (readersLeft.get(x) ?? 1) - 1;
      readersLeft.set(x, left);
      if (left === 0) values.delete(x);
    }
    options.onProgress?.(i + 1, nodes.length);
  });
  return roots.map(valueOf);
}

function run({ op, attrs, outputs: [{ shape }] }: Node, inputs: readonly Value[], draw: Draw): Value {
  if (op.isView) return { shape, data: inputs[0].data };
  const formula = formulas[op.name];
  if (!formula) {
    throw new ConfigError(`${op.name} has no formula in f64`, { where: "tasks/reference/ops.ts" });
  }
  return formula(inputs, (attrs ?? {}) as Attrs, draw, shape);
}
