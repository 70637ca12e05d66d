/**
 * HCA, hinge-based cross attention: a pseudo target made from target tokens, found by the reference through the caption.
 *
 * Source: CaLa (SIGIR 2024), "text-bridged image alignment"; `hca_T_share_text`. Q20: the released code computes the
 * pseudo target of every reference token and uses row 0; here only row 0 is computed, with the same values and gradients.
 */
import type { Random } from "../core/random.ts";
import { Linear } from "../nn/linear.ts";
import { dropout } from "../ops/dropout.ts";
import { mul } from "../ops/elementwise.ts";
import { matmul } from "../ops/matmul.ts";
import { reshape, slice } from "../ops/movement.ts";
import { softmax } from "../ops/softmax.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { scope } from "../tensor/trace.ts";
import { mapTokens } from "./map_tokens.ts";

/** Sizes of a head of CaLa. */
export interface HeadOptions {
  /** `D`. */
  readonly embedDim: number;
  /** Channels of the image maps `[B, C, H, W]` (CLIP). Without it images come as tokens `[B, K, D]` (BLIP-2). */
  readonly featureDim?: number;
  /** A token of a map is a place in the image, not a run of its memory as released (quirk Q21). */
  readonly hasSpatialTokens?: boolean;
  /** Draws the initial values, like PyTorch. Without one they are zeros, to be loaded. */
  readonly random?: Random;
}

/** The layers `...2` exist in the released state dict and are never used (Q23): loaded and saved, never computed. */
export class Hca {
  readonly query_ref1: Linear;
  readonly key_text1: Linear;
  readonly key_tar1: Linear;
  readonly value1: Linear;
  readonly query_ref2: Linear;
  readonly key_text2: Linear;
  readonly key_tar2: Linear;
  readonly value2: Linear;
  /** CLIP only: channels to embedding, of both images. */
  readonly fc1?: Linear;
  readonly embedDim: number;
  readonly dropout: number;
  readonly #isSpatial: boolean;

  /** @param options.dropout On the attention over target tokens, in training. */
  constructor(
    { embedDim, featureDim, hasSpatialTokens = false, random, dropout = 0.1 }: HeadOptions & {
      dropout?: number;
    },
  ) {
    const square = () => new Linear(embedDim, embedDim, { random });
    this.query_ref1 = square();
    this.key_text1 = square();
    this.key_tar1 = square();
    this.value1 = square();
    this.query_ref2 = square();
    this.key_text2 = square();
    this.key_tar2 = square();
    this.value2 = square();
    if (featureDim !== undefined) this.fc1 = new Linear(featureDim, embedDim, { random });
    this.embedDim = embedDim;
    this.dropout = dropout;
    this.#isSpatial = hasSpatialTokens;
  }

  /**
   * `a = s Kc q`, `u = s Kcᵀ a`, `p = softmax(Kt u)`, `o = Vᵀ dropout(p)`, with `s = 1/√D`; no softmax over the caption.
   *
   * @param reference Tokens, of which row 0 is used, or the map.
   * @param caption `[B, L, D]`. Padded positions take part (Q19): the released batches are as long as their longest caption.
   * @param target Tokens `[B, K, D]`, or the map.
   * @param options.keep `[L]` or `[B, L]`: 0 takes a caption position out. For batches padded beyond their longest caption.
   * @returns The pseudo target: `[B, D]`.
   */
  forward(reference: Tensor, caption: Tensor, target: Tensor, { keep }: { keep?: Tensor } = {}): Tensor {
    return scope("hca", () => {
      const [B, L] = caption.shape, D = this.embedDim, scale = 1 / Math.sqrt(D);
      const query = this.query_ref1.forward(slice(this.#tokens(reference, 1), 1, 0, 1)); // [B, 1, D]
      const keyText = this.key_text1.forward(caption); // [B, L, D]
      const tokens = this.#tokens(target);
      const keyTarget = this.key_tar1.forward(tokens), value = this.value1.forward(tokens); // [B, K, D]

      const affinity = matmul(query, keyText, { transposeB: true, scale }); // [B, 1, L]
      const kept = keep ? mul(affinity, keep.shape.length === 2 ? reshape(keep, [B, 1, L]) : keep) : affinity;
      const hinge = matmul(kept, keyText, { scale }); // [B, 1, D]
      const p = softmax(matmul(hinge, keyTarget, { transposeB: true })); // [B, 1, K]
      return reshape(matmul(dropout(p, this.dropout), value), [B, D]);
    });
  }

  #tokens(x: Tensor, rows?: number): Tensor {
    return this.fc1 ? this.fc1.forward(mapTokens(x, { rows, isSpatial: this.#isSpatial }), "relu") : x;
  }
}
