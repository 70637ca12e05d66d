/** Whether weights, features and what was computed of both belong together. */
import { createHash, type Hash } from "node:crypto";
import { join } from "node:path";
import { ConfigError } from "../core/errors.ts";
import { featureKey, type FeatureSettings } from "../data/feature_layout.ts";
import type { WeightsFile } from "../io/weights_file.ts";
import { blip2From } from "../models/blip2_from.ts";
import type { QFormer } from "../models/qformer.ts";
import { byKey } from "../nn/module.ts";
import { backboneHash } from "../vision/backbone_hash.ts";

/** Where the backbone's keys begin. */
const VISION = { blip2: "visual_encoder.", clip: "visual." };

/**
 * The store's features must come from the same checkpoint, if its file holds the backbone too.
 *
 * @throws {ConfigError} If they are of another.
 */
export function checkBackbone(
  file: WeightsFile,
  arch: keyof typeof VISION,
  store: string,
  backbone: string,
): void {
  const hasVision = [...file.tensors.keys()].some((key) => key.startsWith(VISION[arch]));
  if (!hasVision || backboneHash(file, arch) === backbone) return;
  throw new ConfigError(`${file.name}: the features of ${store} come from another checkpoint`, {
    where: `--weights, --store; the store's backbone is ${backbone.slice(0, 12)}`,
    fix: "name the checkpoint that deno task features was given, or make a store with this one",
  });
}

/** Where a store of features has the frozen visual copy's output, itself a store. */
export const embedsFolder = (store: string): string => join(store, "embeds");

/** The command that adds them. */
export const embedsCommand = (store: string, weights: string): string =>
  `deno task features --embeds --replace --out ${store} --weights ${weights}`;

/** What decides the values of stored `embeds`: the copy, and the features that it reads. */
export function embedsSettings(visual: QFormer, features: FeatureSettings): FeatureSettings {
  const { backbone, preprocess, dtype } = features;
  const { numQueryTokens, hiddenSize } = visual.config;
  const hash = hashValues(createHash("sha256").update(`${backbone}\n`), visual);
  return {
    encoder: "blip2-visual",
    backbone: hash.digest("hex"),
    preprocess,
    dtype,
    fields: { embeds: [numQueryTokens, hiddenSize] },
  };
}

/** Stored `embeds`: the key of their store, and the features that they must be of. */
export interface StoredEmbeds {
  readonly key: string;
  readonly features: FeatureSettings;
}

/**
 * Stored `embeds` must be of the frozen visual copy that a run has.
 *
 * @param visual The copy's weights, under LAVIS's keys.
 * @param weights What `--weights` says, for the command that makes them.
 * @throws {ConfigError} If they are of another copy, or of other features.
 */
export async function checkEmbeds(
  visual: WeightsFile,
  { key, features }: StoredEmbeds,
  store: string,
  weights: string,
): Promise<void> {
  const copies = await blip2From(visual, { train: "multi" });
  if (featureKey(embedsSettings(copies.visual, features)) === key) return;
  throw new ConfigError(
    `${embedsFolder(store)}: is of another visual Q-Former, or of other features, than this run's`,
    {
      where: `${visual.name}: visual Q-Former, ln_vision and query tokens`,
      fix: `make it anew: ${embedsCommand(store, weights)}\n` +
        "  or remove the folder: the frozen copy then computes at every step",
    },
  );
}

/** Adds a module's values, with their keys and shapes. */
export function hashValues(hash: Hash, module: object): Hash {
  for (const [key, { shape, source }] of byKey(module, "")) {
    const { buffer, byteOffset, byteLength } = source.data;
    hash.update(`${key} ${shape.join("x")}\n`).update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return hash;
}
