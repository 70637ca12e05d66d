/** One process a run folder. */
import { hostname } from "node:os";
import { ConfigError } from "../core/errors.ts";
import { writeFileAtomic } from "./atomic.ts";

/** Who holds a lock. */
export interface LockHolder {
  pid: number;
  /** Absent where the process has no permission to ask. */
  host?: string;
  /** When the lock was taken: ISO 8601. */
  since: string;
}

/** Held until disposed, or until the process ends in whatever way. */
export interface FolderLock extends Disposable {
  readonly holder: LockHolder;
}

/**
 * Keeps every other process, and a second caller in this one, out of a folder.
 *
 * The operating system holds the lock (`flock`, on Windows `LockFileEx`) on the open file `lock`, so it vanishes with
 * its process, after `kill -9` too: there are no stale locks. `lock.json` beside it only says who holds it; it is a
 * second file because Windows lets nobody read a locked one. `lock` itself is never deleted: two processes could
 * otherwise hold locks on two files of that name.
 *
 * @throws {ConfigError} If the folder is in use (names the process), or its file system has no locks.
 *
 * @example Usage
 * ```ts
 * const folder = await Deno.makeTempDir();
 * using lock = await lockFolder(folder);
 * const second = await lockFolder(folder).catch((error) => error);
 * if (second.name !== "ConfigError" || lock.holder.pid !== Deno.pid) throw new Error("lockFolder");
 * ```
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const holderPath = `${folder}/lock.json`;
  const file = await Deno.open(`${folder}/lock`, { write: true, create: true });
  try {
    if (!await tryLock(file, folder)) throw inUse(folder, await readHolder(holderPath));
    const holder: LockHolder = { pid: Deno.pid, host: hostName(), since: new Date().toISOString() };
    await writeFileAtomic(holderPath, JSON.stringify(holder) + "\n");
    return {
      holder,
      [Symbol.dispose]() {
        try {
          Deno.removeSync(holderPath); // while the lock is held: it may be another's a moment later
        } catch (error) {
          if (!(error instanceof Deno.errors.NotFound)) throw error;
        } finally {
          file.close();
        }
      },
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

async function tryLock(file: Deno.FsFile, folder: string): Promise<boolean> {
  try {
    return await file.tryLock(true);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`cannot lock ${folder}: ${reason}`, {
      fix: "put the run folder on a file system with file locks, such as a local disk",
      cause,
    });
  }
}

function inUse(folder: string, holder?: LockHolder): ConfigError {
  const who = holder
    ? `process ${holder.pid}` + (holder.host ? ` on ${holder.host}` : "")
    : "another process";
  return new ConfigError(`${folder} is in use by ${who}` + (holder ? ` since ${holder.since}` : ""), {
    where: `${folder}/lock`,
    fix: `wait for it, end it${holder ? ` (kill ${holder.pid})` : ""}, or give this run another name`,
  });
}

/** Nothing if the holder has the lock but has not yet written its name, or the text is not of this form. */
async function readHolder(path: string): Promise<LockHolder | undefined> {
  try {
    const value = JSON.parse(await Deno.readTextFile(path));
    return typeof value?.pid === "number" && typeof value?.since === "string" ? value : undefined;
  } catch {
    return undefined; // only a courtesy in a message that is raised anyway
  }
}

/** The host's name, without asking the user for a permission. */
function hostName(): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "hostname" });
  return state === "granted" ? hostname() : undefined;
}
