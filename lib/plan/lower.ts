/** From a trace to a list of launches, with a place for every value. Plain data: no GPU. */
import { GpuError } from "../core/errors.ts";
import { bytesOf, showShape } from "../core/shape.ts";
import { anyDevice, type Cost, type Dispatch, type Node, storageOf, type Target } from "../tensor/op.ts";
import { type Effect, reachable, type Trace } from "../tensor/trace.ts";
import type { Param, Tensor, TensorData } from "../tensor/tensor.ts";
import { foldIntoProducts } from "./fuse.ts";
import { mergeCrossEntropies } from "./fuse_cross_entropy.ts";
import { fuseElementwise } from "./fuse_elementwise.ts";
import { mergeLayerNormGrads } from "./fuse_layer_norm.ts";
import { planMemory } from "./memory.ts";
import { findStateViews, type StatePlace } from "./state_views.ts";

/** Where the bytes of a value are. */
export type Place =
  | { readonly kind: "slab"; readonly slab: number }
  | { readonly kind: "input"; readonly name: string }
  | { readonly kind: "constant"; readonly index: number }
  | StatePlace
  | { readonly kind: "shard"; readonly buffer: ShardBuffer; readonly shard: number };
type ShardBuffer = Extract<Tensor["source"], { kind: "shard" }>["buffer"];

/** What the step does, in order. */
export type Step =
  | { readonly kind: "dispatch"; readonly dispatch: Dispatch; readonly node: Node; readonly cost: Cost }
  /** A copy into a state buffer, where a value could not be placed there at once. */
  | {
    readonly kind: "copy";
    readonly value: Tensor;
    readonly param: Param;
    readonly buffer: "param" | "grad";
  };

/** A trace, lowered. */
export interface Lowered {
  readonly steps: readonly Step[];
  /** In order of execution. */
  readonly nodes: readonly Node[];
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly constants: readonly TensorData[];
  readonly params: ReadonlySet<Param>;
  /** Bytes of each slab. */
  readonly slabs: readonly number[];
  readonly peakBytes: number;
  /** Bytes that all values would take without reuse. */
  readonly totalBytes: number;
  place(tensor: Tensor): Place;
}

/** Options of `lower`. */
export interface LowerOptions {
  /** A slab of its own for every value: for the sentinels of tests and the search for the first NaN. */
  readonly noReuse?: boolean;
  /** False: one launch after another as the graph says, for comparison. */
  readonly fused?: boolean;
  /** What the launches may rely on. */
  readonly target?: Target;
  /** Whether parameters lie one behind the other in the state; as default none do. */
  readonly areAdjacent?: (params: readonly Param[]) => boolean;
}

/** Fewer nodes that give the same bits. */
const fuse = (nodes: readonly Node[], kept: readonly Tensor[]): readonly Node[] =>
  mergeLayerNormGrads(fuseElementwise(foldIntoProducts(mergeCrossEntropies(nodes), kept), kept));

/**
 * Orders the nodes, finds lifetimes and places.
 *
 * @param roots What must still be there at the end of the step: outputs and results.
 */
