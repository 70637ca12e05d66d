/** A Worker of `decode_pool.ts`: reads, decodes and preprocesses one image a message. */
import { DataError, isUserError } from "../core/errors.ts";
import { sha256Hex } from "../io/atomic.ts";
import { type Decoder, imageDecoder } from "./decode.ts";
import { preprocess, type PreprocessOptions } from "./preprocess.ts";

/** An image to read. */
export interface Job {
  readonly id: number;
  readonly path: string;
  readonly options: PreprocessOptions;
  /** What the file's bytes must be; as default anything. */
  readonly sha256?: string;
}

/** What became of it. An error loses its class on the way between threads: the texts are sent. */
export type Answer =
  & { readonly id: number }
  & (
    | { readonly pixels: Float32Array<ArrayBuffer> } // [3, dim, dim]
    | { readonly message: string; readonly fix?: string; readonly isUserError: boolean }
  );

let decoder: Promise<Decoder> | undefined;

async function answer({ id, path, options, sha256 }: Job): Promise<Answer> {
  try {
    const decode = await (decoder ??= imageDecoder()), bytes = await Deno.readFile(path);
    if (sha256 !== undefined && sha256Hex(bytes) !== sha256) {
      throw new DataError(`${path}: the file was changed meanwhile`, { fix: "start the command again" });
    }
    return { id, pixels: preprocess(await decode(bytes, path), options) };
  } catch (error) {
    if (isUserError(error)) return { id, message: error.message, fix: error.fix, isUserError: true };
    const isRefusal = error instanceof Error && "code" in error; // missing, not readable, a folder
    const reason = error instanceof Error ? error.message : String(error);
    const message = reason.includes(path) ? reason : `${path}: ${reason}`;
    return { id, message, isUserError: isRefusal };
  }
}

// Deno's types are those of the main thread, where `postMessage` is a window's.
const scope = self as unknown as {
  onmessage: (event: MessageEvent<Job>) => void;
  postMessage: (value: Answer, transfer: Transferable[]) => void;
};
scope.onmessage = async ({ data: job }) => {
  const value = await answer(job);
  scope.postMessage(value, "pixels" in value ? [value.pixels.buffer] : []);
};
