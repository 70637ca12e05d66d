/** Runs of the toy experiment, in this process, and what they leave. */
import { ok } from "node:assert/strict";
import { Progress } from "../../lib/train/progress.ts";
import { RunFolder } from "../../lib/train/run.ts";
import { trainRun } from "../../lib/train/train.ts";
import toy from "./toy_experiment.ts";

/** Aborted from the `n`-th time that the loop asks: before step `n` of the process, counted from 0. */
export function abortedAt(n: number): AbortSignal {
  let asked = 0;
  return {
    get aborted() {
      return asked++ >= n;
    },
    throwIfAborted() {},
  } as unknown as AbortSignal; // what the loop uses of one
}

const never = new AbortController().signal;
const silent = () => new Progress({ isTerminal: false, write: () => {} });

export async function train(out: string, signal = never): Promise<boolean> {
  const config = toy.configFrom();
  using run = await RunFolder.open({ out, experiment: toy.name, config, name: "run", isFresh: false });
  using progress = silent();
  return await trainRun(toy, { run, config, logEvery: 4, signal, progress });
}

/** Everything that a run leaves and that must not depend on interrupts. */
export const REMAINS = [
  "checkpoints/last.safetensors",
  "checkpoints/last.optimizer.safetensors",
  "checkpoints/best.safetensors",
  "log.jsonl",
  "train_metrics.csv",
  "validation_metrics.csv",
  "rankings_val.jsonl",
  "rankings_test.jsonl",
  "table.txt",
  "curves.svg",
] as const;

/** The bytes of such files, by name. */
export async function remains(
  out: string,
  names: readonly string[] = REMAINS,
): Promise<Record<string, string>> {
  const folder = `${out}/${toy.name}/run`, found: Record<string, string> = {};
  for (const name of names) found[name] = new Uint8Array(await Deno.readFile(`${folder}/${name}`)).toBase64();
  return found;
}

export async function withFolder(test: (out: string) => Promise<void>): Promise<void> {
  const out = await Deno.makeTempDir();
  try {
    await test(out);
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

let whole: Promise<Record<string, string>> | undefined;
/** What an uninterrupted run leaves. */
export const uninterrupted = () =>
  whole ??= (async () => {
    let found: Record<string, string> = {};
    await withFolder(async (out) => {
      ok(await train(out));
      found = await remains(out);
    });
    return found;
  })();
