/** Cases of image preprocessing. */
import { DataError } from "../../lib/core/errors.ts";
import { imageDecoder } from "../../lib/data/decode.ts";
import { cropAndNormalise, padAndResize, type PreprocessOptions } from "../../lib/data/preprocess.ts";
import type { OracleCase } from "./case.ts";
import type { Runner } from "./runner.ts";

function optionsOf(oracle: OracleCase): PreprocessOptions {
  const transform = oracle.string("transform"), ratio = oracle.config.target_ratio;
  if (transform !== "targetpad" && transform !== "squarepad" && transform !== "clip") {
    throw new DataError(`${oracle.name}: unknown transform "${transform}"`);
  }
  return {
    transform,
    dim: oracle.number("dim"),
    ...(ratio === null ? {} : { targetRatio: oracle.number("target_ratio") }),
    convertRgbFirst: oracle.config.convert_rgb_first === true,
  };
}

/**
 * Stricter than the file's tolerance of one 8-bit level, which is for libraries that round differently: bytes must be equal,
 * and pixels agree to 1e-6.
 */
const preprocess: Runner = async (_gpu, oracle) => {
  const options = optionsOf(oracle), { dim } = options;
  const decode = await imageDecoder();
  const png = Uint8Array.from(oracle.tensor("in.image_png").data);
  const resized = padAndResize(await decode(png, oracle.name), options);
  const pixels = cropAndNormalise(resized, dim);
  const values = new Map<string, { shape: number[]; data: ArrayLike<number> }>([
    ["out.resized_rgb", { shape: [resized.height, resized.width, 3], data: resized.data }],
    ["out.pixels", { shape: [3, dim, dim], data: pixels }],
  ]);
  const limits = { "out.resized_rgb": 0, "out.pixels": 1e-6 };
  const problems = Object.entries(limits).flatMap(([key, limit]) => {
    const got = values.get(key)?.data ?? [], { data } = oracle.tensor(key);
    const differing = Array.from(data).filter((v, i) => !(Math.abs(v - got[i]) <= limit)).length;
    return differing > 0
      ? [`${key}: ${differing} of ${data.length} values are off by more than ${limit}`]
      : [];
  });
  return { values, problems };
};

export const images = { preprocess };
