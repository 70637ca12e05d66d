/** A report of 200 queries over pictures that do not compress: still one file below 10 MB that opens anywhere. */
import { ok, strictEqual } from "node:assert/strict";
import { Random } from "../../lib/core/random.ts";
import { importSharp } from "../../lib/data/sharp.ts";
import { openDataset } from "../../lib/data/open.ts";
import { writeTinyClip } from "../models/tiny_checkpoints.ts";
import { writeStoreOf } from "../released/tiny_store.ts";
import { checkPage } from "../report/page_structure.ts";
import { path, run, withFolder } from "./run_task.ts";

const PICTURES = 400, QUERIES = 200, SIDE = 128;

/** A folder of noise: 200 queries in val, a few in train. */
async function writeNoise(folder: string): Promise<void> {
  const sharp = await importSharp(), size = SIDE * SIDE * 3;
  const noise = Uint8Array.from(new Random(1, "noise").uniform(size + 97 * PICTURES, 0, 256));
  await Deno.mkdir(`${folder}/images`, { recursive: true });
  const names = Array.from({ length: PICTURES }, (_, i) => `${i} "<&>".jpg`);
  await Promise.all(names.map(async (name, i) => {
    const pixels = noise.subarray(97 * i, 97 * i + size);
    const picture = sharp(pixels, { raw: { width: SIDE, height: SIDE, channels: 3 } });
    await Deno.writeFile(`${folder}/images/${name}`, await picture.jpeg({ quality: 95 }).toBuffer());
  }));
  const triplet = (i: number) => ({
    reference: names[i],
    target: names[(i * 7 + 1) % PICTURES],
    captions: [`"now" <b>with</b> ${i % 5} & dots`],
    category: ["plain", "<i>odd</i>"][i % 2],
  });
  const triplets = Array.from({ length: QUERIES + 10 }, (_, i) => triplet(i));
  const splits = {
    train: { triplets: triplets.slice(QUERIES) },
    val: { triplets: triplets.slice(0, QUERIES) },
  };
  await Deno.writeTextFile(`${folder}/triplets.json`, JSON.stringify({ name: "noise", splits }));
}

Deno.test("a report of 200 queries is one file below 10 MB, offline, for keyboards and screen readers", async () => {
  await withFolder(async (cwd) => {
    await writeNoise(`${cwd}/noise`);
    await writeTinyClip(`${cwd}/clip.pt`);
    const dataset = await openDataset({ dataset: "folder", root: `${cwd}/noise` });
    await writeStoreOf(dataset, `${cwd}/store`, "clip", `${cwd}/clip.pt`);
    const flags = ["--store", "store", "--weights", "clip.pt", "--epochs", "1", "--batch-size", "10"];
    const trained = await run(
      "train",
      ["folder_clip_sum", ...flags, "--no-validate-first", "--name", "a"],
      cwd,
    );
    strictEqual(trained.code, 0, trained.stderr);
    const args = ["runs/folder_clip_sum/a", "--queries", String(QUERIES), "--out", "page.html"];
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--config", path("deno.json"), path("tasks/report.ts"), ...args],
      cwd,
    }).output();
    strictEqual(code, 0, new TextDecoder().decode(stderr));
    const bytes = await Deno.readFile(`${cwd}/page.html`), text = new TextDecoder().decode(bytes);
    ok(bytes.length > 5_000_000 && bytes.length < 10_000_000, `${bytes.length} bytes`); // it is no page without pictures
    const document = await checkPage(text),
      count = (selector: string) => [...document.querySelectorAll(selector)].length;
    strictEqual(count("article.query"), QUERIES);
    strictEqual(count("article.query ol"), 3 * QUERIES); // composed, picture alone, text alone
    ok(count("symbol image") > 0.9 * PICTURES, "nearly all pictures are shown");
    ok(!/<b>|<i>/.test(text), "captions and categories are text");
  });
});
