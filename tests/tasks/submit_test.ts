import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { readRankings } from "../../lib/train/rankings.ts";
import { TinyWorld } from "../released/train_tiny.ts";
import { lastLine, run } from "./run_task.ts";

Deno.test("submit writes CIRR's two files, which its check accepts; eval says where the targets are secret", async () => {
  await using world = await TinyWorld.create();
  const path = await world.train("cirr_blip2_sum"), cwd = world.folder, folder = `${path}/submission`;
  const experiment = ["--experiment", "cirr_blip2_sum"], data = ["--data", `${cwd}/cirr-blip2/cirr`];
  const written = await run("submit", [path, ...experiment, "--submission-name", "mine", "--json"], cwd);
  strictEqual(written.code, 0, written.stderr);
  const files = ["recall", "recall_subset"].map((metric) => `${folder}/${metric}_submission_mine.json`);
  deepStrictEqual(
    JSON.parse(lastLine(written.stdout)).files.map((
      file: { file: string; problems: string[] },
    ) => [file.file, file.problems]),
    files.map((file) => [file, []]),
  );
  const { queries, images, split } = await readRankings(`${folder}/rankings_test.jsonl`);
  strictEqual(split, "test");
  const [recall, subset] = await Promise.all(
    files.map(async (file) => JSON.parse(await Deno.readTextFile(file))),
  );
  for (const { pairId, target, reference, composed } of queries) {
    strictEqual(target, null);
    deepStrictEqual(recall[String(pairId)], composed.top.map((image) => images[image]));
    deepStrictEqual(subset[String(pairId)], composed.group?.slice(0, 3).map((image) => images[image]));
    strictEqual(recall[String(pairId)].includes(reference), false);
  }

  const checked = await run("submit", ["--check", ...files, ...data], cwd);
  deepStrictEqual([checked.code, checked.stdout.match(/: ok, /g)?.length], [0, 2], checked.stderr);
  const same = await run("submit", ["--check", files[0], files[0], ...data], cwd);
  strictEqual(same.code, 1);
  match(same.stdout, /both files have the metric "recall"/);
  const alone = await run("submit", ["--check", files[1], ...data], cwd);
  strictEqual(alone.code, 0);
  match(alone.stdout, /the server wants one of metric recall as well/);
  strictEqual((await run("submit", ["--check", files[0]], cwd)).code, 1); // not as many as test1 has
  const none = await run("submit", ["--check", "none.json"], cwd);
  deepStrictEqual([none.code, none.stdout], [2, ""]);
  match(none.stderr, /^none\.json: no such file$/m);

  const secret = await run("eval", [path, ...experiment, "--split", "test"], cwd);
  strictEqual(secret.code, 2);
  match(secret.stderr, /^--split test: the targets of CIRR are secret there$/m);
  const union = await run("eval", [path, ...experiment, "--gallery", "union"], cwd);
  strictEqual(union.code, 2);
  match(union.stderr, /CIRR has no gallery for each category/);
});
