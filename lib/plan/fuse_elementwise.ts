/** Trees of elementwise ops become one launch each. Plain data: no GPU. */
import { type Shape, sizeOf } from "../core/shape.ts";
import { type Formula, formulaOf, formulaOp, MAX_INPUTS, MAX_OPS, opsOf, type Tree } from "../ops/formula.ts";
import { type Node, type OpDef, storageOf } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { countReaders, nodeLike } from "./fuse.ts";

/**
 * An elementwise op takes in those that make its inputs, where nothing else reads them and they have as many elements: the
 * same operations on each element in the same order, without the memory between them.
 *
 * @param nodes In order of execution.
 * @param kept Values that must still be there at the end of the step.
 */
export function fuseElementwise(nodes: readonly Node[], kept: readonly Tensor[]): readonly Node[] {
  const readers = countReaders(nodes, kept);
  const trees = new Map<Tensor, { readonly tree: Tree; readonly node: Node }>(), taken = new Set<Node>();
  const fused = new Map<Node, Tree>();
  for (const node of nodes) {
    const formula = node.op.isView ? undefined : formulaOf(node.op, node.inputs.length, node.attrs);
    const [y] = node.outputs;
    if (!formula) continue;
    let tree: Tree = { formula, inputs: node.inputs.map((x) => ({ x, to: y.shape })) };
    for (const x of new Set(node.inputs)) {
      const value = storageOf(x), inner = trees.get(value);
      if (!inner || readers.get(value) !== 1 || sizeOf(value.shape) !== sizeOf(y.shape)) continue;
      const larger = replaceInput(tree, x, inner.tree);
      if (larger.inputs.length > MAX_INPUTS || opsOf(larger.formula).length > MAX_OPS) continue;
      tree = larger;
      taken.add(inner.node);
    }
    trees.set(y, { tree, node });
    if (opsOf(tree.formula).length > opsOf(formula).length) fused.set(node, tree);
  }
  return nodes.flatMap((node) => {
    const tree = fused.get(node);
    if (taken.has(node)) return [];
    return tree ? [formulaNode(node, tree)] : [node];
  });
}

/** The tree with another tree in the place of an input. Equal inputs become one. */
function replaceInput({ formula, inputs }: Tree, x: Tensor, inner: Tree): Tree {
  const all: Tree["inputs"][number][] = [];
  const indexOf = (one: { readonly x: Tensor; readonly to: Shape }): number => {
    const known = all.findIndex((other) => other.x === one.x && other.to === one.to);
    return known < 0 ? all.push(one) - 1 : known;
  };
  const rebuilt = (f: Formula, tree: Tree): Formula => {
    if (!("input" in f)) return { ...f, terms: f.terms.map((term) => rebuilt(term, tree)) };
    const one = tree.inputs[f.input];
    return one.x === x && tree !== inner ? rebuilt(inner.formula, inner) : { input: indexOf(one) };
  };
  const whole = rebuilt(formula, { formula, inputs });
  return { formula: whole, inputs: all };
}

const formulaNode = (node: Node, { formula, inputs }: Tree): Node =>
  nodeLike(node, {
    op: formulaOp as OpDef<unknown>,
    inputs: inputs.map(({ x }) => x),
    attrs: { formula, to: inputs.map(({ to }) => to) },
  }, node.outputs[0]);
