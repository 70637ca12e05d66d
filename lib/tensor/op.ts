/** What an op must say: shape rule, dispatches, gradient, cost. All of it is plain data. */
import { GpuError, isUserError } from "../core/errors.ts";
import type { TensorSpec } from "../core/shape.ts";
import { Tensor } from "./tensor.ts";
import { currentPart, type Part, scopePath } from "./trace.ts";

/** A WGSL file: its name (for messages) and its text. */
export interface Kernel {
  /** Path from the project's root: `kernels/softmax.wgsl`. */
  readonly file: string;
  /** The file's text, without its preludes. */
  readonly wgsl: string;
}

/** One launch of one entry point. */
export interface Dispatch {
  readonly kernel: Kernel;
  /** Name of the entry point. */
  readonly entry: string;
  /** Values of the kernel's `Sizes` struct by name: u32 and f32 fields (group 1, binding 0). */
  readonly sizes: Readonly<Record<string, number>>;
  /** Workgroups in x, y, z; each at most 65,535: see `foldGrid`. */
  readonly grid: readonly [number, number, number];
  /** The tensor of each binding of group 0, by the binding's name. An input, an output, or a shard. */
  readonly bind: Readonly<Record<string, Tensor>>;
  /** Values for `override` constants: tile and workgroup sizes only. */
  readonly constants?: Readonly<Record<string, number>>;
}

/** What a dispatch may rely on: plain facts about a device. */
export interface Target {
  /** Drivers that run shaders on the CPU and GPUs want opposite kernels. */
  readonly deviceClass: "software" | "gpu";
  /** Lanes that every subgroup has at least; 0 without subgroups. */
  readonly subgroupLanes: number;
}

/** A CPU's driver without subgroups: its kernels run everywhere. */
export const anyDevice: Target = { deviceClass: "software", subgroupLanes: 0 };

/** Floor of the work: each byte once, each flop that the formula needs. */
export interface Cost {
  readonly flops: number;
  readonly bytes: number;
}

/** What a gradient rule sees. */
export interface BackwardContext<A> {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** Gradient of `outputs[0]`. The other outputs are auxiliary: they take none. */
  readonly dy: Tensor;
  readonly attrs: A;
}

/** A last step with another tensor before a value is stored: adds it, or multiplies by its slope of gelu. */
export type LastStep = "plus" | "timesGeluSlope";
/** Values of `lastStep` in the kernels that do one. */
export const LAST_STEPS: Readonly<Record<LastStep, number>> = { plus: 1, timesGeluSlope: 2 };

/** An op: one record. Method syntax on purpose: it lets `OpDef<A>` stand in a list of `OpDef<unknown>`. */
export interface OpDef<A> {
  /** As its function and its line in `lib/ops/index.ts`: messages and profiles show it. */
  readonly name: string;
  /** True if the output is the input under another shape: no launch, no memory. */
  readonly isView?: boolean;
  /** Shape rule. @throws {ShapeError} */
  outputs(inputs: readonly Tensor[], attrs: A): readonly TensorSpec[];
  /** The launches on a device of which `target` holds. A view has none. */
  dispatch(
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    attrs: A,
    target: Target,
  ): readonly Dispatch[];
  /** Builds the gradients of the inputs as graph; `undefined` where an input has none. What nobody uses is dropped later. */
  backward?(context: BackwardContext<A>): readonly (Tensor | undefined)[];
  /**
   * The attributes under which the op takes one more input, like its first output, and does a last step with it in the
   * same launches. The plan calls it; `outputs` and `backward` never see that input.
   */
  withLast?(attrs: A, step: LastStep): A;
  /** The least work that the formula needs, whatever the kernel does. */
  cost(inputs: readonly Tensor[], outputs: readonly Tensor[], attrs: A): Cost;
}

/** One application of an op. */
export interface Node {
  /** Order of creation: a topological order of the graph. */
  readonly id: number;
  readonly op: OpDef<unknown>;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attrs: unknown;
  /** Module path at the call, for messages and profiles. */
  readonly scope: string;
  readonly part: Part;
}

/** Checks nothing at run time; fixes the type of `attrs`. */
export const defineOp = <A = undefined>(op: OpDef<A>): OpDef<A> => op;

let nextId = 0;

/** Puts a node into the graph. Shape errors get the module path, or the first named parameter, as their place. */
export function applyNode<A>(op: OpDef<A>, inputs: readonly Tensor[], attrs: A): Node {
  const outputs: Tensor[] = [];
  const node: Node = {
    id: nextId++,
    op: op as OpDef<unknown>,
    inputs,
    outputs,
    attrs,
    scope: scopePath(),
    part: currentPart(),
  };
  try {
    op.outputs(inputs, attrs).forEach((spec, index) =>
      outputs.push(new Tensor(spec, { kind: "op", node, index }))
    );
  } catch (error) {
    if (isUserError(error)) {
      const key = inputs.flatMap((x) => x.source.kind === "param" && x.source.name ? [x.source.name] : [])[0];
      error.where ??= node.scope || key;
      if (!error.message.startsWith(op.name)) error.message = `${op.name}: ${error.message}`;
    }
    throw error;
  }
  return node;
}

/** Applies an op and gives its first output. @throws {ShapeError} By the op's shape rule. */
export function apply(op: OpDef<undefined>, inputs: readonly Tensor[]): Tensor;
/** Applies an op that has attributes. */
export function apply<A>(op: OpDef<A>, inputs: readonly Tensor[], attrs: A): Tensor;
export function apply<A>(op: OpDef<A>, inputs: readonly Tensor[], attrs?: A): Tensor {
  return applyNode(op, inputs, attrs as A).outputs[0];
}

/** The value whose bytes a tensor shows: itself, or what it is a view of. */
export function storageOf(tensor: Tensor): Tensor {
  let t = tensor;
  while (t.source.kind === "op" && t.source.node.op.isView) t = t.source.node.inputs[0];
  return t;
}

/** WebGPU's limit on each axis of a grid. */
export const MAX_GROUPS = 65_535;

/** A one-dimensional grid of `groups` workgroups, folded into y where x would pass the limit of 65,535. */
export function foldGrid(groups: number): [number, number, number] {
  if (groups <= MAX_GROUPS) return [Math.max(groups, 1), 1, 1];
  const y = Math.ceil(groups / MAX_GROUPS);
  if (y > MAX_GROUPS) {
    throw new GpuError(`a launch of ${groups} workgroups passes the limit of ${MAX_GROUPS} squared`, {
      fix: "use a smaller batch",
    });
  }
  return [Math.ceil(groups / y), y, 1];
}
