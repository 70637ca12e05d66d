/** From nodes to launches in order: which of them become one, and which values then must lie in one buffer. Plain data: no GPU. */
import { bytesOf } from "../core/shape.ts";
import { canGroup, MAX_MEMBERS } from "../gpu/grouped.ts";
import { kernelText, variantKey } from "../gpu/kernel.ts";
import { type Cost, type Dispatch, type Node, storageOf, type Target } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { groupLaunches } from "./group.ts";
import { Homes } from "./homes.ts";

/** What a launch does for one node. */
export interface Member {
  readonly dispatch: Dispatch;
  readonly node: Node;
  /** The node's, at its first launch; else nothing. */
  readonly cost: Cost;
}

/** Launches in order, each of one member or of several of one kernel. */
export interface Schedule {
  readonly launches: readonly (readonly Member[])[];
  /** How many come before the state is worked on. */
  readonly beforeState: number;
  readonly homes: Homes;
  /** The home of a value's bytes; none if no launch binds it. */
  homeOf(value: Tensor): number | undefined;
}

/**
 * Bytes that a launch binds at most if it is to be joined to others. Launching takes about 45 us on llvmpipe, in which
 * a core copies less than this: what binds more gains little, and values that must share a buffer take memory longer.
 */
export const MAX_BYTES = 2 * 2 ** 20;

/** The launches of nodes, in the order of the graph. */
export const launchesOf = (nodes: readonly Node[], target: Target): Member[] =>
  nodes.flatMap((node) => {
    if (node.op.isView) return [];
    const cost = node.op.cost(node.inputs, node.outputs, node.attrs);
    return node.op.dispatch(node.inputs, node.outputs, node.attrs, target).map((dispatch, i) => ({
      dispatch,
      node,
      cost: i === 0 ? cost : { flops: 0, bytes: 0 },
    }));
  });

/** What a launch binds: the value, and whether it is written. */
export function boundBy({ kernel, bind }: Dispatch): { value: Tensor; isWritten: boolean; type?: string }[] {
  const { bindings } = kernelText(kernel).parsed;
  return Object.entries(bind).map(([name, x]) => {
    const { access, type } = bindings.get(name) ?? {};
    return { value: storageOf(x), isWritten: access === "read_write", type };
  });
}

const isState = ({ source: { kind } }: Tensor): boolean => kind === "shard" || kind === "gradient";

/**
 * Orders launches.
 *
 * @param beforeState How many of them come before the first that works on the state: no other is moved.
 * @param isGrouped False: each stays a launch of its own.
 * @param bufferOf Names the buffer of a value that the plan does not place.
 */
export function schedule(
  members: readonly Member[],
  beforeState: number,
  isGrouped: boolean,
  bufferOf: (value: Tensor) => string | undefined,
): Schedule {
  const homes = new Homes(), known = new Map<Tensor, number>(), fixed = new Map<string, number>();
  const homeOf = (value: Tensor): number => {
    const buffer = bufferOf(value);
    const home = known.get(value) ?? fixed.get(buffer ?? "") ?? homes.add(buffer !== undefined);
    if (buffer !== undefined) fixed.set(buffer, home);
    known.set(value, home);
    return home;
  };
  const numberOf = new Map<Tensor, number>();
  const candidates = members.map((member, i) => {
    const { dispatch } = member, values = boundBy(dispatch);
    const bound = values.map(({ value, isWritten, type }) => {
      const number = numberOf.get(value) ?? numberOf.size;
      numberOf.set(value, number);
      return { value: number, home: homeOf(value), isWritten, type };
    });
    let isMovable = isGrouped && i < beforeState && canJoin(dispatch, values);
    for (const [x, a] of bound.entries()) {
      for (const b of bound.slice(x + 1)) {
        // Where launches are joined, two written bindings of one buffer overlap. In the state one serves as the other.
        const areWritten = a.isWritten && b.isWritten;
        if (a.home === b.home) isMovable &&= !areWritten || a.type === b.type;
        else if (areWritten ? isMovable : a.isWritten || b.isWritten) homes.keepApart(a.home, b.home);
      }
    }
    const key = isMovable ? keyOf(dispatch) : undefined;
    return { key, bound, workgroups: dispatch.grid.reduce((n, side) => n * side, 1) };
  });
  const end = members.findIndex(({ dispatch }) => Object.values(dispatch.bind).some(isState));
  const count = Math.min(beforeState, end < 0 ? members.length : end);
  const groups = isGrouped
    ? groupLaunches(candidates.slice(0, count), homes, MAX_MEMBERS)
    : Array.from({ length: count }, (_, i) => [i]);
  const before = groups.map((group) => group.map((i) => members[i]));
  return {
    launches: [...before, ...members.slice(count).map((member) => [member])],
    beforeState: before.length + beforeState - count,
    homes,
    homeOf: (value) => known.get(value),
  };
}

const keyOf = ({ kernel, entry, bind, constants }: Dispatch): string =>
  variantKey({ kernel, entry, names: Object.keys(bind), constants });

const joinable = new Map<string, boolean>();

/** Whether a launch is small, and of a kernel whose launches can be one. */
function canJoin(dispatch: Dispatch, values: readonly { readonly value: Tensor }[]): boolean {
  const bytes = [...new Set(values.map(({ value }) => value))].reduce((sum, x) => sum + bytesOf(x), 0);
  if (bytes > MAX_BYTES) return false;
  const key = `${keyOf(dispatch)}\n${dispatch.kernel.wgsl}`;
  const known = joinable.get(key);
  if (known !== undefined) return known;
  const { parsed, text } = kernelText(dispatch.kernel);
  const can = canGroup(text, parsed, dispatch.entry, Object.keys(dispatch.bind));
  joinable.set(key, can);
  return can;
}
