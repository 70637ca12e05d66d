/** The table of all ops. Each has a row in `tests/ops_table.ts`: forward, gradient, same bits twice, sentinels. */
import { attentionGradOp, attentionOp } from "./attention.ts";
import { crossEntropyAndGradOp, crossEntropyGradOp, crossEntropyOp } from "./cross_entropy.ts";
import { dropoutOp, randomNormalOp } from "./dropout.ts";
import {
  addNOp,
  addOp,
  addScalarOp,
  castF32Op,
  divGradOp,
  divOp,
  expOp,
  fullOp,
  geluGradOp,
  geluOp,
  logOp,
  mulOp,
  negOp,
  quickGeluGradOp,
  quickGeluOp,
  reluGradOp,
  reluOp,
  scaleOp,
  sigmoidGradOp,
  sigmoidOp,
  sqrtGradOp,
  sqrtOp,
  squareGradOp,
  squareOp,
  subOp,
} from "./elementwise.ts";
import { embeddingGradOp, embeddingOp, takeRowGradOp, takeRowOp } from "./gather.ts";
import { l2NormalizeGradOp, l2NormalizeOp } from "./l2_normalize.ts";
import { layerNormGradOp, layerNormGradsOp, layerNormOp, layerNormParamGradOp } from "./layer_norm.ts";
import { linearAndGeluOp, linearOp, weightGradOp } from "./linear.ts";
import { headScoresOp, headValuesOp, matmulOp } from "./matmul.ts";
import { concatOp, expandOp, padOp, permuteOp, reshapeOp, sliceOp } from "./movement.ts";
import { patchesOp } from "./patches.ts";
import { sumOp } from "./reduce.ts";
import { softmaxGradOp, softmaxOp } from "./softmax.ts";

export const ops = {
  // elementwise
  add: addOp,
  sub: subOp,
  mul: mulOp,
  div: divOp,
  divGrad: divGradOp,
  scale: scaleOp,
  addScalar: addScalarOp,
  neg: negOp,
  exp: expOp,
  log: logOp,
  sqrt: sqrtOp,
  sqrtGrad: sqrtGradOp,
  square: squareOp,
  squareGrad: squareGradOp,
  relu: reluOp,
  reluGrad: reluGradOp,
  gelu: geluOp,
  geluGrad: geluGradOp,
  quickGelu: quickGeluOp,
  quickGeluGrad: quickGeluGradOp,
  sigmoid: sigmoidOp,
  sigmoidGrad: sigmoidGradOp,
  castF32: castF32Op,
  addN: addNOp,
  full: fullOp,
  // sums
  sum: sumOp,
  // movement
  reshape: reshapeOp,
  permute: permuteOp,
  slice: sliceOp,
  pad: padOp,
  concat: concatOp,
  expand: expandOp,
  patches: patchesOp,
  // rows by index
  embedding: embeddingOp,
  embeddingGrad: embeddingGradOp,
  takeRow: takeRowOp,
  takeRowGrad: takeRowGradOp,
  // attention of short sequences
  attention: attentionOp,
  attentionGrad: attentionGradOp,
  // products
  matmul: matmulOp,
  linear: linearOp,
  linearAndGelu: linearAndGeluOp,
  weightGrad: weightGradOp,
  headScores: headScoresOp,
  headValues: headValuesOp,
  // normalisation, losses, randomness
  softmax: softmaxOp,
  softmaxGrad: softmaxGradOp,
  layerNorm: layerNormOp,
  layerNormGrad: layerNormGradOp,
  layerNormParamGrad: layerNormParamGradOp,
  layerNormGrads: layerNormGradsOp,
  l2Normalize: l2NormalizeOp,
  l2NormalizeGrad: l2NormalizeGradOp,
  crossEntropy: crossEntropyOp,
  crossEntropyGrad: crossEntropyGradOp,
  crossEntropyAndGrad: crossEntropyAndGradOp,
  dropout: dropoutOp,
  randomNormal: randomNormalOp,
};
