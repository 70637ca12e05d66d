/** The ONNX model of a backbone in the cache folder: written once, and never used damaged. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { sha256Hex, writeFileAtomic } from "../io/atomic.ts";
import type { Graph } from "./graph.ts";
import { encodeModel, type OnnxProto, weightBytes, weightPieces } from "./onnx.ts";

/** Where models are kept. */
export interface ModelFileOptions {
  readonly cacheDir: string;
  /** Told before a model is written. */
  readonly onProgress?: (message: string) => void;
}

/**
 * The path of a graph's model, `NAME.onnx`. Beside it are the weights, `NAME.weights`, and their checksum as `sha256sum`
 * writes it. Whatever of them is missing, cut short or changed is written anew.
 *
 * @param tensorsHash What tells the checkpoint's tensors from others: the name follows from it and the graph.
 * @throws {DataError} If a tensor of the checkpoint is damaged; no file is left behind then.
 */
export async function modelFile(
  graph: Graph,
  proto: OnnxProto,
  tensorsHash: string,
  { cacheDir, onProgress }: ModelFileOptions,
): Promise<string> {
  // The same tensors in another graph, of another version of this toolkit, are another file.
  const graphHash = sha256Hex(encodeModel(proto, graph, ""));
  const name = `${graph.name}-${sha256Hex(`${graphHash} ${tensorsHash}`).slice(0, 16)}`;
  const folder = join(cacheDir, "vision"), path = join(folder, `${name}.onnx`);
  const weights = join(folder, `${name}.weights`), sum = `${weights}.sha256`;
  const model = encodeModel(proto, graph, `${name}.weights`);
  const sumLine = (hash: string) => `${hash}  ${name}.weights\n`;

  const isWhole = await hashOfFile(path) === sha256Hex(model) &&
    await hashOfFile(sum) === sha256Hex(sumLine(await hashOfFile(weights) ?? ""));
  if (isWhole) return path;
  onProgress?.(`writing the backbone as ONNX, ${Math.ceil(weightBytes(graph) / 1e6)} MB: ${path}`);
  await Deno.mkdir(folder, { recursive: true });
  const hash = createHash("sha256");
  await writeFileAtomic(weights, hashed(weightPieces(graph), hash));
  await writeFileAtomic(sum, sumLine(hash.digest("hex")));
  await writeFileAtomic(path, model);
  return path;
}

function* hashed(
  pieces: Iterable<Uint8Array>,
  hash: { update(piece: Uint8Array): void },
): Generator<Uint8Array> {
  for (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
}

/** SHA-256 of a file, or nothing where there is none. */
async function hashOfFile(path: string): Promise<string | undefined> {
  try {
    using file = await Deno.open(path);
    const hash = createHash("sha256"), buffer = new Uint8Array(4 * 2 ** 20);
    for (let n = await file.read(buffer); n !== null; n = await file.read(buffer)) {
      hash.update(buffer.subarray(0, n));
    }
    return hash.digest("hex");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
