/** What tells one frozen backbone from another. */
import { createHash } from "node:crypto";
import { bytesOfTensor, type WeightsFile } from "../io/stored_tensor.ts";
import { checkReport, compareShapes } from "../models/weights.ts";
import type { VisionModel } from "./keys.ts";
import { resnet } from "./resnet.ts";
import { vit } from "./vit.ts";

/** Architectures by the encoder that they belong to. */
const MODELS = { blip2: vit, clip: resnet } as const;
/** The encoders. */
export type VisionArch = keyof typeof MODELS;

/**
 * The backbone of an architecture that a file holds.
 *
 * @throws {DataError} If a key is missing or misshaped.
 */
export function visionModelOf(weights: WeightsFile, arch: VisionArch, heads?: number): VisionModel {
  const model = MODELS[arch](weights, heads);
  checkReport(compareShapes(weights.tensors, model.keys), weights.name, model.title);
  return model;
}

/** SHA-256 of the tensors that a backbone is made of, with their keys, shapes and dtypes, in the order of their keys. */
export function hashOfModel(weights: WeightsFile, { keys }: VisionModel): string {
  const hash = createHash("sha256");
  for (const key of [...keys.keys()].sort()) {
    const tensor = weights.read(key);
    hash.update(`${key} ${tensor.dtype} ${tensor.shape.join("x")}\n`);
    hash.update(bytesOfTensor(tensor));
  }
  return hash.digest("hex");
}

/**
 * The hash under which a feature store knows the backbone of a file: whether the two belong together.
 *
 * @throws {DataError} If a key is missing, misshaped or damaged.
 */
export const backboneHash = (weights: WeightsFile, arch: VisionArch): string =>
  hashOfModel(weights, visionModelOf(weights, arch));
