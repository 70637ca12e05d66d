import assert from "node:assert/strict";
import { calaLoss, contrastiveLogits } from "../../lib/cala/loss.ts";
import { ConfigError } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { grad } from "../../lib/ops/grad.ts";
import { evaluate } from "../../lib/plan/compile.ts";
import { input, type Tensor } from "../../lib/tensor/tensor.ts";

const B = 4, random = new Random(1, "loss");
const logits = () => ({ shape: [B, B], data: random.normal(B * B, 0, 3) });
const inputs = { matching: logits(), tac: logits(), hca: logits() };

/** Mean over rows of `log sum exp(row) - row[i]`, in f64. */
const crossEntropy = (z: ArrayLike<number>): number =>
  Array.from({ length: B }, (_, i) => {
    const row = Array.from({ length: B }, (_, j) => z[i * B + j]);
    return Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - row[i];
  }).reduce((a, b) => a + b) / B;

Deno.test("TAC is blended into the logits, HCA into the loss", async () => {
  using gpu = await openDevice();
  for (const [w, h] of [[0.45, 0.1], [0.45, 0], [0, 0.1], [0, 0]]) {
    const y = await evaluate(gpu, (t) => {
      const { loss, contrastive } = calaLoss(
        { matching: t.matching, tac: t.tac, hca: t.hca },
        { tacWeight: w, hcaWeight: h },
      );
      return { loss, contrastive };
    }, inputs);
    const blended = inputs.matching.data.map((q, i) => w * inputs.tac.data[i] + (1 - w) * q);
    const contrastive = crossEntropy(blended),
      loss = h * crossEntropy(inputs.hca.data) + (1 - h) * contrastive;
    assert.ok(
      Math.abs(y.contrastive.data[0] - contrastive) < 1e-5,
      `${w} ${h}: ${y.contrastive.data[0]} ${contrastive}`,
    );
    assert.ok(Math.abs(y.loss.data[0] - loss) < 1e-5, `${w} ${h}: ${y.loss.data[0]} ${loss}`);
  }
});

Deno.test("a head of weight 0 has no gradient, not one of zeros", () => {
  const t = (name: string): Tensor => input(name, { shape: [B, B], dtype: "f32" });
  const given = { matching: t("matching"), tac: t("tac"), hca: t("hca") };
  const reached = (tacWeight: number, hcaWeight: number) => {
    const grads = grad(calaLoss(given, { tacWeight, hcaWeight }).loss, Object.values(given));
    return Object.entries(given).flatMap(([name, x]) => grads.has(x) ? [name] : []).join(" ");
  };
  assert.equal(reached(0.45, 0.1), "matching tac hca");
  assert.equal(reached(0.45, 0), "matching tac");
  assert.equal(reached(0, 0.1), "matching hca");
  assert.equal(reached(0, 0), "matching");
});

Deno.test("a weight outside [0, 1] and a head that is missing are refused", () => {
  const matching = input("matching", { shape: [B, B], dtype: "f32" });
  assert.throws(() => calaLoss({ matching }, { tacWeight: 1.1, hcaWeight: 0 }), ConfigError);
  assert.throws(() => calaLoss({ matching }, { tacWeight: 0, hcaWeight: NaN }), ConfigError);
  assert.throws(() => calaLoss({ matching }, { tacWeight: 0, hcaWeight: 0.1 }), ConfigError);
  assert.throws(() => contrastiveLogits({ matching }, { tacWeight: 0.45 }), ConfigError);
});
