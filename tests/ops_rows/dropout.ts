/** Rows of `lib/ops/dropout.ts`. */
import { philox } from "../../lib/core/random.ts";
import { type Shape, sizeOf } from "../../lib/core/shape.ts";
import { dropout, randomNormal } from "../../lib/ops/dropout.ts";
import { type Row, row } from "../ops_harness.ts";

const SEED = 0xfedcba98, STEP = 1_234_567;
/** The numbers of an element's block at site 0 of that step. */
const block = (element: number) => philox([Math.floor(element / 4), 0, STEP, 0], [SEED, 1]);

/** Box-Muller: the element's radius and angle. */
function polar(element: number): { radius: number; angle: number } {
  const pair = element % 4 < 2 ? 0 : 2, numbers = block(element);
  const radius = Math.sqrt(-2 * Math.log(((numbers[pair] >>> 8) + 1) / 2 ** 24));
  return { radius, angle: 2 * Math.PI * ((numbers[pair + 1] >>> 8) / 2 ** 24 - 0.5) };
}

const run = { isTraining: true, seed: SEED, step: { index: STEP } };

export const dropoutRows: { dropout: Row; randomNormal: Row } = {
  dropout: row<{ p: number }>({
    op: ([x], { p }) => dropout(x, p),
    reference: ([x], { p }) => x.data.map((v, i) => block(i)[i % 4] >= p * 2 ** 32 ? v / (1 - p) : 0),
    forward: 1, // 1 / (1 - p) and the product
    gradient: 1,
    run,
    // one; a rest after the fours; fours; over 65,535 workgroups would be 2^24 elements: the grid is foldGrid's
    cases: [[1], [3, 7], [4, 64], [2, 3, 5, 4]].flatMap((shape) =>
      [0.1, 0.5].map((p) => ({ inputs: [shape], options: { p } }))
    ),
  }),
  randomNormal: row<{ shape: Shape }>({
    op: (_, { shape }) => randomNormal(shape),
    reference: (_, { shape }) =>
      Float64Array.from({ length: sizeOf(shape) }, (_, i) => {
        const { radius, angle } = polar(i);
        return radius * (i % 2 ? Math.sin(angle) : Math.cos(angle));
      }),
    // WGSL promises sin and cos to 2^-11, and log to 2^-21 near 1, where the radius is its root.
    magnitude: (_, { shape }) => Float64Array.from({ length: sizeOf(shape) }, (_, i) => 1 + polar(i).radius),
    forward: 2 ** 12,
    run,
    cases: [[1], [3, 7], [4, 64]].map((shape) => ({ inputs: [], options: { shape } })),
  }),
};
