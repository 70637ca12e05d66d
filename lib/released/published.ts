/** The published checkpoints, and where they are to be had. */
import { ConfigError } from "../core/errors.ts";
import { openWeights, type WeightsFile } from "../io/weights_file.ts";

/** By name: their hosts change, their publishers do not. */
const PUBLISHED = {
  blip2:
    'blip2_pretrained_vitL.pth: LAVIS (Salesforce), model "blip2_feature_extractor", type "pretrain_vitL"',
  clip:
    'RN50x4.pt: OpenAI CLIP, model "RN50x4", SHA-256 7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd',
};

/**
 * Opens the published checkpoint that `--weights` names.
 *
 * @throws {ConfigError} If there is no such file: says which published file is meant.
 * @throws {DataError} If it is damaged or of a format that is not read.
 */
export async function openPublished(
  weights: string,
  encoderArch: keyof typeof PUBLISHED,
): Promise<WeightsFile & Disposable> {
  try {
    await Deno.stat(weights);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new ConfigError(`${weights}: no such checkpoint`, {
      where: "--weights",
      fix: `the published file is ${PUBLISHED[encoderArch]}; --weights names where it lies`,
    });
  }
  return await openWeights(weights);
}
