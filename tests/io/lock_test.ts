import assert from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { lockFolder } from "../../lib/io/lock.ts";

/** A process that takes the lock, says "locked" or the error, and stays until its stdin closes. */
function holder(folder: string): Deno.ChildProcess {
  const code = `
    import { lockFolder } from ${JSON.stringify(new URL("../../lib/io/lock.ts", import.meta.url).href)};
    try { await lockFolder(${JSON.stringify(folder)}); console.log("locked"); }
    catch (error) { console.log(error.message); Deno.exit(2); }
    await Deno.stdin.read(new Uint8Array(1));`;
  const url = `data:application/typescript,${encodeURIComponent(code)}`;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-config", "--allow-read", "--allow-write", "--allow-import", url],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

async function firstLine(child: Deno.ChildProcess): Promise<string> {
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  return new TextDecoder().decode(value).trim();
}

async function end(child: Deno.ChildProcess, signal: Deno.Signal): Promise<void> {
  child.kill(signal);
  await child.status;
  await child.stdin.close().catch(() => {}); // the pipe is broken: its reader is gone
  await child.stdout.cancel();
}

Deno.test("lockFolder() lets one caller in, names it to the second, and lets go when disposed", async () => {
  const folder = await Deno.makeTempDir();
  {
    using lock = await lockFolder(folder);
    assert.equal(lock.holder.pid, Deno.pid);
    await assert.rejects(lockFolder(folder), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, new RegExp(`is in use by process ${Deno.pid}.* since 20`));
      assert.match(error.fix ?? "", /another name/);
      return true;
    });
  }
  using _again = await lockFolder(folder);
  await Deno.remove(`${folder}/lock.json`); // disposing copes with a folder that was tidied up
});

Deno.test("lockFolder() keeps another process out and takes over after kill -9", async () => {
  const folder = await Deno.makeTempDir();
  const first = holder(folder);
  assert.equal(await firstLine(first), "locked");
  await assert.rejects(lockFolder(folder), new RegExp(`is in use by process ${first.pid} `));

  await end(first, "SIGKILL");
  assert.equal(
    JSON.parse(await Deno.readTextFile(`${folder}/lock.json`)).pid,
    first.pid,
    "it had no time to tidy up",
  );
  {
    using lock = await lockFolder(folder);
    assert.equal(lock.holder.pid, Deno.pid);
    const second = holder(folder);
    assert.match(await firstLine(second), new RegExp(`is in use by process ${Deno.pid} `));
    assert.equal((await second.status).code, 2);
    await second.stdin.close().catch(() => {});
    await second.stdout.cancel();
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("lockFolder() refuses a locked folder whose holder is not known", async () => {
  const folder = await Deno.makeTempDir();
  using file = await Deno.open(`${folder}/lock`, { write: true, create: true });
  assert.ok(await file.tryLock(true));
  await assert.rejects(lockFolder(folder), /is in use by another process$/);
  await Deno.writeTextFile(`${folder}/lock.json`, "{torn");
  await assert.rejects(lockFolder(folder), /is in use by another process$/);
});
