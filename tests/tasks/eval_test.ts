import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { lastLine, run, toy, withFolder } from "./run_task.ts";

Deno.test("eval measures what train measured, from the checkpoint alone", async () => {
  await withFolder(async (cwd) => {
    const trained = await run("train", [toy, "--name", "a", "--steps", "6", "--json"], cwd);
    strictEqual(trained.code, 0, trained.stderr);
    const folder = `${cwd}/runs/toy_experiment/a`;
    const manifest = JSON.parse(await Deno.readTextFile(`${folder}/run.json`));
    await Deno.remove(`${folder}/checkpoints/last.optimizer.safetensors`);
    await Deno.remove(`${folder}/results.json`);

    const last = await run("eval", ["runs/toy_experiment/a/", "--json"], cwd);
    strictEqual(last.code, 0, last.stderr);
    match(last.stderr, /last checkpoint, step 6/);
    deepStrictEqual(JSON.parse(lastLine(last.stdout)), JSON.parse(lastLine(trained.stdout)));
    const best = await run("eval", ["runs/toy_experiment/a", "--checkpoint", "best"], cwd);
    match(best.stderr, /best checkpoint, step (5|6)/);
    match(best.stdout, /^composed /m);

    await Deno.writeTextFile(
      `${folder}/run.json`,
      JSON.stringify({ ...manifest, dataset: { name: "toy", hash: "0".repeat(64) } }),
    );
    const other = await run("eval", ["runs/toy_experiment/a"], cwd);
    strictEqual(other.code, 2);
    match(other.stderr, /^the data are not those of the run: [0-9a-f]{12}, not 000000000000$/m);
    await Deno.writeTextFile(`${folder}/run.json`, JSON.stringify(manifest));
    await Deno.truncate(`${folder}/checkpoints/last.safetensors`, 300);
    const broken = await run("eval", ["runs/toy_experiment/a"], cwd);
    strictEqual(broken.code, 2);
    match(broken.stderr, /last\.safetensors: /);
    const missing = await run("eval", ["runs/toy_experiment/b"], cwd);
    deepStrictEqual([missing.code, missing.stdout], [2, ""]);
    match(missing.stderr, /^runs\/toy_experiment\/b: no run\.json\n/);
  });
});
