/** A model's side of a file of weights: which keys it takes, and that they fit. */
import { DataError } from "../core/errors.ts";
import { sameShape, type Shape, showShape } from "../core/shape.ts";
import { toFloat32 } from "../io/floats.ts";
import { readAhead } from "../io/read_ahead.ts";
import type { TensorInfo, WeightsFile } from "../io/weights_file.ts";
import { byKey } from "../nn/module.ts";

/** The keys of a file and of a model, side by side. */
export interface KeyReport {
  /** In both, with one shape. */
  readonly used: readonly string[];
  /** In the file only: other parts of the original model, such as its language head. */
  readonly unused: readonly string[];
  /** In the model only, with its shape. */
  readonly missing: ReadonlyMap<string, Shape>;
  /** In both, with two shapes. */
  readonly misshaped: ReadonlyMap<string, { readonly file: Shape; readonly model: Shape }>;
}

/** Compares a file's tensors with a module's parameters; reads no values. */
export const compareKeys = (tensors: ReadonlyMap<string, TensorInfo>, module: object): KeyReport =>
  compareShapes(tensors, byKey(module, ""));

/** The same with what a model takes, by key. */
export function compareShapes(
  tensors: ReadonlyMap<string, TensorInfo>,
  own: ReadonlyMap<string, { readonly shape: Shape }>,
): KeyReport {
  const used: string[] = [], missing = new Map<string, Shape>();
  const misshaped = new Map<string, { file: Shape; model: Shape }>();
  for (const [key, { shape }] of own) {
    const info = tensors.get(key);
    if (!info) missing.set(key, shape);
    else if (sameShape(info.shape, shape)) used.push(key);
    else misshaped.set(key, { file: info.shape, model: shape });
  }
  return { used, unused: [...tensors.keys()].filter((key) => !own.has(key)), missing, misshaped };
}

/**
 * Sets the initial values of modules from a file, widened to f32: each tensor while the next one is read. Keys that the
 * modules lack are left alone, as published files need it; every key that they have must be there.
 *
 * @param model What errors call the model: `BLIP-2 Q-Former`.
 * @param modules Of one architecture: CaLa's three copies start from the same values, in the same memory.
 * @throws {DataError} If a key is missing or of another shape, or a tensor is damaged. Nothing is changed then.
 */
export async function loadWeights(
  file: WeightsFile,
  model: string,
  ...modules: readonly object[]
): Promise<KeyReport[]> {
  const reports = modules.map((module) => compareKeys(file.tensors, module));
  for (const report of reports) checkReport(report, file.name, model);
  const values = new Map<string, Float32Array<ArrayBuffer>>();
  const used = new Set(reports.flatMap((report) => report.used));
  const inFileOrder = [...file.tensors.keys()].filter((key) => used.has(key));
  for await (const [key, tensor] of readAhead(file, inFileOrder)) values.set(key, toFloat32(tensor, key));
  for (const module of modules) {
    for (const [key, { source }] of byKey(module, "")) source.data = values.get(key) ?? source.data;
  }
  return reports;
}

/** Lets pass what a model can be loaded from. @throws {DataError} If a key is missing or of another shape. */
export function checkReport({ used, missing, misshaped }: KeyReport, name: string, model: string): void {
  const where =
    `${name}: ${used.length} keys fit ${model}, ${missing.size} are missing, ${misshaped.size} misshaped`;
  for (const [key, shapes] of misshaped) {
    throw new DataError(
      `${name}: tensor "${key}" is ${showShape(shapes.file)}, ${model} has ${showShape(shapes.model)}`,
      {
        where,
        fix: `use a checkpoint of this model; deno task convert ${name} --inspect shows what is in it`,
      },
    );
  }
  for (const [key, shape] of missing) {
    throw new DataError(`${name}: no tensor "${key}", ${model} has it as ${showShape(shape)}`, {
      where,
      fix: `use a checkpoint of this model; deno task convert ${name} --inspect shows what is in it`,
    });
  }
}
