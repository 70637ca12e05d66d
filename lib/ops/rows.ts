/** Launches of the kernels that work on the rows of a matrix. */
import { type Dispatch, foldGrid, type Target } from "../tensor/op.ts";

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

/** Entry and grid over `R` rows: `nameRows`, one invocation a row, if they are short, else `nameRow`, a workgroup a row. */
export const overRows = (name: string, R: number, isShort: boolean): Pick<Dispatch, "entry" | "grid"> =>
  isShort ? { entry: `${name}Rows`, grid: invocations(R) } : { entry: `${name}Row`, grid: foldGrid(R) };
