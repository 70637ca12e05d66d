/** A linear layer and its gelu become one node. Plain data: no GPU. */
import { geluOp } from "../ops/elementwise.ts";
import { linearAndGeluOp, type LinearAttrs, linearOp } from "../ops/linear.ts";
import { type Node, type OpDef, storageOf } from "../tensor/op.ts";

const is = <A>(node: Node | undefined, op: OpDef<A>): boolean => node?.op === op as OpDef<unknown>;

/** Where gelu is taken of a linear layer, the product stores both: its gradient needs the one, what follows the other. */
export function mergeGelus(nodes: readonly Node[]): readonly Node[] {
  const makers = new Map(nodes.flatMap((node) => node.outputs.map((y) => [y, node])));
  const merged = new Map<Node, Node>(), dropped = new Set<Node>();
  for (const node of nodes) {
    const product = is(node, geluOp) ? makers.get(storageOf(node.inputs[0])) : undefined;
    if (!product || merged.has(product) || !is(product, linearOp)) continue;
    const { isRelu, hasBias, last } = product.attrs as LinearAttrs;
    if (isRelu || last) continue;
    merged.set(product, {
      ...product,
      op: linearAndGeluOp as OpDef<unknown>,
      attrs: { hasBias },
      outputs: [...product.outputs, ...node.outputs],
    });
    dropped.add(node);
  }
  return nodes.flatMap((node) => dropped.has(node) ? [] : [merged.get(node) ?? node]);
}
