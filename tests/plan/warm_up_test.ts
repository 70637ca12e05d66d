import { strictEqual } from "node:assert/strict";
import { sumFrame } from "../../lib/cala/frames/sum.ts";
import { calaHeads } from "../../lib/cala/heads.ts";
import { calaLoss } from "../../lib/cala/loss.ts";
import { Random } from "../../lib/core/random.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { Blip2 } from "../../lib/models/blip2.ts";
import { Stem } from "../../lib/models/stem.ts";
import { grad } from "../../lib/ops/grad.ts";
import { compile } from "../../lib/plan/compile.ts";
import { isParam, type Tensor } from "../../lib/tensor/tensor.ts";
import { reachable } from "../../lib/tensor/trace.ts";

Deno.test("warming up writes nothing: every kernel of a training step leaves its outputs at zero", async () => {
  using gpu = await openDevice();
  const B = 3, L = 5;
  const encoders = new Blip2({
    config: {
      hiddenSize: 16,
      numLayers: 2,
      numHeads: 2,
      intermediateSize: 24,
      numQueryTokens: 3,
      crossAttentionFreq: 2,
      encoderWidth: 16,
      vocabSize: 11,
      maxPositions: L,
      layerNormEps: 1e-12,
      dropout: 0.1,
      hasLnVision: false,
    },
    stem: new Stem({ patchWidth: 8, width: 16, random: new Random(1, "stem") }),
    seed: 1,
  });
  const frame = sumFrame(encoders), heads = calaHeads({ embedDim: 16, seed: 1 });
  const params = [...frame.params.values(), ...heads.params.values()];
  const fn = (t: Record<string, Tensor>) => {
    const encoded = frame.encode({
      reference: { pixels: t.reference },
      target: { pixels: t.target },
      inputIds: t.ids,
      attentionMask: t.mask,
      longest: t.longest,
    });
    const { loss } = calaLoss({
      matching: frame.logits(encoded),
      tac: heads.tac(encoded),
      hca: heads.hca(encoded),
    }, { tacWeight: 0.45, hcaWeight: 0.1 });
    // Parts of a parameter are no values of their own: they are read where they lie.
    const nodes = reachable(grad(loss, params).values()).filter(({ op, inputs: [x] }) =>
      !op.isView && !(op.name === "slice" && isParam(x))
    );
    const values = nodes.flatMap((node) =>
      node.outputs.map((y, i) => [`${node.id}.${i} ${node.op.name}`, y] as const)
    );
    return { outputs: Object.fromEntries(values) };
  };
  const specs = {
    reference: { shape: [B, 32, 32, 3] },
    target: { shape: [B, 32, 32, 3] },
    ids: { shape: [B, L], dtype: "u32" as const },
    mask: { shape: [B, L] },
    longest: { shape: [1], dtype: "u32" as const },
  };
  let warmed = 0;
  const onProgress = (done: number) => void (warmed = done);
  using plan = await compile(gpu, fn, specs, { isTraining: true, onProgress });
  strictEqual(warmed, plan.info.pipelines, "a fresh device warms up every pipeline");
  for (const [name, { data }] of Object.entries(await plan.read())) {
    strictEqual(data.findIndex((x) => x !== 0), -1, `${name} was written`);
  }
});
