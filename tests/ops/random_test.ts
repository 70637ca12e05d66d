/** The random numbers: the CPU's against the published vectors, the GPU's against the CPU's; what is drawn from them. */
import assert from "node:assert/strict";
import { philox, Random } from "../../lib/core/random.ts";
import { ConfigError } from "../../lib/core/errors.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { dropout, randomNormal } from "../../lib/ops/dropout.ts";
import { grad } from "../../lib/ops/grad.ts";
import { sum } from "../../lib/ops/reduce.ts";
import { evaluate } from "../../lib/plan/compile.ts";
import { apply, defineOp } from "../../lib/tensor/op.ts";
import { input } from "../../lib/tensor/tensor.ts";
import { trace } from "../../lib/tensor/trace.ts";

const gpu = await openDevice();

type Counter = [number, number, number, number];
type Key = [number, number];

Deno.test("philox() gives the vectors that its authors publish", () => {
  // Random123 1.14, tests/kat_vectors, philox4x32 10.
  const f = 0xffffffff;
  assert.deepEqual(philox([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  assert.deepEqual(philox([f, f, f, f], [f, f]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
  assert.deepEqual(
    philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  );
});

/** `[n, 6]` counters and keys to `[n, 4]` numbers, by the prelude. */
const philoxOp = defineOp({
  name: "philox",
  outputs: ([x]) => [{ shape: [x.shape[0], 4], dtype: "u32" }],
  dispatch: ([x], [y]) => [{
    kernel: {
      file: "tests/philox.wgsl",
      wgsl: `// @prelude random
struct Sizes { N: u32 }
@group(1) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= sizes.N) { return; }
  let r = philox(vec4u(x[6u * i], x[6u * i + 1u], x[6u * i + 2u], x[6u * i + 3u]), vec2u(x[6u * i + 4u], x[6u * i + 5u]));
  for (var k = 0u; k < 4u; k++) { y[4u * i + k] = r[k]; }
}
`,
    },
    entry: "main",
    sizes: { N: x.shape[0] },
    grid: [Math.ceil(x.shape[0] / 64), 1, 1],
    bind: { x, y },
  }],
  cost: () => ({ flops: 0, bytes: 0 }),
});

Deno.test("philox() has the same bits on the GPU", async () => {
  const random = new Random(5, "counters"), n = 500;
  const data = Uint32Array.from({ length: 6 * n }, () => random.nextU32());
  data.set([0, 0, 0, 0, 0, 0], 0);
  data.fill(0xffffffff, 6, 12);
  const { y } = await evaluate(gpu, (t) => ({ y: apply(philoxOp, [t.x]) }), { x: { shape: [n, 6], data } });
  for (let i = 0; i < n; i++) {
    const [a, b, c, d, e, f] = data.subarray(6 * i, 6 * i + 6);
    const counter: Counter = [a, b, c, d], key: Key = [e, f];
    assert.deepEqual(
      Array.from(y.data.subarray(4 * i, 4 * i + 4)),
      philox(counter, key),
      `counter ${counter}, key ${key}`,
    );
  }
});

const ones = (n: number) => ({ x: { shape: [n], data: new Float32Array(n).fill(1) } });

Deno.test("dropout() drops a share of p and keeps the mean", async () => {
  const n = 40_000, p = 0.1;
  const { y } = await evaluate(gpu, (t) => ({ y: dropout(t.x, p) }), ones(n), { isTraining: true, seed: 3 });
  const dropped = Array.from(y.data).filter((v) => v === 0).length;
  const deviation = Math.sqrt(n * p * (1 - p)); // binomial
  assert(Math.abs(dropped - n * p) < 4 * deviation, `${dropped} of ${n} are 0`);
  assert(y.data.every((v) => v === 0 || Math.abs(v - 1 / 0.9) < 1e-6));
});

Deno.test("dropout() has the same mask in its gradient, another one at each site, step and seed", async () => {
  const draw = async (seed: number, index: number) => {
    const drawn = await evaluate(
      gpu,
      (t) => {
        const a = dropout(t.x, 0.5), b = dropout(t.x, 0.5);
        const dx = grad(sum(a), [t.x]).get(t.x);
        assert(dx);
        return { a, b, dx };
      },
      ones(1000),
      { isTraining: true, seed, step: { index } },
    );
    return { a: Array.from(drawn.a.data), b: Array.from(drawn.b.data), dx: Array.from(drawn.dx.data) };
  };
  const first = await draw(1, 0);
  assert.deepEqual(first.dx, first.a); // x is 1: both are the mask
  assert.deepEqual(await draw(1, 0), first);
  const others = [first.b, (await draw(1, 1)).a, (await draw(2, 0)).a];
  for (const other of others) {
    const equal = other.filter((v, i) => v === first.a[i]).length;
    assert(Math.abs(equal - 500) < 4 * Math.sqrt(250), `${equal} of 1000 elements agree: not independent`);
  }
});

Deno.test("dropout() is its input outside training, and refuses p outside [0, 1)", () => {
  const x = input("x", { shape: [3], dtype: "f32" });
  trace(() => assert.equal(dropout(x, 0.1), x));
  trace(() => assert.equal(dropout(x, 0), x), { isTraining: true });
  for (const p of [-0.1, 1, NaN]) assert.throws(() => dropout(x, p), ConfigError);
});

Deno.test("randomNormal() has the moments and the tails of a normal distribution", async () => {
  const n = 40_000;
  const { z, w } = await evaluate(gpu, () => ({ z: randomNormal([n]), w: randomNormal([n]) }), {}, {
    seed: 11,
  });
  const values = Array.from(z.data), others = Array.from(w.data);
  const mean = (terms: number[]) => terms.reduce((s, v) => s + v, 0) / n;
  const moment = (k: number) => mean(values.map((v) => v ** k));
  // Standard errors of the moments: sqrt((E z^2k - (E z^k)^2) / n); four of each.
  const within = (got: number, want: number, variance: number) =>
    assert(Math.abs(got - want) < 4 * Math.sqrt(variance / n), `${got}, want ${want}`);
  within(moment(1), 0, 1);
  within(moment(2), 1, 2);
  within(moment(3), 0, 15);
  within(moment(4), 3, 96);
  within(mean(values.map((v) => Math.abs(v) > 2.5758293 ? 1 : 0)), 0.01, 0.01 * 0.99); // one in a hundred
  for (const lag of [1, 2, 3, 4]) within(mean(values.map((v, i) => v * values[(i + lag) % n])), 0, 1);
  within(mean(values.map((v, i) => v * others[i])), 0, 1);
});

Deno.test("a micro-batch draws the numbers of its rows in the whole batch", async () => {
  const rows = 6, micro = 2;
  for (const width of [1, 3, 4, 10]) {
    const data = new Float32Array(rows * width).fill(1);
    const draw = async (data: Float32Array<ArrayBuffer>, firstRow?: number) => {
      const rows = data.length / width;
      const { y, z } = await evaluate(
        gpu,
        (t) => ({ y: dropout(t.x, 0.5), z: randomNormal([rows, width]) }),
        { x: { shape: [rows, width], data } },
        {
          isTraining: true,
          seed: 4,
          step: { index: 9, firstRow },
          ...firstRow === undefined ? {} : { microBatch: micro },
        },
      );
      return { y: Array.from(y.data), z: Array.from(z.data) };
    };
    const whole = await draw(data), parts: Awaited<ReturnType<typeof draw>>[] = [];
    for (let row = 0; row < rows; row += micro) parts.push(await draw(data.subarray(0, micro * width), row));
    assert.deepEqual(parts.flatMap(({ y }) => y), whole.y, `dropout of rows of ${width}`);
    assert.deepEqual(parts.flatMap(({ z }) => z), whole.z, `normal numbers of rows of ${width}`);
  }
});

Deno.test("random numbers in a micro-batch need the batch as first axis", () => {
  const x = input("x", { shape: [6, 3], dtype: "f32" });
  assert.throws(
    () => trace(() => dropout(x, 0.5), { isTraining: true, microBatch: 2 }),
    /dropout of \[6, 3\] in a micro-batch of 2 rows/,
  );
});
