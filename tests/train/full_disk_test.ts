/** A disk that is full: the run says so, keeps what it had, and goes on to the same bits when there is room. */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { run, toy } from "../tasks/run_task.ts";
import { remains, uninterrupted, withFolder } from "./toy_run.ts";

const mount = async (...args: string[]) =>
  (await new Deno.Command("mount", { args, stderr: "null" }).output()).success;

/** A tmpfs of some KiB; nothing where this process may not mount one. */
async function smallDisk(folder: string, kib: number): Promise<AsyncDisposable | undefined> {
  if (Deno.build.os !== "linux" || !await mount("-t", "tmpfs", "-o", `size=${kib}k`, "tmpfs", folder)) {
    return undefined;
  }
  return {
    async [Symbol.asyncDispose]() {
      await new Deno.Command("umount", { args: [folder] }).output();
    },
  };
}

const isRoot = await (async () => {
  const folder = await Deno.makeTempDir();
  const disk = await smallDisk(folder, 16);
  await disk?.[Symbol.asyncDispose]();
  await Deno.remove(folder);
  return disk !== undefined;
})();

Deno.test({
  name: "a full disk ends a run with a message; with room it goes on to the same bits (needs root and Linux)",
  ignore: !isRoot,
  fn: () =>
    withFolder(async (folder) => {
      const room = await sizeOfRun();
      // From no room for the manifest to none for the last file.
      for (const kib of [4, Math.floor(room * 0.6), room - 8]) {
        await using _disk = await smallDisk(folder, kib);
        const args = [toy, "--out", folder, "--name", "run"];
        const full = await run("train", args, folder);
        strictEqual(full.code, 2, full.stderr);
        match(full.stderr, /^No space left on device.*\n {2}fix {4}free some space/m);
        await mount("-o", "remount,size=8m", folder);
        const { code, stderr } = await run("train", args, folder);
        strictEqual(code, 0, stderr);
        const { "curves.svg": _, ...expected } = await uninterrupted(); // a process without npm draws none
        deepStrictEqual(await remains(folder, Object.keys(expected)), expected, `${kib} KiB`);
      }
    }),
});

/** KiB that a whole run takes. */
async function sizeOfRun(): Promise<number> {
  const found = await uninterrupted();
  return Math.ceil(Object.values(found).reduce((sum, base64) => sum + base64.length * 3 / 4, 0) / 1024);
}
