/** Values that are part of the state as they lie there: joined and cut parameters, joined and cut gradients. No copies. */
import { bytesOf, sizeOf } from "../core/shape.ts";
import { concatOp, type SliceAttrs, sliceOp } from "../ops/movement.ts";
import { type Node, type OpDef, storageOf } from "../tensor/op.ts";
import { isParam, type Param, type Tensor } from "../tensor/tensor.ts";
import type { Effect } from "../tensor/trace.ts";

type Assign = Extract<Effect, { kind: "assign" }>;

/** Bytes of the state from `offset` after the start of a parameter, or of its gradient. */
export interface StatePlace {
  readonly kind: "param" | "grad";
  readonly param: Param;
  readonly offset: number;
}

/** What is left to launch and to copy, and where in the state the other values lie. */
export interface StateViews {
  readonly nodes: readonly Node[];
  readonly assigns: readonly Assign[];
  readonly places: ReadonlyMap<Tensor, StatePlace>;
  /** Parameters that only such values read. */
  readonly params: readonly Param[];
}

/** Of a binding's first byte: WebGPU's default. */
const ALIGNMENT = 256;

const is = (node: Node, op: unknown): boolean => node.op === op as OpDef<unknown>;
/** A joining along the first axis. */
const isJoin = (node: Node): boolean =>
  is(node, concatOp) && (node.attrs as { readonly axis: number }).axis === 0;
/** A part of the first axis. */
const isPart = (node: Node): boolean => is(node, sliceOp) && (node.attrs as SliceAttrs).axis === 0;
/** Where a part begins in its whole, in bytes. */
const startOf = ({ inputs: [whole], attrs }: Node): number =>
  4 * (attrs as SliceAttrs).start * sizeOf(whole.shape.slice(1));

/**
 * Finds four kinds of them along the first axis: parameters that lie side by side, joined; a part of a parameter; the
 * gradient of parameters that lie side by side, of which each takes its part; the parts of one parameter's gradient.
 *
 * @param kept Values that must still be there at the end of the step, beside those assigned.
 * @param areAdjacent Whether the parameters lie one behind the other in the state.
 */
export function findStateViews(
  nodes: readonly Node[],
  assigns: readonly Assign[],
  kept: readonly Tensor[],
  areAdjacent: (params: readonly Param[]) => boolean,
): StateViews {
  const places = new Map<Tensor, StatePlace>(), dropped = new Set<Node>(), params: Param[] = [];
  for (const node of nodes) {
    const { inputs: [x], outputs: [y] } = node;
    const isCut = isPart(node) && isParam(x) && startOf(node) % ALIGNMENT === 0;
    if (isCut || (isJoin(node) && node.inputs.every(isParam) && areAdjacent(node.inputs as Param[]))) {
      places.set(y, { kind: "param", param: x as Param, offset: isCut ? startOf(node) : 0 });
      params.push(...node.inputs as Param[]);
      dropped.add(node);
    }
  }

  const readers = new Map<Tensor, (Node | Assign | "kept")[]>();
  const read = (x: Tensor, reader: Node | Assign | "kept") => {
    const list = readers.get(storageOf(x));
    list ? list.push(reader) : readers.set(storageOf(x), [reader]);
  };
  for (const node of nodes) if (!node.op.isView) node.inputs.forEach((x) => read(x, node));
  for (const assign of assigns) read(assign.value, assign);
  for (const x of kept) read(x, "kept");
  const makers = new Map(nodes.flatMap((node) => node.op.isView ? [] : node.outputs.map((y) => [y, node])));
  const readerOf = (x: Tensor) => readers.get(x)?.length === 1 ? readers.get(x)?.[0] : undefined;

  const done = new Set<Assign>();
  const wholes = new Map<Tensor, { readonly node: Node; readonly assign: Assign }[]>();
  for (const assign of assigns) {
    const { value, param } = assign, node = makers.get(value);
    if (assign.buffer !== "grad" || !node || readerOf(value) !== assign) continue;
    if (isPart(node)) {
      const whole = storageOf(node.inputs[0]), list = wholes.get(whole);
      list ? list.push({ node, assign }) : wholes.set(whole, [{ node, assign }]);
    } else if (isJoin(node)) {
      let end = 0;
      const parts = node.inputs.map((x) => ({
        part: storageOf(x),
        offset: (end += bytesOf(x)) - bytesOf(x),
      }));
      const fits = parts.every(({ part, offset }) =>
        makers.has(part) && readerOf(part) === node && offset % ALIGNMENT === 0
      );
      if (!fits) continue;
      for (const { part, offset } of parts) places.set(part, { kind: "grad", param, offset });
      dropped.add(node);
      done.add(assign);
    }
  }
  for (const [whole, parts] of wholes) {
    parts.sort((a, b) => startOf(a.node) - startOf(b.node));
    let end = 0;
    const isCovered = parts.every(({ node: { outputs: [y] }, node }) => {
      const start = end;
      end += bytesOf(y);
      return startOf(node) === start;
    }) && end === bytesOf(whole);
    const owners = parts.map(({ assign }) => assign.param);
    if (
      !isCovered || !makers.has(whole) || readers.get(whole)?.length !== parts.length || !areAdjacent(owners)
    ) {
      continue;
    }
    places.set(whole, { kind: "grad", param: owners[0], offset: 0 });
    for (const { node, assign } of parts) {
      dropped.add(node);
      done.add(assign);
    }
  }
  return {
    nodes: nodes.filter((node) => !dropped.has(node)),
    assigns: assigns.filter((assign) => !done.has(assign)),
    places,
    params,
  };
}
