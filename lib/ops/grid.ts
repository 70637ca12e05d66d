/** The grid of kernels whose invocations walk: `for (i = id.x; i < N; i += n.x * 64)`. */

/** Invocations of a workgroup in those kernels. 64 and 256 take the same time on llvmpipe. */
const LANES = 64;
/** Enough workgroups to fill a large GPU; beyond it a longer walk is cheaper than more workgroups. */
const MAX_GROUPS = 4096;

/** Grid for `items` pieces of work. */
export const walkGrid = (items: number): [number, number, number] => [
  Math.max(1, Math.min(Math.ceil(items / LANES), MAX_GROUPS)),
  1,
  1,
];
