import assert from "node:assert/strict";
import { ConfigError, ShapeError } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { Stem } from "../../lib/models/stem.ts";
import { named } from "../../lib/nn/module.ts";
import type { LayerNorm } from "../../lib/nn/layer_norm.ts";
import type { Linear } from "../../lib/nn/linear.ts";
import { evaluate } from "../../lib/plan/compile.ts";
import { input } from "../../lib/tensor/tensor.ts";

const linear = ({ weight, bias }: Linear, x: number[]) =>
  Array.from(
    bias.source.data,
    (b, o) => x.reduce((sum, v, i) => sum + v * weight.source.data[o * x.length + i], b),
  );

function layerNorm({ weight, bias, eps }: LayerNorm, x: number[]) {
  const mean = x.reduce((a, b) => a + b) / x.length;
  const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
  return x.map((v, i) =>
    (v - mean) / Math.sqrt(variance + eps) * weight.source.data[i] + bias.source.data[i]
  );
}

/** Abramowitz and Stegun 7.1.26 is not enough here: erf by its series. */
function erf(x: number): number {
  let sum = 0, term = x;
  for (let n = 0; n < 200; n++) {
    sum += term / (2 * n + 1);
    term *= -x * x / (n + 1);
  }
  return 2 / Math.sqrt(Math.PI) * sum;
}
const gelu = (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2));

/** The stem of one image, pixel by pixel. */
function reference(stem: Stem, pixels: ArrayLike<number>): number[][] {
  const S = stem.size, p = S / 8;
  const patch = (py: number, px: number) => {
    const x: number[] = [];
    for (let y = 0; y < p; y++) {
      for (let i = 0; i < 3 * p; i++) x.push(pixels[((py * p + y) * S + px * p) * 3 + i]);
    }
    return layerNorm(stem.patch_norm, linear(stem.patch, x)).map(gelu);
  };
  const tokens: number[][] = [];
  for (let y = 0; y < 4; y++) {
    for (let x = 0; x < 4; x++) {
      const four = [[0, 0], [0, 1], [1, 0], [1, 1]].flatMap(([dy, dx]) => patch(2 * y + dy, 2 * x + dx));
      tokens.push(layerNorm(stem.merge_norm, linear(stem.merge, four)).map(gelu));
    }
  }
  const W = tokens[0].length;
  const placed = tokens.map((token, t) => token.map((v, i) => v + stem.positions.source.data[t * W + i]));
  return [linear(stem.whole, tokens.flat()), ...placed].map((token) => layerNorm(stem.ln_vision, token));
}

for (const size of [32, 64]) {
  Deno.test(`the stem makes 17 normalised tokens of ${size} px`, async () => {
    using gpu = await openDevice();
    const random = new Random(1, "stem"), B = 2;
    const stem = new Stem({ size, patchWidth: 6, width: 10, random });
    const data = random.uniform(B * size * size * 3, -1, 1);
    const { y } = await evaluate(gpu, (t) => ({ y: stem.forward(t.x) }), {
      x: { shape: [B, size, size, 3], data },
    });
    assert.deepEqual(y.shape, [B, 17, 10]);
    for (let b = 0; b < B; b++) {
      const expected = reference(stem, data.subarray(b * size * size * 3)).flat();
      expected.forEach((v, i) =>
        assert.ok(Math.abs(v - y.data[b * 170 + i]) < 2e-5, `${i}: ${v}, ${y.data[b * 170 + i]}`)
      );
    }
  });
}

Deno.test("the stem's sizes are those of the demo", () => {
  const sizes = [...named(new Stem())].map(([key, { shape }]) => `${key} ${shape.join("x")}`);
  assert.deepEqual(sizes, [
    "patch.weight 32x48",
    "patch.bias 32",
    "patch_norm.weight 32",
    "patch_norm.bias 32",
    "merge.weight 64x128",
    "merge.bias 64",
    "merge_norm.weight 64",
    "merge_norm.bias 64",
    "whole.weight 64x1024",
    "whole.bias 64",
    "positions 16x64",
    "ln_vision.weight 64",
    "ln_vision.bias 64",
  ]);
});

Deno.test("the stem refuses images of another size", () => {
  assert.throws(() => new Stem({ size: 30 }), ConfigError);
  assert.throws(() => new Stem().forward(input("x", { shape: [1, 64, 64, 3], dtype: "f32" })), ShapeError);
});
