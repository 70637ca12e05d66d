/** What a vision backbone is to a file of weights: the sizes that its shapes tell, and the keys that it takes. */
import { DataError } from "../core/errors.ts";
import { type Shape, showShape } from "../core/shape.ts";
import { toFloat32 } from "../io/floats.ts";
import type { WeightsFile } from "../io/weights_file.ts";
import type { Graph, GraphBuilder } from "./graph.ts";

/** A backbone, its sizes known. */
export interface VisionModel {
  /** What errors call it. */
  readonly title: string;
  /** Every key that it takes, with its shape. */
  readonly keys: ReadonlyMap<string, { readonly shape: Shape }>;
  /** Side of the square images, in pixels. */
  readonly imageSize: number;
  /** What it gives of an image, by name. */
  readonly fields: Readonly<Record<string, Shape>>;
  graph(weights: VisionWeights): Graph;
}

/** The checkpoint's tensors as a graph takes them: f32. */
export class VisionWeights {
  readonly #file: WeightsFile;
  constructor(file: WeightsFile) {
    this.#file = file;
  }

  /** A tensor's values, widened to f32. @throws {DataError} If it is damaged, or holds whole numbers. */
  read(key: string): Float32Array<ArrayBuffer> {
    return toFloat32(this.#file.read(key), key);
  }

  /** Adds a tensor to a graph as it is. */
  add(g: GraphBuilder, key: string): string {
    return g.weight(key, { shape: this.#shape(key), values: () => this.read(key) });
  }

  /** Adds a linear layer's weight `[out, in]` as `[in, out]`: `MatMul` multiplies by it from the right. */
  addTransposed(g: GraphBuilder, key: string): string {
    const [outputs, inputs] = this.#shape(key);
    return g.weight(key, {
      shape: [inputs, outputs],
      values: () => transposed(this.read(key), outputs, inputs),
    });
  }

  #shape(key: string): Shape {
    return this.#file.tensors.get(key)?.shape ?? [];
  }
}

const TILE = 32; // rows and columns that stay in the cache

function transposed(x: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const y = new Float32Array(x.length);
  for (let r0 = 0; r0 < rows; r0 += TILE) {
    for (let c0 = 0; c0 < columns; c0 += TILE) {
      const r1 = Math.min(rows, r0 + TILE), c1 = Math.min(columns, c0 + TILE);
      for (let r = r0; r < r1; r++) for (let c = c0; c < c1; c++) y[c * rows + r] = x[r * columns + c];
    }
  }
  return y;
}

/** Attention heads of a width: 64 wide each, at least one. @throws {DataError} If the width has no such parts. */
export function headsOf(width: number, { name }: WeightsFile): number {
  const heads = Math.max(1, Math.floor(width / 64));
  if (width % heads === 0) return heads;
  throw new DataError(`${name}: a width of ${width} has no heads of 64`, { fix: fixOf(name) });
}

/** The shape of a tensor that tells sizes. @throws {DataError} If it is missing or of another rank. */
export function shapeOf({ name, tensors }: WeightsFile, title: string, key: string, rank: number): Shape {
  const shape = tensors.get(key)?.shape;
  if (shape?.length === rank && shape.every((n) => n > 0)) return shape;
  throw new DataError(
    shape
      ? `${name}: tensor "${key}" is ${showShape(shape)}, ${title} has ${rank} axes there`
      : `${name}: no tensor "${key}", which ${title} has`,
    { where: `${name}, ${tensors.size} tensors`, fix: fixOf(name) },
  );
}

/** The side of the square grid of a table of positions, which has one row more for the token in front. */
export function sideOf(file: WeightsFile, title: string, key: string): number {
  const [rows] = shapeOf(file, title, key, 2), side = Math.round(Math.sqrt(rows - 1));
  if (side > 0 && side * side === rows - 1) return side;
  throw new DataError(`${file.name}: tensor "${key}" has ${rows} rows, ${title} has a square and one more`, {
    fix: fixOf(file.name),
  });
}

/** How many blocks there are, from `PREFIX0.` on. @throws {DataError} If there is none. */
export function blockCount({ name, tensors }: WeightsFile, title: string, prefix: string): number {
  const found = new Set<string>();
  for (const key of tensors.keys()) {
    if (key.startsWith(prefix)) found.add(key.slice(prefix.length).split(".", 1)[0]);
  }
  let count = 0;
  while (found.has(String(count))) count++;
  if (count > 0) return count;
  throw new DataError(`${name}: no tensor "${prefix}0...", which ${title} has`, { fix: fixOf(name) });
}

const fixOf = (name: string): string =>
  `use a checkpoint of this model; deno task convert ${name} --inspect shows what is in it`;
