import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { type StoredTensor, writeSafetensors } from "../../lib/io/safetensors.ts";
import { openWeights } from "../../lib/io/weights_file.ts";
import { lastLine, path, run, withFolder } from "./run_task.ts";

const fixture = (name: string) => path(`tests/oracle/torch/${name}`);
const row = (...values: number[]): StoredTensor => ({
  dtype: "F32",
  shape: [values.length],
  data: new Float32Array(values),
});

/** All values of a file, by key. */
async function valuesOf(name: string): Promise<Record<string, string[]>> {
  using file = await openWeights(name);
  return Object.fromEntries(
    [...file.tensors.keys()].map((key) => [key, [...file.read(key).data].map(String)]),
  );
}

Deno.test("convert goes from PyTorch to safetensors and back, and tells what is in each", async () => {
  await withFolder(async (cwd) => {
    const there = await run("convert", [fixture("training.pth"), "a.safetensors"], cwd);
    strictEqual(there.code, 0, there.stderr);
    match(there.stdout, /^a\.safetensors: 3 tensors, \d+ bytes\n$/);
    const back = await run("convert", ["a.safetensors", "b.pth", "--epoch", "3", "--json"], cwd);
    strictEqual(back.code, 0, back.stderr);
    const { path: written, tensors, bytes } = JSON.parse(lastLine(back.stdout));
    deepStrictEqual([written, tensors, bytes], ["b.pth", 3, (await Deno.stat(`${cwd}/b.pth`)).size]);
    deepStrictEqual(await valuesOf(`${cwd}/b.pth`), await valuesOf(fixture("training.pth")));
    using file = await openWeights(`${cwd}/b.pth`, { at: "model" });
    strictEqual(file.metadata.epoch, "3");

    const named = await run("convert", ["a.safetensors", "c.bin", "--to", "pth", "--epoch", "3"], cwd);
    strictEqual(named.code, 0, named.stderr);
    deepStrictEqual(await Deno.readFile(`${cwd}/c.bin`), await Deno.readFile(`${cwd}/b.pth`));

    const shown = await run("convert", ["b.pth", "--inspect"], cwd);
    match(shown.stdout, /^half_values {2}\[2\] {4}F16 {3}[0-9a-f]{16}$/m);
    match(shown.stdout, /^b\.pth \(PyTorch\): 3 tensors, 6 elements, 20 B\nbeside them: epoch: 3$/m);
  });
});

Deno.test("convert --only takes one module of a run's checkpoint, --base fills in what was frozen", async () => {
  await withFolder(async (cwd) => {
    const words = "Qformer.bert.embeddings.word_embeddings.weight",
      tied = "Qformer.cls.predictions.decoder.weight";
    await writeSafetensors(`${cwd}/run.safetensors`, {
      [`textual.${words}`]: row(1, 2),
      "textual.query_tokens": row(3),
      "tac.fc.weight": row(4),
      "hca.query_ref1.weight": row(5),
    }, { epoch: "9", step: "100" });
    await writeSafetensors(`${cwd}/published.safetensors`, {
      [words]: row(-1, -1),
      [tied]: row(-1, -1),
      "visual_encoder.conv1.weight": row(7),
    });
    const args = ["run.safetensors", "text.pt", "--only", "textual", "--base", "published.safetensors"];
    const { code, stderr } = await run("convert", args, cwd);
    strictEqual(code, 0, stderr);
    using file = await openWeights(`${cwd}/text.pt`, { at: "Blip2Qformer" });
    strictEqual(file.metadata.epoch, "9");
    deepStrictEqual(await valuesOf(`${cwd}/text.pt`), {
      [words]: ["1", "2"],
      [tied]: ["1", "2"], // one tensor in PyTorch: the published words would overwrite the trained ones
      "visual_encoder.conv1.weight": ["7"],
      query_tokens: ["3"],
    });
    for (
      const [only, name] of [["tac", "TwinAttentionCompositorCLIP"], ["hca", "HingebasedCrossAttentionBLIP2"]]
    ) {
      strictEqual((await run("convert", ["run.safetensors", "head.pt", "--only", only], cwd)).code, 0);
      using head = await openWeights(`${cwd}/head.pt`, { at: name });
      strictEqual(head.tensors.size, 1);
    }
    const none = await run("convert", ["run.safetensors", "--inspect", "--only", "visual"], cwd);
    deepStrictEqual([none.code, none.stdout], [2, ""]);
    match(
      none.stderr,
      /--only visual: run\.safetensors has no key below it\n {2}fix {4}its keys begin with .*textual/,
    );
  });
});

Deno.test("convert --inspect --model says which keys a model uses, leaves alone, and misses", async () => {
  await withFolder(async (cwd) => {
    await writeSafetensors(`${cwd}/clip.safetensors`, {
      "ln_final.weight": { dtype: "F16", shape: [640], data: new Uint16Array(640) },
      "ln_final.bias": row(1, 2),
      logit_scale: row(4.6),
    });
    const { code, stdout, stderr } = await run(
      "convert",
      ["clip.safetensors", "--inspect", "--model", "clip", "--json"],
      cwd,
    );
    strictEqual(code, 0, stderr);
    match(stdout, /^ln_final\.weight +\[640\] +F16 +[0-9a-f]{16} +used$/m);
    match(stdout, /^ln_final\.bias +\[2\] +F32 +[0-9a-f]{16} +misshaped: \[640\] wanted$/m);
    match(stdout, /^logit_scale .* left alone$/m);
    match(stdout, /^token_embedding\.weight +\[49408, 640\] +missing$/m);
    match(stdout, /^the text side of CLIP RN50x4: 1 keys used, 1 left alone, 147 missing, 1 misshaped$/m);
    const { rows } = JSON.parse(lastLine(stdout));
    strictEqual(rows.length, 150);
    // 1,280 bytes of zeros: sha256sum says the same
    strictEqual(
      rows.find(({ key }: { key: string }) => key === "ln_final.weight").sha256,
      "bfe492baf731a0dbf6e1e050f5bc3fe8c1b049383194dcdf82f023bfa409f462",
    );
  });
});

Deno.test("convert refuses what it cannot read or write, with what to do", async () => {
  await withFolder(async (cwd) => {
    const refusals: [args: string[], stderr: RegExp][] = [
      [[fixture("legacy.pth"), "a.pth"], /format from before 1\.6.*\n.*\n {2}fix .*\n.*python -c/],
      [[fixture("training.pth")], /^convert: OUT is missing/],
      [[fixture("training.pth"), "a.pth", "--inspect"], /^--inspect writes nothing, got "a\.pth"/],
      [[fixture("training.pth"), "a.bin"], /^a\.bin: expected a name that ends in/],
      [[fixture("training.pth"), "a.pth", "--class-name", "epoch"], /^--class-name: epoch is the key/],
      [
        [fixture("training.pth"), "a.pth", "--to", "safetensors"],
        /^a\.pth: its name ends as that of pth, and --to/,
      ],
      [["nope.pth", "a.pth"], /^nope\.pth: no such file/],
      [
        ["nope.pth", "--inspect", "--model", "clipp"],
        /^--model: expected none or blip2 or clip, got "clipp"/,
      ],
    ];
    for (const [args, message] of refusals) {
      const { code, stdout, stderr } = await run("convert", args, cwd);
      deepStrictEqual([code, stdout], [2, ""], args.join(" "));
      match(stderr, message);
    }
    deepStrictEqual([...Deno.readDirSync(cwd)], []);
  });
});
