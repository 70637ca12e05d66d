/** Many files looked at in several threads. */
import { DataError } from "../core/errors.ts";
import type { OnProgress } from "../core/progress.ts";
import type { Answer, Job } from "./check_worker.ts";
import type { FileCheck } from "./image_check.ts";

/** Files a message: few enough that progress shows and threads end together. */
const CHUNK = 64;

/** A pool's threads and where its progress goes. */
export interface PoolOptions {
  readonly workers?: number;
  readonly onProgress?: OnProgress;
}

/** Checks files, or decodes them whole: one result a path. */
export async function checkFiles(
  paths: readonly string[],
  { decode = false, ...options }: PoolOptions & { decode?: boolean } = {},
): Promise<FileCheck[]> {
  const what = decode ? "decode" : "check";
  return (await inWorkers({ what, label: `${what}ing images`, paths }, options)).flatMap((answer) =>
    "checks" in answer ? answer.checks : []
  );
}

/** SHA-256 of files: one a path. */
export async function hashFiles(paths: readonly string[], options: PoolOptions = {}): Promise<string[]> {
  return (await inWorkers({ what: "hash", label: "comparing images", paths }, options)).flatMap((answer) =>
    "hashes" in answer ? answer.hashes : []
  );
}

/** The answers for all chunks of the paths, in their order. */
async function inWorkers(
  { what, label, paths }: Job & { label: string },
  { workers = navigator.hardwareConcurrency, onProgress = () => {} }: PoolOptions,
): Promise<Answer[]> {
  const chunks: string[][] = [];
  for (let i = 0; i < paths.length; i += CHUNK) chunks.push(paths.slice(i, i + CHUNK));
  const answers: Answer[] = new Array(chunks.length);
  let next = 0, done = 0;
  const runOne = async () => {
    const worker = new Worker(import.meta.resolve("./check_worker.ts"), { type: "module" });
    try {
      for (let i = next++; i < chunks.length; i = next++) {
        answers[i] = await ask(worker, { what, paths: chunks[i] });
        onProgress({ what: label, done: done += chunks[i].length, total: paths.length });
      }
    } finally {
      worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(workers, chunks.length) }, runOne));
  return answers;
}

function ask(worker: Worker, job: Job): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  worker.onmessage = ({ data }: MessageEvent<Answer>) => {
    if (!("message" in data)) return resolve(data);
    reject(data.isUserError ? new DataError(data.message, { fix: data.fix }) : new Error(data.message));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(`a Worker that reads images died: ${event.message}`));
  };
  worker.postMessage(job);
  return promise;
}
