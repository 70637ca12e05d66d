/** The reverse pass: from a scalar back to whatever it depends on, as graph. */
import { ShapeError } from "../core/errors.ts";
import { sameShape, showShape, sizeOf } from "../core/shape.ts";
import type { Node } from "./op.ts";
import type { Tensor } from "./tensor.ts";
import { gradientPass, reachable, scope } from "./trace.ts";

/** The two graph builders that the pass needs; `lib/ops` provides them. */
export interface GradBuilders {
  /** Sum of two or more tensors of one shape. */
  sum(terms: readonly Tensor[]): Tensor;
  /** A tensor of ones. */
  ones(like: Tensor): Tensor;
}

/**
 * Gradients of `loss` with respect to each tensor of `wrt` that it depends on.
 * A tensor that `loss` does not depend on is absent from the map: PyTorch's `None`, which is not a gradient of zeros.
 *
 * @param loss One element.
 * @throws {ShapeError} If `loss` has more than one element.
 * @throws {Error} If the path passes an op without a gradient (named in the message).
 */
export function backward(
  loss: Tensor,
  wrt: Iterable<Tensor>,
  { sum, ones }: GradBuilders,
): Map<Tensor, Tensor> {
  if (sizeOf(loss.shape) !== 1) {
    throw new ShapeError(`a gradient needs a loss of one element, got ${showShape(loss.shape)}`);
  }
  return gradientPass(() => pullback(new Map([[loss, ones(loss)]]), wrt, sum));
}

/**
 * Gradients with respect to `wrt` of whatever has `seeds` as its gradients with respect to their keys: the reverse pass
 * from the middle of a graph.
 *
 * @param options.onGradient Called with each gradient as soon as it is whole: nodes made here run before the rest.
 * @throws {Error} If the path passes an op without a gradient (named in the message).
 */
export const backwardFrom = <T extends Tensor>(
  seeds: ReadonlyMap<Tensor, Tensor>,
  wrt: Iterable<T>,
  { sum, onGradient }: Pick<GradBuilders, "sum"> & { readonly onGradient?: (x: T, dx: Tensor) => void },
): Map<T, Tensor> => gradientPass(() => pullback(seeds, wrt, sum, onGradient));

function pullback<T extends Tensor>(
  seeds: ReadonlyMap<Tensor, Tensor>,
  wrt: Iterable<T>,
  sum: GradBuilders["sum"],
  onGradient?: (x: T, dx: Tensor) => void,
): Map<T, Tensor> {
  const wanted = new Set(wrt);
  const nodes = reachable(seeds.keys());
  // Forward sweep: which tensors lie on a path from `wrt` to the seeds.
  const active = new Set<Tensor>(wanted);
  for (const node of nodes) {
    if (node.inputs.some((x) => active.has(x))) node.outputs.forEach((y) => active.add(y));
  }

  const terms = new Map<Tensor, Tensor[]>();
  for (const [y, dy] of seeds) {
    if (!sameShape(y.shape, dy.shape)) {
      throw new ShapeError(`a gradient is ${showShape(dy.shape)}, its tensor ${showShape(y.shape)}`);
    }
    if (active.has(y)) terms.set(y, [dy]);
  }
  const total = (x: Tensor): Tensor | undefined => {
    const list = terms.get(x);
    if (!list) return undefined;
    if (list.length > 1) terms.set(x, [sum(list)]);
    return terms.get(x)?.[0];
  };
  // A gradient is whole after the first node that reads its tensor: it is summed then, and not at the end.
  const result = new Map<T, Tensor>();
  const finish = (x: T) => {
    const dx = result.has(x) ? undefined : total(x);
    if (!dx) return;
    result.set(x, dx);
    onGradient?.(x, dx);
  };
  const firstReader = new Map<Tensor, Node>();
  for (const node of nodes) {
    for (const x of node.inputs) if (!firstReader.has(x)) firstReader.set(x, node);
  }
  const finishedBy = new Map<Node, T[]>();
  for (const x of wanted) {
    const node = firstReader.get(x);
    if (node) finishedBy.set(node, [...finishedBy.get(node) ?? [], x]);
  }
  const visit = (node: Node) => {
    if (!node.inputs.some((x) => active.has(x))) return;
    if (node.outputs.slice(1).some((y) => terms.has(y))) throw noGradient(node, "of its auxiliary outputs");
    const dy = total(node.outputs[0]);
    if (!dy) return;
    if (!node.op.backward) throw noGradient(node, "");
    const rule = node.op.backward.bind(node.op);
    const context = { inputs: node.inputs, outputs: node.outputs, dy, attrs: node.attrs };
    const grads = node.scope ? scope(node.scope, () => rule(context)) : rule(context);
    node.inputs.forEach((x, i) => {
      const dx = grads[i];
      if (!dx || !active.has(x)) return;
      if (!sameShape(dx.shape, x.shape)) {
        throw new Error(
          `${node.op.name}: gradient ${i} is ${showShape(dx.shape)}, the input ${showShape(x.shape)}`,
        );
      }
      const list = terms.get(x);
      list ? list.push(dx) : terms.set(x, [dx]);
    });
  };
  for (const node of nodes.toReversed()) {
    visit(node);
    finishedBy.get(node)?.forEach(finish);
  }
  for (const x of wanted) finish(x);
  return new Map([...wanted].flatMap((x) => {
    const dx = result.get(x);
    return dx ? [[x, dx]] : [];
  }));
}

const noGradient = (node: Node, what: string): Error =>
  new Error(`${node.op.name} has no gradient ${what}`.trim() + (node.scope ? ` (in ${node.scope})` : ""));
