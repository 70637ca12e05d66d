/** CaLa's two heads with their logits: training only. */
import { Random } from "../core/random.ts";
import { embeddingOf, type ParamGroup } from "../models/encoders.ts";
import type { Embeddings } from "../nn/frame.ts";
import { named, params } from "../nn/module.ts";
import { matmul } from "../ops/matmul.ts";
import type { Param, Tensor } from "../tensor/tensor.ts";
import { Hca } from "./hca.ts";
import { Tac } from "./tac.ts";

/** Options of `calaHeads`. */
export interface CalaHeadsOptions {
  readonly embedDim: number;
  /** Channels of the image maps: CLIP only. */
  readonly featureDim?: number;
  /** Seed of the initial values. Without one they are zeros, to be loaded. */
  readonly seed?: number;
  /** Scale of TAC's logits; 10 as released (Q16, Q18: neither side is normalised). */
  readonly tacScale?: number;
  /** Scale of HCA's logits; 10 as released. */
  readonly hcaScale?: number;
  /** HCA's dropout. */
  readonly dropout?: number;
  /** CLIP: tokens are places in the image (quirk Q21). */
  readonly hasSpatialTokens?: boolean;
  /** CLIP: TAC's token in front is learned (quirk Q22). */
  readonly hasLearnedToken?: boolean;
}

/** The heads, their logits, and what an optimiser needs of them. */
export interface CalaHeads {
  /** By checkpoint prefix. */
  readonly modules: { readonly tac: Tac; readonly hca: Hca };
  /** By checkpoint key: `tac.*`, `hca.*`. */
  readonly params: ReadonlyMap<string, Param>;
  /** TAC and HCA, at twice the learning rate, not scheduled, as released. */
  readonly paramGroups: readonly ParamGroup[];
  /** `tacScale · text · TAC(reference, target)ᵀ`: `[B, B]`. */
  tac(encoded: Embeddings): Tensor;
  /** `hcaScale · HCA(reference, caption, target) · referenceᵀ`: `[B, B]`. */
  hca(encoded: Embeddings): Tensor;
}

/**
 * TAC and HCA over the embeddings that a frame's `encode` gives. Only training needs them.
 *
 * The logits throw `ConfigError` if the frame was told to leave out what they read.
 */
export function calaHeads(
  { embedDim, featureDim, seed, tacScale = 10, hcaScale = 10, dropout, hasSpatialTokens, hasLearnedToken }:
    CalaHeadsOptions,
): CalaHeads {
  const random = (name: string) => seed === undefined ? undefined : new Random(seed, name);
  const tac = new Tac({ embedDim, featureDim, hasSpatialTokens, hasLearnedToken, random: random("tac") });
  const hca = new Hca({ embedDim, featureDim, hasSpatialTokens, random: random("hca"), dropout });
  return {
    modules: { tac, hca },
    params: named({ tac, hca }),
    paramGroups: [
      { name: "tac", params: params(tac), lrMultiplier: 2, isScheduled: false },
      { name: "hca", params: params(hca), lrMultiplier: 2, isScheduled: false },
    ],
    tac(encoded) {
      const [text, reference, target] = read(
        "tac",
        encoded,
        "textFeats",
        "referenceEmbedsForTac",
        "targetEmbeds",
      );
      return scores(text, tac.forward(reference, target, { clsToken: encoded.clsToken }), tacScale);
    },
    hca(encoded) {
      const [reference, caption, target] = read(
        "hca",
        encoded,
        "referenceEmbeds",
        "textEmbeds",
        "targetEmbeds",
      );
      const [feats] = read("hca", encoded, "referenceFeats");
      return scores(hca.forward(reference, caption, target, { keep: encoded.textKeep }), feats, hcaScale);
    },
  };
}

/** `c · a · bᵀ`: `[B, D]` twice, to `[B, B]`. */
const scores = (a: Tensor, b: Tensor, c: number): Tensor => matmul(a, b, { transposeB: true, scale: c });

const read = (head: "tac" | "hca", encoded: Embeddings, ...names: readonly string[]): Tensor[] =>
  names.map((name) => embeddingOf(encoded, name, `make the frame with { ${head}: true }`));
