/** A run's experiment at Comet: the same one when the run goes on. */
import { DataError } from "../core/errors.ts";
import { writeFileAtomic } from "../io/atomic.ts";
import { isJsonObject } from "../io/json_keys.ts";
import { Comet, type CometAccount } from "./comet.ts";
import type { StoredConfig } from "./config.ts";
import type { Progress } from "./progress.ts";
import type { RunFolder } from "./run.ts";

/** Where a run notes its experiment's key. It is no secret; the account's key is, and is not written. */
const FILE = "comet.json";

/** An open experiment; disposing of it waits for what is still to be sent, some seconds at most. */
export async function openMirror(
  account: CometAccount,
  run: RunFolder,
  config: StoredConfig,
  progress: Progress,
): Promise<Comet & AsyncDisposable> {
  const path = run.file(FILE), known = await readIfThere(path);
  const sameProject = known?.workspace === account.workspace && known?.url === account.url;
  const comet = new Comet({
    ...account,
    project: run.experiment,
    experiment: run.name,
    parameters: config,
    experimentKey: sameProject ? known?.experimentKey : undefined,
    async onCreated(experimentKey) {
      const { workspace, url } = account;
      await writeFileAtomic(path, JSON.stringify({ url, workspace, experimentKey }, null, 2) + "\n");
      progress.note(`logged at ${url}/${workspace}/${run.experiment}/${experimentKey}`);
    },
    onProblem: (text) => progress.note(`note: ${text}`),
  });
  return Object.assign(comet, {
    async [Symbol.asyncDispose]() {
      const lost = await comet.close();
      if (lost > 0) progress.note(`note: ${lost} messages to Comet were not sent; log.jsonl has all of it`);
    },
  });
}

async function readIfThere(
  path: string,
): Promise<Record<"url" | "workspace" | "experimentKey", string> | undefined> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const fix = "delete the file: the run goes on as a new experiment at Comet";
  try {
    const value: unknown = JSON.parse(text);
    if (isJsonObject(value) && typeof value.experimentKey === "string") {
      return {
        url: String(value.url),
        workspace: String(value.workspace),
        experimentKey: value.experimentKey,
      };
    }
  } catch (cause) {
    throw new DataError(`${path}: not JSON`, { where: path, fix, cause });
  }
  throw new DataError(`${path}: holds no experiment of Comet`, { where: path, fix });
}
