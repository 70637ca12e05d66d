/** What the f64 references of several rows share: naive loops, no tricks. */
import { broadcastShapes, type Shape, sizeOf, stridesOf } from "../../lib/core/shape.ts";
import type { Values } from "../ops_harness.ts";

/** Calls `visit` with each index of a shape, row major. */
export function eachIndex(shape: Shape, visit: (index: readonly number[], flat: number) => void): void {
  const index = shape.map(() => 0);
  const n = sizeOf(shape);
  for (let flat = 0; flat < n; flat++) {
    visit(index, flat);
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis] === shape[axis]; axis--) index[axis] = 0;
  }
}

/** `map` over the elements of tensors that broadcast. */
export function mapElements(inputs: readonly Values[], map: (...elements: number[]) => number): Float64Array {
  const shape = inputs.reduce((s: Shape, x) => broadcastShapes(s, x.shape), []);
  const y = new Float64Array(sizeOf(shape));
  const strides = inputs.map((x) => {
    const own = stridesOf(x.shape), skip = shape.length - x.shape.length;
    return shape.map((_, i) => i < skip || x.shape[i - skip] === 1 ? 0 : own[i - skip]);
  });
  const elements = inputs.map(() => 0);
  eachIndex(shape, (index, flat) => {
    for (let k = 0; k < inputs.length; k++) {
      let at = 0;
      for (let i = 0; i < index.length; i++) at += index[i] * strides[k][i];
      elements[k] = inputs[k].data[at];
    }
    y[flat] = map(...elements);
  });
  return y;
}

/** Complementary error function to about 1e-15: Taylor series below 2.5, continued fraction above. */
export function erfc(t: number): number {
  if (t < 0) return 2 - erfc(-t);
  if (t < 2.5) {
    let sum = t, power = t;
    for (let k = 1; k < 100; k++) sum += (power *= -t * t / k) / (2 * k + 1);
    return 1 - 2 / Math.sqrt(Math.PI) * sum;
  }
  let f = t;
  for (let k = 200; k > 0; k--) f = t + k / 2 / f;
  return Math.exp(-t * t) / Math.sqrt(Math.PI) / f;
}
