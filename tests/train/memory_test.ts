/** The ways to save memory: the same losses and gradients as the plain step. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { openDevice } from "../../lib/gpu/device.ts";
import { openModel, TrainingSession } from "../../lib/train/session.ts";
import small from "./small_cala.ts";

const context = { cacheDir: "", progress: () => {} };

/** Losses, gradients and new weights of a step, by checkpoint key. */
async function stepOf(flags: Parameters<typeof small.configFrom>[0], index = 3) {
  using gpu = await openDevice();
  const config = small.configFrom(flags);
  const opened = await openModel(small.functions, config, context);
  using session = new TrainingSession(gpu, small.functions, config, opened, context);
  const { specs, values } = session.reader.triplets(session.loader.batchAt(index));
  const plan = await session.program.plan(specs);
  plan.run(values, { index, learningRates: session.learningRates(index) });
  const [{ values: losses }] = await plan.results();
  const trained = session.state.groups.flatMap((g) => g.isTrained ? g.params : []);
  const read = async (buffer: "grad" | "param") => {
    const data = await session.state.read(trained, buffer);
    return new Map(trained.map((p, i) => [p.source.name, data[i]]));
  };
  return { losses, grads: await read("grad"), weights: await read("param") };
}

Deno.test("memory recompute: the bits of the plain step", async () => {
  for (const frame of ["sum", "artemis"]) {
    const plain = await stepOf({ frame }), again = await stepOf({ frame, memory: "recompute" });
    ok(plain.grads.size > 100);
    strictEqual(plain.grads.has("visual.query_tokens"), true);
    deepStrictEqual(again, plain);
  }
});
