/** Launches of the kernels that work on the rows of a matrix. */
import { type Dispatch, foldGrid, type Kernel, type Target } from "../tensor/op.ts";

/** Invocations of a workgroup: WG of `kernels/prelude/reduce.wgsl`. */
const WG = 64;
/** Rows up to this length go one to an invocation: on llvmpipe up to ten times faster than with barriers, at [1024, 65]. */
const SHORT_ROW = 256;
/** On a CPU longer ones, too: sums of so many terms in order are still exact enough. */
const SHORT_ROW_OF_SOFTWARE = 1024;

/** True where a row goes to one invocation. */
export const isShortRow = (C: number, { deviceClass }: Target): boolean =>
  C <= (deviceClass === "software" ? SHORT_ROW_OF_SOFTWARE : SHORT_ROW);

/** Workgroups that have `n` invocations. */
export const groupsOf = (n: number): number => Math.ceil(n / WG);
/** A grid of `n` invocations. */
export const invocations = (n: number): [number, number, number] => foldGrid(groupsOf(n));

/** Fewest lanes of a subgroup that `kernels/prelude/reduce_subgroup.wgsl` takes. */
const MIN_LANES = 8;
/**
 * Whether the sums of a workgroup go by subgroups, where there are such: the same bits. On llvmpipe, whose subgroups have 8
 * lanes, rows of 768 took 14 to 32% less time so, rows of 2048 up to 15%, rows of 15,536 the same. Not measured on a GPU.
 */
const BY_SUBGROUPS: Readonly<Record<Target["deviceClass"], boolean>> = { software: true, gpu: true };

/** A kernel as its entries with a workgroup's sums and maxima are to run on a device. */
export function together(
  kernel: Kernel,
  { deviceClass, subgroupLanes }: Target,
): Pick<Dispatch, "kernel" | "constants"> {
  if (!BY_SUBGROUPS[deviceClass] || subgroupLanes < MIN_LANES) return { kernel };
  let other = bySubgroups.get(kernel);
  if (!other) {
    const wgsl = kernel.wgsl.replace(/^(\/\/ @prelude .*)\breduce\b/m, "$1reduce_subgroup");
    bySubgroups.set(kernel, other = { ...kernel, wgsl });
  }
  return { kernel: other, constants: { LANES: Math.min(WG, subgroupLanes) } };
}
const bySubgroups = new Map<Kernel, Kernel>();

/** A launch over `R` rows: `nameRows`, one invocation a row, if they are short, else `nameRow`, a workgroup a row. */
export const overRows = (
  kernel: Kernel,
  name: string,
  R: number,
  isShort: boolean,
  target: Target,
): Pick<Dispatch, "kernel" | "entry" | "grid" | "constants"> =>
  isShort
    ? { kernel, entry: `${name}Rows`, grid: invocations(R) }
    : { ...together(kernel, target), entry: `${name}Row`, grid: foldGrid(R) };
