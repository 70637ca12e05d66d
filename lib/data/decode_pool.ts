/** Images decoded and preprocessed in Workers, while the main thread feeds the GPU. */
import { ConfigError, DataError } from "../core/errors.ts";
import type { Answer, Job } from "./decode_worker.ts";
import type { PreprocessOptions } from "./preprocess.ts";

interface Waiting {
  readonly job: Job;
  readonly resolve: (pixels: Float32Array<ArrayBuffer>) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Reads images in several threads. Each Worker holds one image at a time, so memory is bounded by what the caller asks for
 * ahead. Disposing it ends the Workers and refuses what is still waiting.
 */
export class DecodePool implements Disposable {
  readonly #workers: Worker[];
  readonly #idle: Worker[];
  readonly #queue: Waiting[] = [];
  readonly #running = new Map<Worker, Waiting>();
  #nextId = 0;
  #closed?: Error;

  /**
   * @param options.workers Threads. Default: one a core.
   * @throws {ConfigError} If `workers` is not a positive integer.
   */
  constructor(
    readonly options: PreprocessOptions,
    { workers = navigator.hardwareConcurrency }: { workers?: number } = {},
  ) {
    if (!Number.isInteger(workers) || workers < 1) {
      throw new ConfigError(`workers: expected a positive integer, got ${workers}`);
    }
    this.#workers = Array.from({ length: workers }, () => this.#start());
    this.#idle = [...this.#workers];
  }

  /**
   * One image for the vision backbone.
   *
   * @param sha256 What the file's bytes must be; as default anything.
   * @returns `[3, dim, dim]`
   * @throws {DataError} If the file is missing, not as it must be, or not a whole image of at most 50 million pixels; it
   * names the file.
   */
  read(path: string, sha256?: string): Promise<Float32Array<ArrayBuffer>> {
    if (this.#closed) return Promise.reject(this.#closed);
    const { promise, resolve, reject } = Promise.withResolvers<Float32Array<ArrayBuffer>>();
    this.#queue.push({ job: { id: this.#nextId++, path, options: this.options, sha256 }, resolve, reject });
    this.#feed();
    return promise;
  }

  #feed(): void {
    while (this.#idle.length > 0 && this.#queue.length > 0) {
      const worker = this.#idle.pop(), waiting = this.#queue.shift();
      if (!worker || !waiting) return;
      this.#running.set(worker, waiting);
      worker.postMessage(waiting.job);
    }
  }

  #start(): Worker {
    const worker = new Worker(import.meta.resolve("./decode_worker.ts"), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const waiting = this.#running.get(worker);
      this.#running.delete(worker);
      this.#idle.push(worker);
      if ("pixels" in data) waiting?.resolve(data.pixels);
      else {
        const { message, fix, isUserError } = data;
        waiting?.reject(isUserError ? new DataError(message, { fix }) : new Error(message));
      }
      this.#feed();
    };
    worker.onerror = (event) => { // one that cannot start, or died: what an image is to blame for comes as a message
      event.preventDefault();
      this.#close(new Error(`a Worker that decodes images died: ${event.message}`));
    };
    return worker;
  }

  [Symbol.dispose](): void {
    this.#close(new Error("the decode pool was closed"));
  }

  #close(reason: Error): void {
    this.#closed ??= reason;
    for (const worker of this.#workers) worker.terminate();
    for (const { reject } of [...this.#running.values(), ...this.#queue]) reject(this.#closed);
    this.#queue.length = this.#idle.length = 0;
    this.#running.clear();
  }
}
