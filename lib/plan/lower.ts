/** From a trace to a list of launches, with a place for every value. Plain data: no GPU. */
import { GpuError } from "../core/errors.ts";
import { bytesOf, showShape } from "../core/shape.ts";
import { anyDevice, type Node, storageOf, type Target } from "../tensor/op.ts";
import { type Effect, reachable, type Trace } from "../tensor/trace.ts";
import type { Param, Tensor, TensorData } from "../tensor/tensor.ts";
import { foldIntoProducts } from "./fuse.ts";
import { mergeCrossEntropies } from "./fuse_cross_entropy.ts";
import { fuseElementwise } from "./fuse_elementwise.ts";
import { mergeGelus } from "./fuse_gelu.ts";
import { mergeLayerNormGrads } from "./fuse_layer_norm.ts";
import { planMemory } from "./memory.ts";
import { boundBy, launchesOf, type Member, schedule } from "./schedule.ts";
import type { StatePlaces } from "./state_layout.ts";
import { findStateViews, type StatePlace } from "./state_views.ts";

/** Where the bytes of a value are. */
export type Place =
  | { readonly kind: "slab"; readonly slab: number; readonly offset: number }
  | { readonly kind: "input"; readonly name: string }
  | { readonly kind: "constant"; readonly index: number }
  | StatePlace
  | { readonly kind: "shard"; readonly buffer: ShardBuffer; readonly shard: number };
type ShardBuffer = Extract<Tensor["source"], { kind: "shard" }>["buffer"];

/** What the step does, in order. */
export type Step =
  | { readonly kind: "launch"; readonly members: readonly Member[] }
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
  /** In the order of the graph. */
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
  /** False: no launch does the work of several. Default: as `fused`, and not without reuse, which looks for one launch. */
  readonly grouped?: boolean;
  /** What the launches may rely on. */
  readonly target?: Target;
  /** How the state lies; as default each parameter for itself. */
  readonly state?: StatePlaces;
}

/** Fewer nodes that give the same bits. */
const fuse = (nodes: readonly Node[], kept: readonly Tensor[]): readonly Node[] =>
  mergeLayerNormGrads(fuseElementwise(foldIntoProducts(mergeGelus(mergeCrossEntropies(nodes)), kept), kept));

/**
 * Orders the nodes, finds lifetimes and places.
 *
 * @param roots What must still be there at the end of the step: outputs and results.
 */
export function lower(
  trace: Pick<Trace<unknown>, "effects">,
  roots: readonly Tensor[],
  { noReuse = false, fused = true, grouped = fused && !noReuse, target = anyDevice, state }: LowerOptions =
    {},
): Lowered {
  const allAssigns = trace.effects.flatMap((e) => e.kind === "assign" ? [e] : []);
  const effectNodes = trace.effects.flatMap((e) => e.kind === "node" ? [e.node] : []);
  const kept = [...roots, ...allAssigns.map((e) => e.value)];
  const traced = reachable(kept, effectNodes);
  const launched = fused ? fuse(traced, kept) : traced;
  const views = findStateViews(launched, allAssigns, roots, (params) => state?.areAdjacent(params) ?? false);
  const { nodes, assigns } = views;
  const effects = new Set(effectNodes);
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

  nodes.forEach((node) => node.inputs.forEach(meet));
  for (const { value } of assigns) meet(value);
  roots.forEach(meet);

  /** The place of a value that is in no slab. */
  const fixedPlace = (t: Tensor): Place | undefined => {
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
        const param = placed.get(t);
        return views.places.get(t) ?? (param && { kind: "grad", param, offset: 0 });
      }
    }
  };
  const order = [...params];
  const bufferOf = (t: Tensor): string | undefined => {
    const place = fixedPlace(t);
    if (!place) return undefined;
    if (place.kind !== "param" && place.kind !== "grad") return JSON.stringify(place);
    return `${place.kind} ${state?.shardOf(place.param) ?? `alone ${order.indexOf(place.param)}`}`;
  };

  const members = launchesOf(nodes, target);
  // Gradients must be in place before the first node that works on the shards.
  const effectAt = members.findIndex(({ node }) => effects.has(node));
  const { launches, beforeState, homes, homeOf } = schedule(
    members,
    effectAt < 0 ? members.length : effectAt,
    grouped,
    bufferOf,
  );
  const steps: Step[] = [];
  const copies = assigns.filter((e) => placed.get(storageOf(e.value)) !== e.param || e.buffer !== "grad");
  const addCopies = (buffer: "param" | "grad") => {
    for (const e of copies) {
      if (e.buffer === buffer) steps.push({ kind: "copy", value: e.value, param: e.param, buffer });
    }
  };
  launches.forEach((members, i) => {
    if (i === beforeState) addCopies("grad");
    steps.push({ kind: "launch", members });
  });
  if (beforeState === launches.length) addCopies("grad");
  addCopies("param");

  const lives = livesOf(steps, roots);
  const values = nodes.flatMap((node) => node.op.isView ? [] : node.outputs).filter((t) => !fixedPlace(t));
  const intervals = values.map((t) => {
    const { first, last } = lives.get(t) ?? { first: 0, last: steps.length }; // no launch binds it
    const home = homeOf(t);
    return {
      bytes: bytesOf(t),
      ...noReuse ? { first: 0, last: steps.length } : { first, last },
      home: home === undefined ? undefined : homes.of(home),
    };
  });
  const memory = planMemory(intervals, (home) => homes.apartFrom(home));
  const slabOf = new Map(values.map((t, i): [Tensor, Place] => [t, {
    kind: "slab",
    slab: memory.slabOf[i],
    offset: memory.offsetOf[i],
  }]));
  const place = (tensor: Tensor): Place => {
    const t = storageOf(tensor), found = fixedPlace(t) ?? slabOf.get(t);
    if (found) return found;
    const name = t.source.kind === "op" ? t.source.node.op.name : t.source.kind;
    throw new GpuError(`${name} ${showShape(t.shape)} has no place in this plan`);
  };
  const totalBytes = intervals.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    ...{ steps, nodes, inputs, constants, params, slabs: memory.slabs, peakBytes: memory.peakBytes },
    ...{ totalBytes, place },
  };
}

/** The first and the last step that needs each value; what is kept is needed to the end. */
function livesOf(
  steps: readonly Step[],
  kept: readonly Tensor[],
): ReadonlyMap<Tensor, { readonly first: number; readonly last: number }> {
  const lives = new Map<Tensor, { first: number; last: number }>();
  const touch = (value: Tensor, step: number) => {
    const life = lives.get(value);
    if (life) life.last = step;
    else lives.set(value, { first: step, last: step });
  };
  steps.forEach((step, i) => {
    if (step.kind === "copy") touch(storageOf(step.value), i);
    else for (const { dispatch } of step.members) for (const { value } of boundBy(dispatch)) touch(value, i);
  });
  for (const root of kept) touch(storageOf(root), steps.length);
  return lives;
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
