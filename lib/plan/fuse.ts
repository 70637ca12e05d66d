/** Rewrites a plan's nodes into fewer ones that give the same bits. Plain data: no GPU. */
import { sizeOf } from "../core/shape.ts";
import { addNOp, addOp, geluGradOp } from "../ops/elementwise.ts";
import { type LastStep, type Node, type OpDef, storageOf } from "../tensor/op.ts";
import { Tensor } from "../tensor/tensor.ts";

/**
 * Folds what is done with a product that nothing else reads into the product, which does it while it stores
 * (`OpDef.withLast`): sums, and the gradient of gelu. `a + b + p` becomes `p plus (a + b)`: from left to right, as before.
 *
 * @param nodes In order of execution.
 * @param kept Values that must still be there at the end of the step.
 */
export function foldIntoProducts(nodes: readonly Node[], kept: readonly Tensor[]): readonly Node[] {
  const readers = countReaders(nodes, kept);
  const makers = new Map(nodes.flatMap((node, step) => node.outputs.map((y) => [y, { node, step }])));
  const products = new Set(nodes.filter((node) => node.op.withLast)); // those without a last step
  const folded = new Set<Node>(); // nodes that others take the place of
  const added: { readonly node: Node; readonly step: number }[] = [];

  const stepOf = (values: readonly Tensor[]): number =>
    Math.max(...values.map((x) => makers.get(storageOf(x))?.step ?? -1));
  /** The product behind a term, if the term is all that it is for. */
  const productOf = (term: Tensor): Node | undefined => {
    const value = storageOf(term), node = makers.get(value)?.node;
    const isFree = node && products.has(node) && node.outputs[0] === value && readers.get(value) === 1;
    return isFree ? node : undefined;
  };
  /** A product waits for what it takes in; not if something reads its other outputs meanwhile. */
  const canWait = (product: Node, step: number): boolean =>
    step <= stepOf(product.outputs) || !product.outputs.slice(1).some((y) => readers.has(y));
  /** Takes the place of a product and of what is done with it. A value in between is `like` the sum: products are flat. */
  const fold = (
    product: Node,
    step: LastStep,
    other: Tensor,
    output: Tensor | undefined,
    like: Tensor,
  ): Tensor => {
    const at = stepOf([...product.outputs, other]);
    products.delete(product);
    folded.add(product);
    return place(lastNode(product, step, other, output, like), at);
  };
  /** Adds a node at the step at which the last of what it reads is there. */
  const place = (node: Node, step: number): Tensor => {
    added.push({ node, step });
    makers.set(node.outputs[0], { node, step });
    return node.outputs[0];
  };

  for (const node of nodes) {
    if (node.op === geluGradOp as OpDef<unknown>) {
      const [z, dy] = node.inputs, product = productOf(dy);
      if (!product || !canWait(product, stepOf([z]))) continue;
      fold(product, "timesGeluSlope", z, node.outputs[0], node.outputs[0]);
      folded.add(node);
    }
    if (!isSum(node) || !node.inputs.some(productOf)) continue;
    const [first, second, ...others] = node.inputs;
    // b + a = a + b, to the bit: a product in front takes the second term in.
    const terms = productOf(second) ? node.inputs : [second, first, ...others];
    let run = [terms[0]]; // what is to be added to the next product
    terms.slice(1).forEach((term, i) => {
      const output = i === terms.length - 2 ? node.outputs[0] : undefined;
      const product = productOf(term), step = stepOf(run);
      if (product && canWait(product, step)) {
        const rest = run.length === 1 ? run[0] : place(sumNode(node, run), step);
        run = [fold(product, "plus", rest, output, node.outputs[0])];
      } else {
        run.push(term);
        if (output) place(sumNode(node, run, output), stepOf(run));
      }
    });
    folded.add(node);
  }
  return [
    ...nodes.flatMap((node, step) => folded.has(node) ? [] : [{ node, step }]),
    ...added,
  ].sort((a, b) => a.step - b.step).map(({ node }) => node);
}

const sums: readonly OpDef<unknown>[] = [addOp as OpDef<unknown>, addNOp as OpDef<unknown>];
/** A sum without broadcasting. */
const isSum = ({ op, inputs, outputs: [y] }: Node): boolean =>
  sums.includes(op) && inputs.every((x) => sizeOf(x.shape) === sizeOf(y.shape));

/** How often each value is read by launches and kept at the end. */
export function countReaders(nodes: readonly Node[], kept: readonly Tensor[]): ReadonlyMap<Tensor, number> {
  const counts = new Map<Tensor, number>();
  for (const x of [...nodes.flatMap((node) => node.op.isView ? [] : node.inputs), ...kept]) {
    counts.set(storageOf(x), (counts.get(storageOf(x)) ?? 0) + 1);
  }
  return counts;
}

/** A node like `node`, whose first output is `output`, or a new value like the node's own or another. */
export function nodeLike(
  node: Node,
  changes: Partial<Node>,
  output?: Tensor,
  like: Tensor = node.outputs[0],
): Node {
  const outputs: Tensor[] = [], made = { ...node, ...changes, outputs };
  outputs.push(output ?? new Tensor(like, { kind: "op", node: made, index: 0 }));
  outputs.push(...node.outputs.slice(1));
  return made;
}
const sumNode = (node: Node, terms: readonly Tensor[], output?: Tensor): Node =>
  nodeLike(node, { op: sums[terms.length === 2 ? 0 : 1], inputs: terms }, output);
function lastNode(
  product: Node,
  step: LastStep,
  other: Tensor,
  output: Tensor | undefined,
  like: Tensor,
): Node {
  const attrs = product.op.withLast?.(product.attrs, step);
  return nodeLike(product, { inputs: [...product.inputs, other], attrs }, output, like);
}
