/** Cases of single operations. */
import { ConfigError } from "../../lib/core/errors.ts";
import { crossEntropy } from "../../lib/ops/cross_entropy.ts";
import { castF32, gelu, quickGelu } from "../../lib/ops/elementwise.ts";
import { embedding } from "../../lib/ops/gather.ts";
import { l2Normalize } from "../../lib/ops/l2_normalize.ts";
import { layerNorm } from "../../lib/ops/layer_norm.ts";
import { linear } from "../../lib/ops/linear.ts";
import { softmax } from "../../lib/ops/softmax.ts";
import { graphRunner, paramsOf } from "./runner.ts";

const L2_EPS = new Map([["f_normalize", 1e-12], ["cala_l2norm", 0]]);

export const elementary = {
  linear: graphRunner((oracle) => {
    const module = paramsOf(oracle);
    return { module, forward: ({ x }) => ({ out: { y: linear(x, module.weight, module.bias) } }) };
  }),
  layer_norm: graphRunner((oracle) => {
    const module = paramsOf(oracle), eps = oracle.number("eps");
    return { module, forward: ({ x }) => ({ out: { y: layerNorm(x, module.weight, module.bias, eps) } }) };
  }),
  softmax: graphRunner(() => ({
    forward: ({ x, mask }) => ({ out: { probs: softmax(x, { mask: mask && castF32(mask) }) } }),
  })),
  gelu: graphRunner(() => ({ forward: ({ x }) => ({ out: { y: gelu(x) } }) })),
  quick_gelu: graphRunner(() => ({ forward: ({ x }) => ({ out: { y: quickGelu(x) } }) })),
  l2_normalize: graphRunner((oracle) => {
    const eps = L2_EPS.get(oracle.string("variant"));
    if (eps === undefined) {
      throw new ConfigError(`l2_normalize: unknown variant "${oracle.string("variant")}"`);
    }
    return { forward: ({ x }) => ({ out: { y: l2Normalize(x, { eps }) } }) };
  }),
  embedding: graphRunner((oracle) => {
    const module = paramsOf(oracle);
    return { module, forward: ({ ids }) => ({ out: { y: embedding(ids, module.weight) } }) };
  }),
  cross_entropy: graphRunner(() => ({
    forward: ({ logits, labels }) => ({ out: { loss: crossEntropy(logits, labels) } }),
  })),
};
