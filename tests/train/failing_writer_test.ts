/** A disk that takes n bytes and no more, in this process: the run ends in the user's terms and goes on to the same bits. */
import { deepStrictEqual, match, ok } from "node:assert/strict";
import { asRefusal } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import { remains, train, uninterrupted, withFolder } from "./toy_run.ts";

/** Runs `task` while files take `limit` bytes in all. Returns how many were written, and the error that ended the task. */
async function withDisk(
  limit: number,
  task: () => Promise<unknown>,
): Promise<{ written: number; error?: unknown }> {
  const { prototype } = Deno.FsFile, { write } = prototype;
  let written = 0;
  prototype.write = function (bytes: Uint8Array) {
    const room = Math.max(0, limit - written);
    if (room === 0) {
      return Promise.reject(
        Object.assign(new Error("No space left on device (os error 28)"), { code: "ENOSPC" }),
      );
    }
    written += Math.min(room, bytes.length);
    return write.call(this, bytes.subarray(0, room)); // as a disk does: a part of it, then nothing
  };
  try {
    await task();
    return { written };
  } catch (error) {
    return { written, error };
  } finally {
    prototype.write = write;
  }
}

Deno.test("a writer that fails after n bytes ends a run with a message and leaves what it can go on from", async () => {
  await withFolder(async (out) => {
    const total = (await withDisk(Infinity, () => train(`${out}/whole`))).written;
    const random = new Random(1, "bytes");
    // The last file written is run.json, of over 1,000 bytes. Another run may write some bytes fewer (results.json names
    // its folder, logs hold times): all but the last byte may be enough.
    const limits = [0, ...Array.from({ length: 3 }, () => random.nextInt(total)), total - 100];
    for (const limit of limits) {
      const { error } = await withDisk(limit, () => train(`${out}/${limit}`));
      const refusal = asRefusal(error);
      ok(refusal, `after ${limit} of ${total} bytes: ${Deno.inspect(error)}`);
      match(refusal.message, /^No space left on device .*: \S+$/); // which file it was
    }
    await Promise.all(limits.map(async (limit) => {
      ok(await train(`${out}/${limit}`));
      deepStrictEqual(
        await remains(`${out}/${limit}`),
        await uninterrupted(),
        `after ${limit} of ${total} bytes`,
      );
    }));
  });
});
