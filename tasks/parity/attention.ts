/** Cases of attention blocks. */
import { BertAttention } from "../../lib/models/qformer_layer.ts";
import { MultiheadAttention } from "../../lib/nn/attention.ts";
import { normalLinear } from "../../lib/nn/init.ts";
import { castF32 } from "../../lib/ops/elementwise.ts";
import { headScores } from "../../lib/ops/matmul.ts";
import { mean } from "../../lib/ops/reduce.ts";
import { softmax } from "../../lib/ops/softmax.ts";
import type { OracleCase } from "./case.ts";
import { graphRunner } from "./runner.ts";

/** A BERT attention block; `keyWidth` is the width of what is attended to. */
function bertAttention(oracle: OracleCase, keyWidth: number): BertAttention {
  const config = {
    hiddenSize: oracle.number("hidden"),
    numHeads: oracle.number("heads"),
    intermediateSize: 0, // the block has no feed-forward
    encoderWidth: keyWidth,
    layerNormEps: oracle.number("layer_norm_eps"),
    dropout: 0,
  };
  return new BertAttention(config, keyWidth, { init: normalLinear(0.02) });
}

export const attention = {
  multi_head_attention: graphRunner((oracle) => {
    const numHeads = oracle.number("num_heads"), embedDim = oracle.number("embed_dim");
    const module = new MultiheadAttention(embedDim, numHeads);
    return {
      module,
      forward({ query, key, value }) {
        const project = module.projections();
        const q = project.query(query), k = project.keyValue(key).key, v = project.keyValue(value).value;
        const scores = headScores(q, k, { heads: numHeads, scale: 1 / Math.sqrt(embedDim / numHeads) });
        const attn_weights = mean(softmax(scores), { axis: 1 }); // PyTorch averages over the heads
        return { out: { attn_output: module.attend(q, k, v), attn_weights } };
      },
    };
  }),
  bert_self_attention: graphRunner((oracle) => {
    const module = bertAttention(oracle, oracle.number("hidden"));
    return {
      module,
      forward: ({ hidden_states: x, mask }) => ({
        out: { attention_output: module.forward(x, x, mask && castF32(mask)) },
      }),
    };
  }),
  bert_cross_attention: graphRunner((oracle) => {
    const module = bertAttention(oracle, oracle.number("encoder_width"));
    return {
      module,
      forward: ({ hidden_states, encoder_hidden_states }) => ({
        out: { attention_output: module.forward(hidden_states, encoder_hidden_states) },
      }),
    };
  }),
};
