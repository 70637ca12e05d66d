/** `--data DIR`: a data set's folder names its features, for training and for measuring. */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { dirname } from "node:path";
import { openReleasedData, type StoreFlags } from "../../lib/released/data.ts";
import { storeInCache } from "../../lib/released/store.ts";
import { experimentOf, openExperiment } from "../../tasks/experiments.ts";
import { run } from "../tasks/run_task.ts";
import { TinyWorld } from "./train_tiny.ts";

/** The experiments' own features of a folder, where `deno task features` without `--out` puts them. */
async function stored(world: TinyWorld, dataset: "folder" | "cirr", cacheDir: string): Promise<string> {
  const store = await world.store(dataset, "clip"), data = `${dirname(store)}/${dataset}`;
  const place = await storeInCache(cacheDir, {
    ...{ dataset, data, encoder: "clip", weights: await world.weights("clip") },
    ...{ transform: "targetpad", targetRatio: 1.25 },
  });
  await Deno.mkdir(dirname(place), { recursive: true });
  await Deno.rename(store, place);
  return data;
}

Deno.test("a folder is trained on and measured by --dataset and --data, and another one by the same run", async () => {
  await using world = await TinyWorld.create();
  const cwd = world.folder, weights = await world.weights("clip"), env = { CALA_CACHE: `${cwd}/cache` };
  const data = await stored(world, "folder", env.CALA_CACHE),
    cirr = await stored(world, "cirr", env.CALA_CACHE);
  const flags = ["--epochs", "1", "--batch-size", "6", "--no-validate-first", "--name", "a"];
  const chosen = ["--dataset", "folder", "--data", data, "--encoder-arch", "clip", "--weights", weights];
  const trained = await run("train", [...chosen, ...flags, "--json"], cwd, env);
  strictEqual(trained.code, 0, trained.stderr);
  const lastOf = (text: string) => JSON.parse(text.trimEnd().split("\n").at(-1) ?? "");
  const measured = (args: readonly string[]) => run("eval", ["runs/folder_clip_sum/a", ...args], cwd, env);
  const again = await measured(["--dataset", "folder", "--data", data, "--json"]);
  strictEqual(again.code, 0, again.stderr);
  deepStrictEqual(lastOf(again.stdout), lastOf(trained.stdout));
  const other = await measured(["--dataset", "cirr", "--data", cirr, "--split", "val"]);
  strictEqual(other.code, 0, other.stderr);
  match(other.stdout, /on CIRR val/);
  match(other.stdout, /results: runs\/folder_clip_sum\/a\/eval\/best-val-CIRR-[0-9a-f]{8}\n/);
});

Deno.test("a folder without features, or changed since, is named with the command to copy", async () => {
  await using world = await TinyWorld.create();
  const cacheDir = `${world.folder}/cache`, weights = await world.weights("clip");
  const experiment = await openExperiment("folder_clip_sum");
  const open = (values: Record<string, string>) =>
    openReleasedData(
      { cacheDir, progress: () => {} },
      experiment.configFrom({ weights, ...values }) as unknown as StoreFlags,
    );
  const refused = (values: Record<string, string>) =>
    open(values).then(() => "opened", (error) => `${error.message}\n${error.fix}`);
  strictEqual(
    (await refused({ data: `${world.folder}/none` })).split("\n")[0],
    `--data: ${world.folder}/none: no such folder`,
  );
  const data = `${dirname(await world.store("folder", "clip"))}/folder`;
  const command = `deno task features --dataset folder --data ${data} --encoder clip --weights ${weights} ` +
    "--transform targetpad --target-ratio 1.25";
  strictEqual(
    await refused({ data }),
    `${data}: its features are not stored yet\nmake it, once:\n  ${command}`,
  );

  await stored(world, "folder", cacheDir);
  (await open({ data })).images[Symbol.dispose]();
  await Deno.remove(`${data}/images`, { recursive: true }); // features stand in for images
  (await open({ data })).images[Symbol.dispose]();
  const file = `${data}/triplets.json`, text = await Deno.readTextFile(file);
  await Deno.writeTextFile(file, text.replace("now a red square", "now a red circle"));
  strictEqual(
    await refused({ data }),
    `${data}: is not as it was when its features were stored\n` +
      `bring them up to date, only what is new is computed:\n  ${command}`,
  );
});

Deno.test("the released flags choose the experiment", () => {
  const chosen = [
    [["--epochs", "1"], "demo"],
    [["--dataset", "CIRR"], "cirr_blip2_sum"],
    [["--dataset=fashionIQ", "--cir-frame", "artemis", "--encoder-arch", "clip"], "fashioniq_clip_artemis"],
    [["--dataset", "cirr", "--combining-function", "combiner"], "cirr_clip_combiner"],
    [["--data", "x", "--dataset", "folder"], "folder_blip2_sum"],
  ] as const;
  for (const [argv, name] of chosen) strictEqual(experimentOf(argv), name);
});
