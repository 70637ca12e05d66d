/** A trace: what a function of tensors computes and changes, as plain data. */
import type { Node } from "./op.ts";
import type { Param, Tensor } from "./tensor.ts";

/** The things that a step changes besides its outputs, in order. */
export type Effect =
  /** Writes a value into a parameter's place in a state buffer. */
  | {
    readonly kind: "assign";
    readonly param: Param;
    readonly buffer: "param" | "grad";
    readonly value: Tensor;
  }
  /** Runs a node for what it does to the shards that it binds. */
  | { readonly kind: "node"; readonly node: Node };

/** What `trace` records. */
export interface Trace<R> {
  readonly result: R;
  readonly effects: readonly Effect[];
  readonly isTraining: boolean;
  /** The first number that no place of it has drawn random numbers under. */
  readonly endSite: number;
}

/** How a function is traced. */
export interface TraceOptions {
  /** True: dropout drops. */
  readonly isTraining?: boolean;
  /** Number of the first place that draws random numbers: where a step has several traces. */
  readonly firstSite?: number;
  /** Rows of a micro-batch: random numbers are those that its rows draw in the whole batch. */
  readonly microBatch?: number;
}

/**
 * The part of the step that a node belongs to: a segment of the forward pass by its number, the reverse pass, or none.
 * Only `recompute` asks.
 */
export type Part = number | "gradient" | undefined;

interface Context {
  readonly isTraining: boolean;
  readonly microBatch: number | undefined;
  readonly effects: Effect[];
  sites: number;
  segments: number;
  part: Part;
}

let context: Context | undefined;
const scopes: string[] = [];

/** Module path at this point of the trace: `qformer.layer.3`. */
export const scopePath = (): string => scopes.join(".");

/** Names a part of the graph, for messages and profiles. */
export function scope<R>(name: string, fn: () => R): R {
  scopes.push(name);
  try {
    return fn();
  } finally {
    scopes.pop();
  }
}

/** Runs `fn` once on symbolic tensors and records its effects. */
export function trace<R>(fn: () => R, options: TraceOptions = {}): Trace<R> {
  const { isTraining = false, firstSite = 0, microBatch } = options, outer = context;
  const own: Context = {
    isTraining,
    microBatch,
    effects: [],
    sites: firstSite,
    segments: 0,
    part: undefined,
  };
  context = own;
  try {
    const result = fn();
    return { result, effects: own.effects, isTraining, endSite: own.sites };
  } finally {
    context = outer;
  }
}

/** True inside a trace that trains: dropout drops. */
export const isTraining = (): boolean => context?.isTraining ?? false;

/** Rows of the micro-batch that the trace is of, if it is of one. */
export const microBatch = (): number | undefined => context?.microBatch;

/** Number of the next place that draws random numbers. Same program, same numbers: counted in trace order. */
export const nextSite = (): number => {
  if (!context) throw new Error("random numbers need a trace: call the op inside compile or evaluate");
  return context.sites++;
};

/** The part that nodes made now belong to. */
export const currentPart = (): Part => context?.part;

function inPart<R>(part: (context: Context) => Part, fn: () => R): R {
  if (!context) return fn();
  const here = context, outer = here.part;
  here.part = part(here);
  try {
    return fn();
  } finally {
    here.part = outer;
  }
}

/**
 * Marks what `fn` builds as a segment: with `recompute` its inner values are computed again for the gradients instead of
 * being kept. A segment within a segment, or within the reverse pass, is part of it.
 */
export const segment = <R>(fn: () => R): R => inPart((c) => c.part ?? c.segments++, fn);

/** Marks what `fn` builds as the reverse pass. */
export const gradientPass = <R>(fn: () => R): R => inPart(() => "gradient", fn);

/** Records an effect. */
export function addEffect(effect: Effect): void {
  if (!context) throw new Error("an effect needs a trace: call it inside compile or evaluate");
  context.effects.push(effect);
}

/** Sets a parameter to a value at the end of the step. */
export const assign = (param: Param, value: Tensor): void =>
  addEffect({ kind: "assign", param, buffer: "param", value });

/** The value whose bytes a tensor shows: itself, or what it is a view of. */
export function storageOf(tensor: Tensor): Tensor {
  let t = tensor;
  while (t.source.kind === "op" && t.source.node.op.isView) t = t.source.node.inputs[0];
  return t;
}

/** All nodes that `roots` depend on, in order of creation. */
export function reachable(roots: Iterable<Tensor>, nodes: Iterable<Node> = []): Node[] {
  const seen = new Set<Node>();
  const stack: Node[] = [...nodes];
  const push = (x: Tensor) => {
    if (x.source.kind === "op") stack.push(x.source.node);
  };
  for (const root of roots) push(root);
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    node.inputs.forEach(push);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}
