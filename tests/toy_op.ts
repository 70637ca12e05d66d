/** `y = a + c b`, elementwise: the smallest op that the engine's tests need. */
import { apply, defineOp, foldGrid, type Kernel } from "../lib/tensor/op.ts";
import type { Tensor } from "../lib/tensor/tensor.ts";
import { sizeOf } from "../lib/core/shape.ts";

const kernel: Kernel = {
  file: "tests/axpy.wgsl",
  wgsl: `
// @prelude grid
struct Sizes { N: u32, c: f32 }
@group(1) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = flatGroup(g, n) * 64u + t;
  if (i >= sizes.N) { return; }
  y[i] = a[i] + sizes.c * b[i];
}
`,
};

const axpyOp = defineOp<number>({
  name: "axpy",
  outputs: ([a]) => [a],
  dispatch: ([a, b], [y], c) => [{
    kernel,
    entry: "forward",
    sizes: { N: sizeOf(y.shape), c },
    grid: foldGrid(Math.ceil(sizeOf(y.shape) / 64)),
    bind: { a, b, y },
  }],
  backward: ({ dy, attrs }) => [dy, axpy(dy, dy, attrs - 1)],
  cost: ([a]) => ({ flops: 2 * sizeOf(a.shape), bytes: 12 * sizeOf(a.shape) }),
});

/** `a + c b`. */
export const axpy = (a: Tensor, b: Tensor, c: number): Tensor => apply(axpyOp, [a, b], c);

const viewOp = defineOp<readonly number[]>({
  name: "view",
  isView: true,
  outputs: ([x], shape) => [{ shape, dtype: x.dtype }],
  dispatch: () => [],
  cost: () => ({ flops: 0, bytes: 0 }),
});

/** The same bytes under another shape. */
export const view = (x: Tensor, shape: readonly number[]): Tensor => apply(viewOp, [x], shape);
