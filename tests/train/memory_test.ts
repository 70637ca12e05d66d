/** The ways to save memory: the same losses and gradients as the plain step. */
import { deepStrictEqual, match, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { ConfigError, GpuError } from "../../lib/core/errors.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import type { StoredConfig } from "../../lib/train/config.ts";
import { checkMemory } from "../../lib/plan/planned.ts";
import { planTraining } from "../../lib/train/step.ts";
import { openModel, stepOf as stepMaker, TrainingSession } from "../../lib/train/session.ts";
import small from "./small_cala.ts";

const context = { cacheDir: "", progress: () => {}, note: () => {} };

const tokens = (image: "reference" | "target", rows: number) => ({
  [`${image}.tokens`]: { shape: [rows, 5, 8] },
});

/** Losses, gradients and new weights of a step, by checkpoint key. */
async function stepOf(flags: StoredConfig, index = 3) {
  using gpu = await openDevice();
  const config = small.configFrom(flags);
  const opened = await openModel(small.functions, config, context);
  using session = new TrainingSession(gpu, small.functions, config, opened, context);
  const { specs, values } = await session.reader.triplets(session.loader.batchAt(index));
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

/**
 * Largest difference, relative to the largest value of each gradient. A key's bias shifts all scores alike, which softmax
 * does not see: its gradient is rounding, and is held against that of the key's weight.
 */
function difference(
  a: Map<string, Float32Array>,
  b: Map<string, Float32Array>,
): { key: string; error: number } {
  deepStrictEqual([...a.keys()], [...b.keys()]);
  let worst = { key: "", error: 0 };
  for (const [key, one] of a) {
    const other = b.get(key);
    ok(other);
    const scale = a.get(key.replace(/(key|key_tar1)\.bias$/, "$1.weight")) ?? one;
    const size = scale.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-20);
    const error = one.reduce((m, v, i) => Math.max(m, Math.abs(v - other[i])), 0) / size;
    if (error > worst.error) worst = { key, error };
  }
  return worst;
}

Deno.test("memory gradcache: losses and gradients of the plain step to 1e-5", async () => {
  const cases: StoredConfig[] = [
    { frame: "sum" },
    { frame: "artemis" },
    { frame: "sum", train: "multi" },
    { frame: "sum", tacWeight: 0, hcaWeight: 0 },
  ];
  for (const flags of cases) {
    const plain = await stepOf(flags);
    for (const microBatch of flags === cases[0] ? [2, 4, 8] : [4]) {
      const { losses, grads } = await stepOf({ ...flags, memory: "gradcache", microBatch });
      deepStrictEqual(Object.keys(losses).sort(), Object.keys(plain.losses).sort());
      for (const [term, [value]] of Object.entries(plain.losses)) {
        ok(
          Math.abs(losses[term][0] - value) <= 1e-6 * Math.abs(value),
          `${term}: ${losses[term][0]}, plain ${value}`,
        );
      }
      const { key, error } = difference(plain.grads, grads);
      ok(error <= 1e-5, `${JSON.stringify(flags)}, micro-batch ${microBatch}: ${key} differs by ${error}`);
    }
  }
});

Deno.test("memory gradcache: the same bits at each run, in either bucket", async () => {
  const flags = { memory: "gradcache", microBatch: 2 };
  deepStrictEqual(await stepOf(flags, 5), await stepOf(flags, 5));
});

Deno.test("memory gradcache refuses micro-batches that do not fill the batch", async () => {
  await rejects(
    stepOf({ memory: "gradcache", microBatch: 3 }),
    (e: unknown) =>
      e instanceof ConfigError && /--micro-batch 3 does not divide --batch-size 8/.test(e.message) &&
      e.fix === "choose one of 1, 2, 4, 8",
  );
});

Deno.test("a session says the memory that it planned, and allocates no more", async () => {
  for (const memory of ["plain", "recompute", "gradcache"]) {
    using gpu = await openDevice();
    const config = small.configFrom({ memory, microBatch: 2 }), notes: string[] = [];
    const opened = await openModel(small.functions, config, context);
    using session = new TrainingSession(gpu, small.functions, config, opened, {
      ...context,
      note: (text) => notes.push(text),
    });
    match(
      notes.join(),
      /^planned device memory .*: parameters .*, gradients .*, moments .*, slabs .*, inputs /,
    );
    const { slabs, inputs, parameters, gradients, moments } = session.memory, atStart = gpu.liveBytes;
    const counts = atStart - (parameters + gradients + moments + slabs);
    ok(0 < counts && counts < 4096, "the state with its counts of steps, and the slabs");
    // Each bucket has inputs, uniforms and a ring of its own, and no slabs. The shorter one comes first.
    await session.program.plan(session.reader.tripletSpecs(8, 4));
    await session.program.plan(session.reader.tripletSpecs(8, 7));
    const more = gpu.liveBytes - atStart;
    ok(inputs <= more && more < 2 * inputs + 400_000, `${more} bytes for inputs of ${inputs}`);
  }
});

Deno.test("a step that passes the device's limits is refused before anything is allocated", async () => {
  using gpu = await openDevice();
  const device = { bindingLimit: 2 ** 27, name: "a small device", isSoftware: false };
  const config = small.configFrom();
  const { model } = await openModel(small.functions, config, context);
  const { maker, adamw } = stepMaker(small.functions, config, model);
  const specs = {
    ...tokens("reference", 2 ** 13),
    ...tokens("target", 2 ** 13),
    inputIds: { shape: [2 ** 13, 7], dtype: "u32" as const },
    attentionMask: { shape: [2 ** 13, 7] },
    longest: { shape: [1], dtype: "u32" as const },
  };
  const { step: { plans }, memory } = planTraining(maker, adamw, model.frame.params.values(), specs);
  throws(
    () => checkMemory(device, memory, plans, "FIX"),
    (e: unknown) =>
      e instanceof GpuError &&
      /a value \[8192, 8192\] takes 256 MiB, a small device binds 128 MiB at most/.test(e.message) &&
      e.fix === "FIX",
  );
  strictEqual(gpu.liveBuffers, 0);
});

Deno.test("a step that passes the machine's memory is refused on a software driver", () => {
  const memory = { parameters: 2 ** 50, gradients: 0, moments: 0, slabs: 0, inputs: 0 };
  const device = { bindingLimit: 2 ** 27, name: "a software device", isSoftware: true };
  throws(
    () => checkMemory(device, memory, [], "FIX"),
    (e: unknown) =>
      e instanceof ConfigError &&
      /needs 1024 TiB, a software device runs in this machine's memory/.test(e.message),
  );
  checkMemory({ ...device, isSoftware: false }, memory, [], "FIX"); // of a GPU's memory WebGPU tells nothing
});
