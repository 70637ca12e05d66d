/** The gradients of a layer normalisation become one node. Plain data: no GPU. */
import { layerNormGradOp, layerNormGradsOp, layerNormParamGradOp } from "../ops/layer_norm.ts";
import type { Node, OpDef } from "../tensor/op.ts";

const is = (node: Node, op: OpDef<undefined>): boolean => node.op === op as OpDef<unknown>;

/** Where the gradient of x and those of weight and bias read the same, one node makes all three. */
export function mergeLayerNormGrads(nodes: readonly Node[]): readonly Node[] {
  const merged = new Map<Node, Node>(), done = new Set<Node>();
  const ofParams = nodes.filter((node) => is(node, layerNormParamGradOp));
  for (const node of nodes) {
    if (!is(node, layerNormGradOp)) continue;
    const [x, weight, mean, rstd, dy] = node.inputs;
    const other = ofParams.find(({ inputs }) => [x, mean, rstd, dy].every((t, i) => inputs[i] === t));
    if (!other || done.has(other)) continue;
    done.add(other).add(node);
    const outputs = [...node.outputs, ...other.outputs];
    merged.set(nodes.indexOf(other) < nodes.indexOf(node) ? other : node, {
      ...node,
      op: layerNormGradsOp as OpDef<unknown>,
      inputs: [x, weight, mean, rstd, dy],
      outputs,
    });
  }
  return nodes.flatMap((node) => merged.get(node) ?? (done.has(node) ? [] : [node]));
}
