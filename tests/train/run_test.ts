import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert/strict";
import { ConfigError, DataError } from "../../lib/core/errors.ts";
import { flag } from "../../lib/core/flags.ts";
import { kernelVariants } from "../../lib/ops/matmul_classes.ts";
import { anyDevice } from "../../lib/tensor/op.ts";
import { configDifferences, configHash, withTrainingFlags } from "../../lib/train/config.ts";
import { readManifest, RunFolder, type RunRequest } from "../../lib/train/run.ts";

const config = { seed: 1, lr: 0.5, batchSize: 4, steps: 3 };
const facts = {
  source: "experiments/toy.ts",
  sourceText: "export default 1;\n",
  adapter: { vendor: "v", architecture: "a", device: "d", description: "a GPU" },
  kernelVariants: kernelVariants(anyDevice),
  dataset: { name: "toy", hash: "aa" },
};

async function withFolder(test: (request: RunRequest) => Promise<void>): Promise<void> {
  const out = await Deno.makeTempDir();
  try {
    await test({ out, experiment: "toy", config, name: "", isFresh: false });
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

Deno.test("configHash() follows names and values, not their order", () => {
  const hash = configHash("toy", config);
  strictEqual(hash, configHash("toy", { steps: 3, batchSize: 4, lr: 0.5, seed: 1 }));
  for (
    const other of [
      configHash("demo", config),
      configHash("toy", { ...config, lr: 0.25 }),
      configHash("toy", { ...config, x: 0 }),
    ]
  ) {
    ok(hash !== other);
  }
});

Deno.test("configDifferences() names flags as the command line has them", () => {
  deepStrictEqual(configDifferences({ tacWeight: 0.45, seed: 1 }, { tacWeight: 0, seed: 1, frame: "sum" }), [
    "--tac-weight is 0.45 there, 0 here",
    '--frame is absent there, "sum" here',
  ]);
});

Deno.test("withTrainingFlags() keeps an experiment's own default and refuses a flag of every run", () => {
  strictEqual(withTrainingFlags({ bestBy: flag("R@1", "") }).bestBy.default, "R@1");
  strictEqual(withTrainingFlags({ seed: flag(1, "") }).tableFrom.default, "last");
  try {
    withTrainingFlags({ json: flag(true, "") });
    throw new Error("accepted");
  } catch (error) {
    ok(error instanceof ConfigError, String(error));
  }
});

Deno.test("a run is named by its configuration, notes what it is, and goes on under the same name", async () => {
  await withFolder(async (request) => {
    const hash = configHash("toy", config);
    {
      using run = await RunFolder.open(request);
      strictEqual(run.path, `${request.out}/toy/${hash.slice(0, 8)}`);
      strictEqual(run.manifest, undefined);
      deepStrictEqual(await run.start(facts), []);
    }
    const manifest = await readManifest(`${request.out}/toy/${hash.slice(0, 8)}`);
    deepStrictEqual(manifest.config, config);
    deepStrictEqual([manifest.status, manifest.seed, manifest.configHash], ["running", 1, hash]);
    deepStrictEqual([manifest.adapter, manifest.dataset], [facts.adapter, facts.dataset]);
    strictEqual(manifest.versions.deno, Deno.version.deno);
    deepStrictEqual(manifest.kernelVariants, kernelVariants(anyDevice));
    strictEqual(manifest.kernelVariants.matmul["2048 x 768 x 768 NN"], "portable.tile");
    strictEqual(await Deno.readTextFile(`${request.out}/toy/${hash.slice(0, 8)}/toy.ts`), facts.sourceText);
    using again = await RunFolder.open(request);
    deepStrictEqual(again.manifest, manifest);
    const changed = {
      ...facts,
      sourceText: "",
      adapter: { ...facts.adapter, description: "another GPU" },
      kernelVariants: kernelVariants({ deviceClass: "gpu", subgroupLanes: 32 }),
    };
    deepStrictEqual(await again.start(changed), [
      "began on a GPU, goes on on another GPU",
      "began with another table of kernels for matrix products, which changes speed, not bits",
      "experiments/toy.ts has changed since the run began",
    ]);
    await again.end("done");
    strictEqual((await readManifest(again.path)).status, "done");
  });
});

Deno.test("a run with another configuration is refused, and the difference shown; --fresh takes the next number", async () => {
  await withFolder(async (request) => {
    const named = { ...request, name: "first" };
    {
      using run = await RunFolder.open(named);
      await run.start(facts);
    }
    const other = { ...named, config: { ...config, lr: 0.25 } };
    const error = await RunFolder.open(other).catch((e) => e);
    ok(error instanceof ConfigError);
    strictEqual(error.message, 'run "first" has another configuration: --lr is 0.5 there, 0.25 here');
    match(error.fix ?? "", /--fresh to start "first-2"/);
    {
      using run = await RunFolder.open({ ...other, isFresh: true });
      strictEqual(run.name, "first-2");
      await run.start(facts);
    }
    using third = await RunFolder.open({ ...other, isFresh: true });
    strictEqual(third.name, "first-3");
    using free = await RunFolder.open({ ...request, name: "other", isFresh: true });
    strictEqual(free.name, "other");
  });
});

Deno.test("a run refuses other data, a second process, a name that is a path, and a broken manifest", async () => {
  await withFolder(async (request) => {
    {
      using run = await RunFolder.open(request);
      await run.start(facts);
      await rejects(RunFolder.open(request), /is in use by process/);
      await rejects(
        run.start({ ...facts, dataset: { name: "toy", hash: "bb" } }),
        /began with the data toy aa, here it is toy bb/,
      );
      await Deno.writeTextFile(run.file("run.json"), '{"format": 1');
    }
    await rejects(
      RunFolder.open(request),
      (e: Error) => e instanceof DataError && /run.json: not JSON/.test(e.message),
    );
    for (const name of ["../up", "a/b", "..", "a b"]) {
      await rejects(RunFolder.open({ ...request, name }), ConfigError);
    }
    await rejects(readManifest(request.out), DataError);
  });
});
