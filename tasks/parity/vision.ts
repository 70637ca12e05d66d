/** Cases of the frozen backbones: the case's parameters are the checkpoint. They run on onnxruntime's CPU provider. */
import { env } from "../../lib/core/env.ts";
import { DataError } from "../../lib/core/errors.ts";
import type { WeightsFile } from "../../lib/io/weights_file.ts";
import { type BackboneOptions, openBackbone } from "../../lib/vision/backbone.ts";
import type { OracleCase } from "./case.ts";
import type { Runner } from "./runner.ts";

/** A runner that compares a backbone's fields with the case's outputs. @param outputs The case's name of each field. */
const backboneRunner =
  (arch: BackboneOptions["arch"], outputs: Readonly<Record<string, string>>): Runner => async (_, oracle) => {
    await using backbone = await openBackbone({
      weights: weightsOf(oracle),
      arch,
      provider: "cpu",
      heads: oracle.number("heads"),
      cacheDir: env("CALA_CACHE"),
      onProgress: (message) => console.error(message),
    });
    const { shape: [B], data } = oracle.f32("in.image");
    const results = await backbone.run(data);
    return {
      values: new Map(
        Object.entries(outputs).map(([field, name]) => [
          `out.${name}`,
          { shape: [B, ...backbone.fields[field].shape], data: results[field] },
        ]),
      ),
    };
  };

/** The parameters as a file of weights. */
function weightsOf(oracle: OracleCase): WeightsFile {
  const tensors = new Map([...oracle.stateDict()].map(([key, { shape, data }]) => [
    key,
    { dtype: "F32" as const, shape, data },
  ]));
  return {
    name: oracle.name,
    format: "safetensors",
    metadata: {},
    tensors,
    read(key) {
      const tensor = tensors.get(key);
      if (!tensor) throw new DataError(`${oracle.name}: no tensor "${key}"`);
      return tensor;
    },
  };
}

export const vision = {
  clip_vit: backboneRunner("blip2", { tokens: "visual_embeds" }),
  clip_resnet: backboneRunner("clip", { map: "feature_map", pooled: "image_features" }),
};
