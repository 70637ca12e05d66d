import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { isUserError } from "../../lib/core/errors.ts";
import toy from "./toy_experiment.ts";
import { abortedAt, remains, train, uninterrupted, withFolder } from "./toy_run.ts";

/** Ways in which a file breaks. */
const damages: Record<string, (path: string, bytes: Uint8Array) => Promise<void>> = {
  emptied: (path) => Deno.writeFile(path, new Uint8Array()),
  halved: (path, bytes) => Deno.writeFile(path, bytes.subarray(0, bytes.length >> 1)),
  overwritten: (path) =>
    Deno.writeFile(path, Uint8Array.from({ length: 300 }, (_, i) => (i * 151 + 7) & 255)),
  removed: (path) => Deno.remove(path),
  "replaced by other JSON": (path) => Deno.writeTextFile(path, '{"format":1,"metrics":{"val":3},"run":1}\n'),
};

/** Files of a run that was interrupted after 7 steps. */
const files = [
  "run.json",
  "before_training.json",
  "log.jsonl",
  "train_metrics.csv",
  "validation_metrics.csv",
  "checkpoints/last.safetensors",
  "checkpoints/last.optimizer.safetensors",
  "checkpoints/best.safetensors",
];

let whole: Promise<Map<string, Uint8Array>> | undefined;
/** The files of such a run. */
const interrupted = () =>
  whole ??= (async () => {
    const found = new Map<string, Uint8Array>();
    await withFolder(async (out) => {
      strictEqual(await train(out, abortedAt(7)), false);
      const folder = `${out}/${toy.name}/run`;
      const read = async (below: string): Promise<void> => {
        for await (const { name, isDirectory } of Deno.readDir(`${folder}/${below}`)) {
          const path = below + name;
          if (isDirectory) await read(`${path}/`);
          else found.set(path, await Deno.readFile(`${folder}/${path}`));
        }
      };
      await read("");
    });
    return found;
  })();

for (const file of files) {
  Deno.test(`a run whose ${file} is damaged is refused in the user's terms, or ends with the same weights`, async () => {
    const bytes = (await interrupted()).get(file);
    ok(bytes, "no such file");
    const fitting = Object.entries(damages).filter(([how]) =>
      !how.includes("JSON") || file.endsWith(".json")
    );
    await Promise.all(fitting.map(([how, damage]) =>
      withFolder(async (copy) => {
        const folder = `${copy}/${toy.name}/run`;
        await writeFiles(folder, await interrupted());
        await damage(`${folder}/${file}`, bytes);
        const error = await train(copy).then(() => undefined, (error) => error);
        if (error) {
          ok(isUserError(error), `${how}: ${Deno.inspect(error)}`);
          ok(error.message.includes(file.split("/").at(-1) ?? file), `${how}: ${error.message}`);
          return;
        }
        const weights = "checkpoints/last.safetensors";
        deepStrictEqual((await remains(copy))[weights], (await uninterrupted())[weights], how);
      })
    ));
  });
}

async function writeFiles(folder: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  await Deno.mkdir(`${folder}/checkpoints`, { recursive: true });
  for (const [path, bytes] of files) await Deno.writeFile(`${folder}/${path}`, bytes);
}
