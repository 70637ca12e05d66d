import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { readSafetensors } from "../../lib/io/safetensors.ts";
import { readRankings } from "../../lib/train/rankings.ts";
import { TinyWorld } from "../released/train_tiny.ts";
import { lastLine, run } from "./run_task.ts";

Deno.test("FashionIQ: eval over both galleries, and embed, whose inner products give eval's rankings", async () => {
  await using world = await TinyWorld.create();
  const path = await world.train("fashioniq_clip_sum"), cwd = world.folder;
  const experiment = ["--experiment", "fashioniq_clip_sum"];
  const trained = JSON.parse(await Deno.readTextFile(`${path}/results.json`));
  deepStrictEqual(Object.keys(trained.metrics.val.categories), ["dress", "toptee", "shirt"]);
  strictEqual(trained.protocol.referenceRemoved, false);
  const own = await run("eval", [path, ...experiment, "--json"], cwd);
  strictEqual(own.code, 0, own.stderr);
  deepStrictEqual(JSON.parse(lastLine(own.stdout)).metrics, trained.metrics);

  const union = await run("eval", [path, ...experiment, "--gallery", "union", "--json"], cwd);
  strictEqual(union.code, 0, union.stderr);
  const { metrics, protocol } = JSON.parse(lastLine(union.stdout));
  strictEqual(protocol.gallery, "candidates and targets of the category");
  match(union.stdout, /results: .*\/eval\/best-union$/m);
  const whole = await readRankings(`${path}/rankings_val.jsonl`);
  const small = await readRankings(`${path}/eval/best-union/rankings_val.jsonl`);
  strictEqual(small.queries.length, whole.queries.length);
  ok(small.images.length < whole.images.length);
  for (const [q, { composed, category }] of small.queries.entries()) {
    // The smaller ranking is the larger one without the images that are left out.
    const there = new Set(
      small.queries.flatMap((other) => other.category === category ? [other.reference, other.target] : []),
    );
    const all = whole.queries[q].composed.top.map((image) => whole.images[image]);
    deepStrictEqual(composed.top.map((image) => small.images[image]), all.filter((name) => there.has(name)));
  }
  ok(metrics.val.composed["R@10"] >= trained.metrics.val.composed["R@10"]);

  const embedded = await run("embed", [path, ...experiment, "--split", "val"], cwd);
  strictEqual(embedded.code, 0, embedded.stderr);
  const folder = `${path}/embeddings/val`;
  const read = async (name: string) => {
    const { data, shape } = (await readSafetensors(`${folder}/${name}.safetensors`)).tensors.get("feats") ??
      {};
    ok(data instanceof Float32Array && shape?.length === 2);
    const npy = await Deno.readFile(`${folder}/${name}.feats.npy`);
    deepStrictEqual(
      npy.subarray(npy.length - data.byteLength),
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    );
    return (row: number) => data.subarray(row * shape[1], (row + 1) * shape[1]);
  };
  const gallery = await read("gallery"), queries = await read("queries");
  const names: string[] = JSON.parse(await Deno.readTextFile(`${folder}/gallery.names.json`));
  const asked = JSON.parse(await Deno.readTextFile(`${folder}/queries.json`));
  for (const [q, { reference, target, category, composed }] of whole.queries.entries()) {
    deepStrictEqual([asked[q].reference, asked[q].target, asked[q].category], [reference, target, category]);
    const query = queries(q),
      score = (image: number) =>
        gallery(names.indexOf(whole.images[image])).reduce((sum, value, i) => sum + value * query[i], 0);
    const scores = composed.top.map(score);
    for (let i = 1; i < scores.length; i++) ok(scores[i] <= scores[i - 1] + 1e-6, `query ${q}, place ${i}`);
  }
});
