/** Launches of the kernels that work on the rows of a matrix. */
import { type Dispatch, foldGrid } from "../tensor/op.ts";

/** Invocations of a workgroup: WG of `kernels/prelude/reduce.wgsl`. */
const WG = 64;
/** Rows up to this length go one to an invocation: on llvmpipe up to ten times faster than with barriers, at [1024, 65]. */
export const SHORT_ROW = 256;

/** A grid of `n` invocations. */
export const invocations = (n: number): [number, number, number] => foldGrid(Math.ceil(n / WG));

/** Entry and grid over `R` rows of length `C`: `nameRows`, one invocation a row, or `nameRow`, one workgroup a row. */
export const overRows = (
  name: string,
  [R, C]: readonly [number, number],
  isShort = C <= SHORT_ROW,
): Pick<Dispatch, "entry" | "grid"> =>
  isShort ? { entry: `${name}Rows`, grid: invocations(R) } : { entry: `${name}Row`, grid: foldGrid(R) };
