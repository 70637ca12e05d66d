/** Cases of CaLa's heads, frames and losses. */
import { ConfigError } from "../../lib/core/errors.ts";
import { Artemis } from "../../lib/cala/frames/artemis.ts";
import { Combiner } from "../../lib/cala/frames/combiner.ts";
import { cosines } from "../../lib/cala/frames/frame.ts";
import { sumQuery } from "../../lib/cala/frames/sum.ts";
import { Hca } from "../../lib/cala/hca.ts";
import { type CalaHeads, calaHeads } from "../../lib/cala/heads.ts";
import { calaLoss, contrastiveLogits } from "../../lib/cala/loss.ts";
import { Tac } from "../../lib/cala/tac.ts";
import type { Encoded } from "../../lib/models/encoders.ts";
import { crossEntropy } from "../../lib/ops/cross_entropy.ts";
import { l2Normalize } from "../../lib/ops/l2_normalize.ts";
import { reshape, slice } from "../../lib/ops/movement.ts";
import type { Tensor } from "../../lib/tensor/tensor.ts";
import type { OracleCase } from "./case.ts";
import { graphRunner, type Operation } from "./runner.ts";

function hca(embedDim: number, featureDim?: number): Operation {
  const module = new Hca({ embedDim, featureDim, dropout: 0 });
  return {
    module,
    forward: ({ reference_embeds, caption_embeds, target_embeds }) => ({
      out: { psudo_T: module.forward(reference_embeds, caption_embeds, target_embeds) },
    }),
  };
}

function tac(embedDim: number, featureDim?: number): Operation {
  const module = new Tac({ embedDim, featureDim });
  return {
    module,
    forward: ({ reference_embeddings, target_embeddings, cls_token }) => ({
      out: {
        output_features: module.forward(reference_embeddings, target_embeddings, { clsToken: cls_token }),
      },
    }),
  };
}

/** `[B, K, D]` to row 0, `[B, D]`. */
const firstRow = (x: Tensor): Tensor => reshape(slice(x, 1, 0, 1), [x.shape[0], x.shape[2]]);

/** A case's inputs as `encode` gives them. */
function encodedOf(flavour: string, t: Record<string, Tensor>): Encoded {
  const isClip = flavour === "clip";
  return {
    referenceFeats: isClip ? t.reference_feats : firstRow(t.reference_embeds),
    textFeats: isClip ? t.text_feats : firstRow(t.text_embeds),
    targetFeats: l2Normalize(isClip ? t.target_feats : firstRow(t.target_embeds)),
    referenceEmbeds: t.reference_embeds,
    textEmbeds: t.text_embeds,
    targetEmbeds: t.target_embeds,
    referenceEmbedsForTac: isClip ? t.reference_embeds : t.reference_embeds_for_tac,
    ...(isClip && t.cls_token ? { clsToken: t.cls_token } : {}),
  };
}

/** CaLa's two heads as a case of either flavour has them: without dropout. */
export const headsOf = (oracle: OracleCase, embedDim: number, featureDim?: number): CalaHeads =>
  calaHeads({
    embedDim,
    featureDim: oracle.string("flavour") === "clip" ? featureDim : undefined,
    dropout: 0,
  });

function calaLossCase(oracle: OracleCase): Operation {
  const flavour = oracle.string("flavour"),
    frame = oracle.string("frame"),
    embedDim = oracle.number("embed_dim");
  const weights = { tacWeight: oracle.number("tac_weight"), hcaWeight: oracle.number("hca_weight") };
  if (frame !== "sum" && frame !== "artemis") throw new ConfigError(`unknown frame "${frame}"`);
  const heads = headsOf(oracle, embedDim, flavour === "clip" ? oracle.number("feature_dim") : undefined);
  const artemis = new Artemis(embedDim);
  return {
    module: { ...heads.modules, artemis },
    forward(inputs) {
      const encoded = encodedOf(flavour, inputs);
      const matching = frame === "sum"
        ? cosines(sumQuery(encoded), encoded.targetFeats, 100)
        : artemis.scores(encoded, encoded.targetFeats);
      const logits = {
        matching,
        ...(weights.tacWeight > 0 ? { tac: heads.tac(encoded) } : {}),
        ...(weights.hcaWeight > 0 ? { hca: heads.hca(encoded) } : {}),
      };
      const terms = calaLoss(logits, weights);
      return {
        out: {
          [frame === "sum" ? "matching_logits" : "artemis_scores"]: matching,
          ...(logits.tac ? { aligning_logits: logits.tac } : {}),
          ...(logits.hca ? { reasoning_logits: logits.hca } : {}),
          contrastive_logits: contrastiveLogits(logits, weights),
          contrastive_loss: terms.contrastive,
          ...(terms.reasoning ? { reasoning_loss: terms.reasoning } : {}),
          loss: terms.loss,
        },
      };
    },
  };
}

export const cala = {
  hca_blip2: graphRunner((oracle) => hca(oracle.shape("in.reference_embeds")[2])),
  hca_clip: graphRunner((oracle) => hca(oracle.number("embed_dim"), oracle.number("feature_dim"))),
  tac_blip2: graphRunner((oracle) => tac(oracle.number("embedding_dim"))),
  tac_clip: graphRunner((oracle) => tac(oracle.number("embed_dim"), oracle.number("feature_dim"))),
  cala_loss: graphRunner(calaLossCase),
  artemis_scores: graphRunner((oracle) => {
    const module = new Artemis(oracle.number("embed_dim"));
    return {
      module,
      forward({ reference_feats: referenceFeats, text_feats: textFeats, target_feats }) {
        const query = { referenceFeats, textFeats };
        return {
          out: { scores: module.scores(query, target_feats) },
          aux: {
            explicit_matching: module.explicitMatching(textFeats, target_feats),
            implicit_similarity: module.implicitSimilarity(query, target_feats),
          },
        };
      },
    };
  }),
  artemis_eval: graphRunner((oracle) => {
    const module = new Artemis(oracle.number("embed_dim"));
    return {
      module,
      forward({ reference_feats: referenceFeats, text_feats: textFeats, index_features }) {
        const raw_scores = module.scores({ referenceFeats, textFeats }, l2Normalize(index_features));
        return { out: { scores: l2Normalize(raw_scores) }, aux: { raw_scores } };
      },
    };
  }),
  combiner: graphRunner((oracle) => {
    const module = new Combiner(oracle.number("clip_feature_dim"), {
      projectionDim: oracle.number("projection_dim"),
      hiddenDim: oracle.number("hidden_dim"),
    });
    return {
      module,
      forward({ image_features, text_features, target_features }) {
        const combined_features = module.forward({
          referenceFeats: image_features,
          textFeats: text_features,
        });
        const logits = cosines(combined_features, l2Normalize(target_features), 100);
        return { out: { combined_features, logits, loss: crossEntropy(logits) } };
      },
    };
  }),
};