export function lower(
  trace: Pick<Trace<unknown>, "effects">,
  roots: readonly Tensor[],
  { noReuse = false, fused = true, target = anyDevice, areAdjacent = () => false }: LowerOptions = {},
): Lowered {
  const allAssigns = trace.effects.flatMap((e) => e.kind === "assign" ? [e] : []);
  const effectNodes = trace.effects.flatMap((e) => e.kind === "node" ? [e.node] : []);
  const kept = [...roots, ...allAssigns.map((e) => e.value)];
  const traced = reachable(kept, effectNodes);
  const launched = fused ? fuse(traced, kept) : traced;
  const views = findStateViews(launched, allAssigns, roots, areAdjacent);
  const { nodes, assigns } = views;
  const effects = new Set(effectNodes);
  // Gradients must be in place before the first node that works on the shards.
  const firstEffect = nodes.findIndex((node) => effects.has(node));
  const copyAt = firstEffect < 0 ? nodes.length : firstEffect;

  const placed = placeGradients(assigns, [
    ...roots,
    ...nodes.flatMap((node) => node.op.isView ? [] : node.inputs),
  ]);
  const inputs = new Map<string, Tensor>();
  const constants: TensorData[] = [];
  const constantIndex = new Map<Tensor, number>();
  const params = new Set(views.params);
  const meet = (tensor: Tensor) => {
    const t = storageOf(tensor);
    if (t.source.kind === "input") {
      const known = inputs.get(t.source.name);
      if (known && known !== t) throw new GpuError(`two inputs are named "${t.source.name}"`);
      inputs.set(t.source.name, t);
    } else if (t.source.kind === "constant" && !constantIndex.has(t)) {
      constantIndex.set(t, constants.push(t.source.data) - 1);
    } else if (t.source.kind === "param") params.add(t as Param);
  };

  const first = new Map<Tensor, number>(), last = new Map<Tensor, number>();
  const touch = (tensor: Tensor, step: number) => {
    const t = storageOf(tensor);
    if (first.has(t)) last.set(t, Math.max(last.get(t) ?? 0, step));
  };
  nodes.forEach((node, i) => {
    node.inputs.forEach(meet);
    if (node.op.isView) return;
    for (const y of node.outputs) {
      first.set(y, i);
      last.set(y, i);
    }
  });
  nodes.forEach((node, i) => node.op.isView || node.inputs.forEach((x) => touch(x, i)));
  for (const { value } of assigns) {
    meet(value);
    touch(value, copyAt);
  }
  for (const root of roots) {
    meet(root);
    touch(root, nodes.length);
  }

  const values = [...first.keys()].filter((t) => !placed.has(t) && !views.places.has(t));
  const intervals = values.map((t) => ({
    bytes: bytesOf(t),
    first: noReuse ? 0 : first.get(t) ?? 0,
    last: noReuse ? nodes.length : last.get(t) ?? 0,
  }));
  const memory = planMemory(intervals);
  const slabOf = new Map(values.map((t, i) => [t, memory.slabOf[i]]));

  const steps: Step[] = [];
  const copies = assigns.filter((e) => placed.get(storageOf(e.value)) !== e.param || e.buffer !== "grad");
  const addCopies = (buffer: "param" | "grad") => {
    for (const e of copies) {
      if (e.buffer === buffer) steps.push({ kind: "copy", value: e.value, param: e.param, buffer });
    }
  };
  nodes.forEach((node, i) => {
    if (i === copyAt) addCopies("grad");
    if (node.op.isView) return;
    const cost = node.op.cost(node.inputs, node.outputs, node.attrs);
    for (const dispatch of node.op.dispatch(node.inputs, node.outputs, node.attrs, target)) {
      steps.push({ kind: "dispatch", dispatch, node, cost });
    }
  });
  if (copyAt === nodes.length) addCopies("grad");
  addCopies("param");

  const place = (tensor: Tensor): Place => {
    const t = storageOf(tensor);
    const { source } = t;
    switch (source.kind) {
      case "input":
        return { kind: "input", name: source.name };
      case "constant":
        return { kind: "constant", index: constantIndex.get(t) ?? -1 };
      case "param":
        return { kind: "param", param: t as Param, offset: 0 };
      case "gradient":
        return { kind: "grad", param: source.param, offset: 0 };
      case "shard":
        return { kind: "shard", buffer: source.buffer, shard: source.shard };
      case "op": {
        const view = views.places.get(t), param = placed.get(t);
        if (view) return view;
        if (param) return { kind: "grad", param, offset: 0 };
        const slab = slabOf.get(t);
        if (slab === undefined) {
          throw new GpuError(`${source.node.op.name} ${showShape(t.shape)} has no place in this plan`);
        }
        return { kind: "slab", slab };
      }
    }
  };
  const totalBytes = intervals.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    steps,
    nodes,
    inputs,
    constants,
    params,
    slabs: memory.slabs,
    peakBytes: memory.peakBytes,
    totalBytes,
    place,
  };
}

/**
 * Gradients that are written where they belong by the op that makes them: no copy.
 * Not those that something else reads: a launch must not read and write one shard.
 */
function placeGradients(
  assigns: readonly Extract<Effect, { kind: "assign" }>[],
  readers: readonly Tensor[],
): Map<Tensor, Param> {
  const isRead = new Set(readers.map(storageOf));
  const uses = new Map<Tensor, number>();
  for (const { value } of assigns) uses.set(storageOf(value), (uses.get(storageOf(value)) ?? 0) + 1);
  const placed = new Map<Tensor, Param>();
  for (const { value, param, buffer } of assigns) {
    const t = storageOf(value);
    if (buffer === "grad" && t.source.kind === "op" && uses.get(t) === 1 && !isRead.has(t)) {
      placed.set(t, param);
    }
  }
  return placed;
}
