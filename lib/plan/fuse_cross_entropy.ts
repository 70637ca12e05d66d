/** A cross entropy and its gradient become one node. Plain data: no GPU. */
import { crossEntropyAndGradOp, crossEntropyGradOp, crossEntropyOp } from "../ops/cross_entropy.ts";
import type { Node, OpDef } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";

const is = (node: Node | undefined, op: OpDef<undefined>): boolean => node?.op === op as OpDef<unknown>;

/**
 * Where the gradient that comes from behind does not depend on the loss, one node makes the loss and the gradient of the
 * logits. What makes that gradient (the loss's share in a sum) moves in front of it.
 *
 * @param nodes In order of execution.
 */
export function mergeCrossEntropies(nodes: readonly Node[]): readonly Node[] {
  const makers = new Map(nodes.flatMap((node) => node.outputs.map((y) => [y, node])));
  const list = [...nodes], dropped = new Set<Node>();
  for (const node of nodes) {
    if (!is(node, crossEntropyGradOp)) continue;
    const [x, stats, dy, ...labels] = node.inputs, loss = makers.get(stats);
    const isSame = loss && [x, ...labels].every((t, i) => loss.inputs[i] === t);
    if (!loss || !isSame || !is(loss, crossEntropyOp) || dependsOn(dy, loss, makers)) continue;
    const both: Node = {
      ...loss,
      op: crossEntropyAndGradOp as OpDef<unknown>,
      inputs: [x, dy, ...labels],
      outputs: [...node.outputs, ...loss.outputs],
    };
    list[list.indexOf(loss)] = both;
    both.outputs.forEach((y) => makers.set(y, both));
    dropped.add(node);
  }
  return dropped.size === 0 ? nodes : inOrder(list.filter((node) => !dropped.has(node)), makers);
}

/** Whether a value is computed from what a node makes. */
function dependsOn(value: Tensor, node: Node, makers: ReadonlyMap<Tensor, Node>): boolean {
  const behind = new Set<Node>();
  const visit = (x: Tensor) => {
    const maker = makers.get(x);
    if (!maker || behind.has(maker)) return;
    behind.add(maker);
    maker.inputs.forEach(visit);
  };
  visit(value);
  return behind.has(node);
}

/** The nodes as they come, each behind what it reads. */
function inOrder(nodes: readonly Node[], makers: ReadonlyMap<Tensor, Node>): readonly Node[] {
  const placed = new Set<Node>();
  const place = (node: Node) => {
    if (placed.has(node)) return;
    for (const x of node.inputs) {
      const maker = makers.get(x);
      if (maker) place(maker);
    }
    placed.add(node);
  };
  nodes.forEach(place);
  return [...placed];
}
