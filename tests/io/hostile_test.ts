import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { type HostileFile, hostileFiles } from "./hostile_files.ts";

/** What one file came to, as `open_hostile.ts` tells it. */
interface Outcome {
  readonly path: string;
  readonly outcome: "read" | "refused" | "fault";
  readonly message: string;
  readonly ms: number;
  /** Of the process, when the file was done. */
  readonly rss: number;
}

const MAX_BYTES = 2 ** 30, MAX_MS = 10_000;

Deno.test("hostile files are refused: nothing of them runs, none takes 1 GiB or long", async () => {
  const files = [...hostileFiles()], folder = await Deno.makeTempDir();
  try {
    ok(files.length >= 500, `${files.length} files`);
    strictEqual(new Set(files.map(({ name }) => name)).size, files.length, "a name twice");
    for (const [i, { data }] of files.entries()) await Deno.writeFile(`${folder}/${i}`, data);
    const outcomes = await outcomesOf(files, folder);
    const wrong = outcomes.flatMap(({ outcome, message, ms, rss }, i) => {
      const { name, expect } = files[i];
      const isExpected = outcome === "refused" || (outcome === "read" && expect === "either");
      const isNamed = outcome === "read" || message.includes(`${folder}/${i}`);
      return isExpected && isNamed && ms < MAX_MS && rss < MAX_BYTES
        ? []
        : [{ name, outcome, message, ms, rss }];
    });
    deepStrictEqual(wrong, []);
    deepStrictEqual([...Deno.readDirSync(folder)].length, files.length, "a file was made");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Opens the files in a process that may read them and nothing else. */
async function outcomesOf(files: readonly HostileFile[], cwd: string): Promise<Outcome[]> {
  const script = new URL("open_hostile.ts", import.meta.url).pathname;
  const denied = ["write", "net", "env", "sys", "run", "ffi"].map((kind) => `--deny-${kind}`);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-npm",
      "--no-prompt",
      "--allow-read",
      ...denied,
      script,
      ...files.map((_, i) => `${cwd}/${i}`),
    ],
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  strictEqual(code, 0, new TextDecoder().decode(stderr));
  const lines = new TextDecoder().decode(stdout).trimEnd().split("\n").map((line) => JSON.parse(line));
  deepStrictEqual(lines.pop(), { polluted: 0 });
  strictEqual(lines.length, files.length);
  return lines;
}
