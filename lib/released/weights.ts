/** The published checkpoint that a released experiment starts from. */
import { ConfigError } from "../core/errors.ts";
import { openWeights, type WeightsFile } from "../io/weights_file.ts";
import { backboneHash } from "../vision/backbone_hash.ts";
import type { RunContext } from "../train/session.ts";
import type { StoreData } from "./data.ts";
import { below, openFirstStage } from "./first_stage.ts";

/** Where the published files are to be had, by name: their hosts change, their publishers do not. */
const PUBLISHED = {
  blip2:
    'blip2_pretrained_vitL.pth: LAVIS (Salesforce), model "blip2_feature_extractor", type "pretrain_vitL"',
  clip:
    'RN50x4.pt: OpenAI CLIP, model "RN50x4", SHA-256 7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd',
};

/** Where the backbone's keys begin. */
const VISION = { blip2: "visual_encoder.", clip: "visual." };
/** Where those of one copy of the encoder begin in a run's own checkpoint. */
const OWN = { blip2: "multimodal.", clip: "clip." };

/** What says where the weights are. */
export interface WeightsFlags {
  readonly weights: string;
  readonly encoderArch: keyof typeof PUBLISHED;
  readonly store: string;
  /** The Combiner's first stage: its text encoder takes the published one's place. */
  readonly firstStage?: string;
}

/**
 * Opens the weights that a released experiment starts from: the published checkpoint that `--weights` names, or the first
 * stage's. A run that is measured needs neither: it has its own.
 *
 * @param data The store's features must come from the same checkpoint, if its file holds the backbone too.
 * @throws {ConfigError} If there is no such file: says which published file is meant. If the features are of another.
 * @throws {DataError} If it is damaged or of a format that is not read.
 */
export async function openReleasedWeights(
  { checkpoint }: Pick<RunContext, "checkpoint">,
  { weights, encoderArch, store, firstStage }: WeightsFlags,
  { backbone }: Pick<StoreData, "backbone">,
): Promise<WeightsFile & Disposable> {
  if (checkpoint) return below(await openWeights(checkpoint), OWN[encoderArch]);
  if (firstStage) return await openFirstStage(firstStage);
  try {
    await Deno.stat(weights);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new ConfigError(`${weights}: no such checkpoint`, {
      where: "--weights",
      fix: `the published file is ${PUBLISHED[encoderArch]}; --weights names where it lies`,
    });
  }
  const file = await openWeights(weights);
  try {
    const hasVision = [...file.tensors.keys()].some((key) => key.startsWith(VISION[encoderArch]));
    if (!hasVision || backboneHash(file, encoderArch) === backbone) return file;
    throw new ConfigError(`${weights}: the features of ${store} come from another checkpoint`, {
      where: `--weights, --store; the store's backbone is ${backbone.slice(0, 12)}`,
      fix: "name the checkpoint that deno task features was given, or make a store with this one",
    });
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

/** @throws {ConfigError} If `--embeds-dim` is given and is not the checkpoint's. */
export function checkEmbedsDim({ embedsDim }: { readonly embedsDim: number }, embedDim: number): void {
  if (embedsDim === 0 || embedsDim === embedDim) return;
  throw new ConfigError(`--embeds-dim is ${embedsDim}, the checkpoint's features have ${embedDim} numbers`, {
    fix: "leave it out",
  });
}
