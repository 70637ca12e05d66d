/**
 * TAC, twin attention-based compositor: what the change from reference to target looks like, to be aligned with the caption.
 *
 * Source: CaLa (SIGIR 2024), "complementary text reasoning"; `TwinAttentionCompositor`.
 */
import { MultiheadAttention } from "../nn/attention.ts";
import { Linear } from "../nn/linear.ts";
import { randomNormal } from "../ops/dropout.ts";
import { add, scale } from "../ops/elementwise.ts";
import { concat, expand, reshape, slice } from "../ops/movement.ts";
import { type Param, param, type Tensor } from "../tensor/tensor.ts";
import { scope } from "../tensor/trace.ts";
import type { HeadOptions } from "./hca.ts";
import { mapTokens } from "./map_tokens.ts";

/** Applications of each attention, with the same weights. */
const APPLICATIONS = 4;

/** Options of `Tac`. */
export interface TacOptions extends HeadOptions {
  /** Maps: the token in front is a parameter, not drawn anew at every step as released (quirk Q22). */
  readonly hasLearnedToken?: boolean;
}

/** Two attentions with one head each. */
export class Tac {
  readonly reference_as_query_attention: MultiheadAttention;
  readonly target_as_query_attention: MultiheadAttention;
  /** CLIP only: channels to embedding, of both images. */
  readonly fc?: Linear;
  /** Only where it is learned; the released state dict has none. */
  readonly cls_token?: Param; // [1, 1, D]
  readonly embedDim: number;
  readonly #isSpatial: boolean;

  constructor({ embedDim, featureDim, hasSpatialTokens = false, hasLearnedToken, random }: TacOptions) {
    this.reference_as_query_attention = new MultiheadAttention(embedDim, 1, { random });
    this.target_as_query_attention = new MultiheadAttention(embedDim, 1, { random });
    if (featureDim !== undefined) this.fc = new Linear(featureDim, embedDim, { random });
    if (hasLearnedToken) {
      const start = random ? random.normal(embedDim) : new Float32Array(embedDim);
      this.cls_token = param([1, 1, embedDim], start);
    }
    this.embedDim = embedDim;
    this.#isSpatial = hasSpatialTokens;
  }

  /**
   * `g = (o_r[0] + o_t[0]) / 2` with `o ← M(query, o)` four times from the other image's tokens; only row 0 of the last
   * application is computed.
   *
   * @param reference Tokens `[B, K, D]`, or the map.
   * @param target Like `reference`.
   * @param options.clsToken CLIP: the token in front of both sequences, `[B, 1, D]`. As default the learned one, or
   * `N(0, 1)`, drawn anew at every step (Q22).
   * @returns `[B, D]`.
   */
  forward(reference: Tensor, target: Tensor, { clsToken }: { clsToken?: Tensor } = {}): Tensor {
    return scope("tac", () => {
      const { fc } = this;
      let ref = reference, tar = target;
      if (fc) {
        const cls = clsToken ?? this.#clsToken(reference.shape[0]);
        const isSpatial = this.#isSpatial;
        [ref, tar] = [reference, target].map((map) =>
          concat([cls, fc.forward(mapTokens(map, { isSpatial }), "relu")], 1)
        );
      }
      const left = chain(this.reference_as_query_attention, ref, tar);
      const right = chain(this.target_as_query_attention, tar, ref);
      return scale(add(left, right), 0.5);
    });
  }

  #clsToken(B: number): Tensor {
    const shape = [B, 1, this.embedDim];
    return this.cls_token ? expand(this.cls_token, shape) : randomNormal(shape);
  }
}

/** Row 0 after four applications: `[B, D]`. The queries are the same in all of them: projected once. */
function chain(attention: MultiheadAttention, from: Tensor, to: Tensor): Tensor {
  const project = attention.projections();
  const query = project.query(from); // [B, Kq, D]
  let o = to;
  for (let i = 1; i <= APPLICATIONS; i++) {
    const asked = i === APPLICATIONS ? slice(query, 1, 0, 1) : query;
    const { key, value } = project.keyValue(o);
    o = attention.attend(asked, key, value);
  }
  const [B, , D] = o.shape;
  return reshape(o, [B, D]);
}
