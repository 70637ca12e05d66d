/** A graph as text: one line a node. */
import { showShape } from "../core/shape.ts";
import type { Tensor } from "./tensor.ts";
import { reachable } from "./trace.ts";

/** The graph behind `roots`, one line a node: `%3 softmax [4, 7] <- %2   qformer.layer.0`. */
export function printGraph(roots: Iterable<Tensor>): string {
  const nodes = reachable(roots);
  const index = new Map(nodes.map((node, i) => [node, i]));
  const show = (x: Tensor): string => {
    switch (x.source.kind) {
      case "op":
        return `%${index.get(x.source.node)}${x.source.index ? `.${x.source.index}` : ""}`;
      case "param":
        return x.source.name || `param${showShape(x.shape)}`;
      case "input":
        return x.source.name;
      case "constant":
        return `const${showShape(x.shape)}`;
      case "gradient":
        return `gradient of ${show(x.source.param)}`;
      case "shard":
        return `${x.source.buffer}[${x.source.shard}]`;
    }
  };
  return nodes.map((node, i) => {
    const shapes = node.outputs.map((y) => showShape(y.shape)).join(" ");
    return `%${i} ${node.op.name} ${shapes} <- ${node.inputs.map(show).join(" ")}  ${node.scope}`.trimEnd();
  }).join("\n");
}
