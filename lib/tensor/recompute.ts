/** Trades time for memory: the inner values of a trace's segments are computed again where a gradient reads them. */
import { applyNode, type Node, storageOf } from "./op.ts";
import type { Tensor } from "./tensor.ts";
import { type Effect, reachable, scope, type Trace } from "./trace.ts";

/** A trace whose reverse pass was rebuilt. */
export interface Recomputed {
  readonly effects: readonly Effect[];
  /** The tensor that stands for one of the original trace. */
  replace(tensor: Tensor): Tensor;
}

/**
 * Rebuilds the reverse pass of a trace so that it reads no inner value of a segment: such values are computed again, each
 * just before its first reader, by the same ops with the same attributes. So dropout drops the same elements, and every
 * gradient has the same bits. What leaves a segment forwards is kept, and so are `roots`. The originals then live only as
 * long as the forward pass needs them.
 *
 * Source: Chen et al., "Training deep nets with sublinear memory cost" (2016).
 *
 * @param roots Outputs and results of the trace.
 */
export function recompute(
  { effects }: Pick<Trace<unknown>, "effects">,
  roots: readonly Tensor[],
): Recomputed {
  const nodes = reachable(
    [...roots, ...effects.flatMap((e) => e.kind === "assign" ? [e.value] : [])],
    effects.flatMap((e) => e.kind === "node" ? [e.node] : []),
  );
  const firstGradient = nodes.findIndex(({ part }) => part === "gradient");
  if (firstGradient < 0) return { effects, replace: (tensor) => tensor };

  const kept = new Set(roots.map(storageOf));
  for (const node of nodes) {
    if (node.part === "gradient") continue;
    for (const x of node.inputs) if (nodeOf(x)?.part !== node.part) kept.add(storageOf(x));
  }
  /** The node to run again for a value; none where the value is there. */
  const againFor = (x: Tensor): Node | undefined => {
    const storage = storageOf(x);
    return typeof nodeOf(storage)?.part === "number" && !kept.has(storage) ? nodeOf(x) : undefined;
  };

  const rebuilt = new Map<Node, Node>(), replaced = new Map<Tensor, Tensor>();
  const rebuild = (node: Node, read: (x: Tensor) => Tensor): Node => {
    const copy = scope(node.scope, () => applyNode(node.op, node.inputs.map(read), node.attrs));
    rebuilt.set(node, copy);
    node.outputs.forEach((y, i) => replaced.set(y, copy.outputs[i]));
    return copy;
  };
  const again = (x: Tensor): Tensor => {
    const node = replaced.has(x) ? undefined : againFor(x);
    if (node) rebuild(node, again);
    return replaced.get(x) ?? x;
  };
  for (const node of nodes.slice(firstGradient)) {
    rebuild(node, node.part === "gradient" ? again : (x) => replaced.get(x) ?? x);
  }
  return {
    effects: effects.map((e) =>
      e.kind === "assign"
        ? { ...e, value: replaced.get(e.value) ?? e.value }
        : { ...e, node: rebuilt.get(e.node) ?? e.node }
    ),
    replace: (tensor) => replaced.get(tensor) ?? tensor,
  };
}

const nodeOf = ({ source }: Tensor): Node | undefined => source.kind === "op" ? source.node : undefined;
