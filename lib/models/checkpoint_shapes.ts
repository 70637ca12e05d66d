/** Sizes of a published model, read from the shapes in its file of weights. */
import { DataError } from "../core/errors.ts";
import { showShape } from "../core/shape.ts";
import type { WeightsFile } from "../io/weights_file.ts";

/** What can be told of a file of weights without reading a value. */
export type WeightsShapes = Pick<WeightsFile, "name" | "tensors">;

/** Width of an attention head in BLIP-2 and in CLIP. */
const HEAD_WIDTH = 64;

/** The shapes of a file, asked for by key. */
export class CheckpointShapes {
  readonly #file: WeightsShapes;
  readonly #model: string;

  /** @param model What errors call the model. */
  constructor(file: WeightsShapes, model: string) {
    this.#file = file;
    this.#model = model;
  }

  /**
   * The sizes of a tensor.
   *
   * @param expected Its shape in letters, for errors: `[1, K, D]`.
   * @throws {DataError} If there is no such tensor, or it has another number of dimensions.
   */
  dims(key: string, ...expected: readonly string[]): readonly number[] {
    const shape = this.#file.tensors.get(key)?.shape, wanted = `[${expected.join(", ")}]`;
    if (shape?.length === expected.length) return shape;
    throw this.error(
      shape
        ? `tensor "${key}" is ${showShape(shape)}, ${this.#model} has it as ${wanted}`
        : `no tensor "${key}", ${this.#model} has it as ${wanted}`,
    );
  }

  has(key: string): boolean {
    return this.#file.tensors.has(key);
  }

  /** How many layers there are: keys `PREFIX.0.SUFFIX`, `PREFIX.1.SUFFIX`, ... @throws {DataError} If there are none. */
  layers(prefix: string, suffix: string): number {
    let count = 0;
    while (this.has(`${prefix}.${count}.${suffix}`)) count++;
    if (count > 0) return count;
    throw this.error(`no tensor "${prefix}.0.${suffix}", ${this.#model} has one in each layer`);
  }

  /** Heads of an attention of some width: it is not in the file. @throws {DataError} If the width has no whole heads. */
  heads(width: number): number {
    if (width < HEAD_WIDTH) return 1;
    if (width % HEAD_WIDTH === 0) return width / HEAD_WIDTH;
    throw this.error(`${this.#model} is ${width} wide, which is not a multiple of ${HEAD_WIDTH}`);
  }

  error(problem: string): DataError {
    const { name } = this.#file;
    return new DataError(`${name}: ${problem}`, {
      where: name,
      fix: `use a checkpoint of this model; deno task convert ${name} --inspect shows what is in it`,
    });
  }
}
