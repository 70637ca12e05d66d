/** A Worker of `check_pool.ts`: checks or hashes some files a message. */
import { isUserError } from "../core/errors.ts";
import { checkFile, type FileCheck, hashFile } from "./image_check.ts";

/** Files to look at. */
export interface Job {
  readonly what: "check" | "decode" | "hash";
  readonly paths: readonly string[];
}
/** One result a path, or why there is none. */
export type Answer =
  | { readonly checks: FileCheck[] }
  | { readonly hashes: string[] }
  | { readonly message: string; readonly fix?: string; readonly isUserError: boolean };

async function answer({ what, paths }: Job): Promise<Answer> {
  try {
    if (what === "hash") return { hashes: paths.map(hashFile) };
    const checks: FileCheck[] = [];
    for (const path of paths) checks.push(await checkFile(path, what === "decode"));
    return { checks };
  } catch (error) {
    if (isUserError(error)) return { message: error.message, fix: error.fix, isUserError: true };
    return {
      message: error instanceof Error ? error.stack ?? error.message : String(error),
      isUserError: false,
    };
  }
}

// Deno's types are those of the main thread, where `postMessage` is a window's.
const scope = self as unknown as {
  onmessage: (event: MessageEvent<Job>) => void;
  postMessage: (value: Answer) => void;
};
scope.onmessage = async ({ data }) => scope.postMessage(await answer(data));
