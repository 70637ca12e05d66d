/**
 * CaLa Toolkit: composed image retrieval on any GPU, in TypeScript and WGSL.
 *
 * The query is a reference image and a sentence that says what should change; the answer is the gallery, ranked.
 * Everything public is here; `experiments/` show how it goes together.
 *
 * @module
 */

// Errors: the user's, printed without a stack.
export {
  ConfigError,
  DataError,
  formatUserError,
  GpuError,
  isUserError,
  ShapeError,
} from "./lib/core/errors.ts";
export type { ErrorDetails, UserError } from "./lib/core/errors.ts";

// Values and settings.
export {
  flag,
  type FlagSpec,
  type FlagSpecs,
  type FlagValues,
  type ParsedFlags,
  parseFlags,
} from "./lib/core/flags.ts";
export { philox, Random } from "./lib/core/random.ts";
export type { DType, Shape, TensorSpec } from "./lib/core/shape.ts";

// Tensors and graphs: plain data, nothing runs.
export { constant, input, param, Tensor } from "./lib/tensor/tensor.ts";
export type { Param, TensorData } from "./lib/tensor/tensor.ts";
export { apply, applyNode, defineOp, foldGrid } from "./lib/tensor/op.ts";
export type { BackwardContext, Cost, Dispatch, Kernel, Node, OpDef, Target } from "./lib/tensor/op.ts";
export { assign, isTraining, scope } from "./lib/tensor/trace.ts";
export { printGraph } from "./lib/tensor/print.ts";

// Ops: functions that build graph, named as in torch.nn.functional.
export {
  add,
  addN,
  addScalar,
  castF32,
  div,
  exp,
  full,
  gelu,
  log,
  mul,
  neg,
  ones,
  quickGelu,
  relu,
  scale,
  sigmoid,
  sqrt,
  square,
  sub,
  zeros,
} from "./lib/ops/elementwise.ts";
export { mean, sum, sumTo } from "./lib/ops/reduce.ts";
export { concat, expand, permute, reshape, slice, transpose } from "./lib/ops/movement.ts";
export { embedding, takeRow } from "./lib/ops/gather.ts";
export { type Activation, linear } from "./lib/ops/linear.ts";
export { headScores, headValues, matmul } from "./lib/ops/matmul.ts";
export { softmax } from "./lib/ops/softmax.ts";
export { layerNorm } from "./lib/ops/layer_norm.ts";
export { dropout, randomNormal } from "./lib/ops/dropout.ts";
export { crossEntropy } from "./lib/ops/cross_entropy.ts";
export { l2Normalize } from "./lib/ops/l2_normalize.ts";
export { attention, type AttentionOptions } from "./lib/ops/attention.ts";
export { grad } from "./lib/ops/grad.ts";

// Running: a device, a plan, a state.
export { type DeviceClass, type Gpu, openDevice, type OpenDeviceOptions } from "./lib/gpu/device.ts";
export { compile, evaluate, inspect, Program } from "./lib/plan/compile.ts";
export type { CompileOptions, InputSpecs, InputValue, Traced, TraceFunction } from "./lib/plan/compile.ts";
export type { Plan, PlanOptions, StepInfo } from "./lib/plan/plan.ts";
export type { ResultRow } from "./lib/plan/results.ts";
export { State } from "./lib/plan/state.ts";
export type { StateGroup } from "./lib/plan/state_layout.ts";

// Modules: plain classes whose field names are the state-dict keys.
export { Embedding } from "./lib/nn/embedding.ts";
export { LayerNorm } from "./lib/nn/layer_norm.ts";
export { Linear } from "./lib/nn/linear.ts";
export { MultiheadAttention } from "./lib/nn/attention.ts";
export { type LoadReport, loadStateDict, named, params, type StateDict } from "./lib/nn/module.ts";
export {
  type LinearInit,
  normalLinear,
  torchLinear,
  xavierNormalLinear,
  xavierUniform,
} from "./lib/nn/init.ts";
export type {
  Embeddings,
  Frame,
  ImageBatch,
  QueryBatch,
  QueryKind,
  TextBatch,
  TripletBatch,
} from "./lib/nn/frame.ts";

// Encoders.
export { BLIP2_CONFIG, QFormer, type QFormerConfig, type QFormerInit } from "./lib/models/qformer.ts";
export { Blip2, type Blip2Options } from "./lib/models/blip2.ts";
export { blip2From, qformerConfigOf } from "./lib/models/blip2_from.ts";
export type { WeightsShapes } from "./lib/models/checkpoint_shapes.ts";
export { Clip, type ClipOptions } from "./lib/models/clip.ts";
export { clipFrom, clipTextConfigOf } from "./lib/models/clip_from.ts";
export { ClipText, type ClipTextConfig, type ClipTextOutput, RN50X4_TEXT } from "./lib/models/clip_text.ts";
export { Stem, type StemOptions } from "./lib/models/stem.ts";
export { type KeyReport, loadWeights } from "./lib/models/weights.ts";
export type { Encoded, Encoders, HeadsRead, QueryFeats } from "./lib/models/encoders.ts";

// CaLa: the two heads, the loss, the frames.
export { Hca, type HeadOptions } from "./lib/cala/hca.ts";
export { Tac } from "./lib/cala/tac.ts";
export { type CalaHeads, calaHeads, type CalaHeadsOptions } from "./lib/cala/heads.ts";
export { type CalaLogits, calaLoss, type CalaTerms, type CalaWeights, paperLoss } from "./lib/cala/loss.ts";
export type { CalaFrame, FrameOptions } from "./lib/cala/frames/frame.ts";
export { sumFrame } from "./lib/cala/frames/sum.ts";
export { Artemis, artemisFrame } from "./lib/cala/frames/artemis.ts";
export { Combiner, combinerFrame, type CombinerOptions } from "./lib/cala/frames/combiner.ts";

// Data.
export type {
  Dataset,
  DatasetImage,
  LeftOut,
  Missing,
  MissingQuery,
  Split,
  SplitName,
  Triplet,
} from "./lib/data/triplet.ts";
export { DATASET_KINDS, type DatasetKind, type DatasetOptions, openDataset } from "./lib/data/open.ts";
export { type FashionIqOptions, openFashionIq } from "./lib/data/fashioniq.ts";
export { openCirr } from "./lib/data/cirr.ts";
export { openFolder } from "./lib/data/folder.ts";
export type { OpenOptions } from "./lib/data/named.ts";
export type { OnProgress } from "./lib/core/progress.ts";
export type { ImageField, ImageSource } from "./lib/data/image_source.ts";
export { FeatureStore, type OpenFeatures, openFeatureStore } from "./lib/data/feature_store.ts";
export type { FeatureSettings, StoreDType } from "./lib/data/feature_layout.ts";
export type { ExpectedSettings } from "./lib/data/feature_manifest.ts";
export { type Demo, type DemoOptions, openDemo } from "./lib/data/demo/cache.ts";
export { type Credit, credits } from "./lib/data/demo/credits.ts";
export { CompactVocabulary, type Tokenizer, type WordPiece, wordPiece } from "./lib/text/wordpiece.ts";
export { type StoredTokens, TokenTable } from "./lib/text/token_table.ts";
export { fashionIqEvalCaption, fashionIqTrainCaption, singleCaption } from "./lib/text/captions.ts";

// Training.

// The released experiments.
export {
  blip2Flags,
  clipFlags,
  combinerFlags,
  type ReleasedDataset,
  type TrainedFrame,
} from "./lib/released/flags.ts";
export { openCombinerData } from "./lib/released/text_features.ts";
export { openReleasedData, type StoreData, type StoreFlags } from "./lib/released/data.ts";
export { releasedRows } from "./lib/released/rows.ts";
export { checkEmbedsDim, openReleasedWeights, type WeightsFlags } from "./lib/released/weights.ts";
export { combinerOptimizer, type OptimizerFlags, releasedOptimizer } from "./lib/released/optimizer.ts";
export { type Experiment, experiment } from "./lib/train/experiment.ts";
export type { ExperimentFunctions, Model, RunContext } from "./lib/train/session.ts";
export type { LossTerms } from "./lib/train/step.ts";
export type { ExperimentData } from "./lib/train/batch.ts";
export type { ConfigOf, ExperimentFlags } from "./lib/train/config.ts";
export type { MethodRow, ResultTable } from "./lib/train/result_table.ts";
export { AdamW, type AdamWOptions, type ParamGroup } from "./lib/train/optimizer.ts";
export { type Schedule, type StepPosition, warmupCosine } from "./lib/train/rate.ts";
export { cosineLr, type CosineOptions } from "./lib/train/schedule.ts";

// Evaluation: pure functions over typed arrays.
export { averagePrecisionAt } from "./lib/metrics/average_precision.ts";
export type { Bounds } from "./lib/metrics/recall_bounds.ts";
export {
  type GroupOptions,
  groupRankings,
  NO_RANK,
  type RankingOptions,
  subsetRanks,
  type TargetOptions,
  targetRanks,
  topK,
} from "./lib/metrics/ranking.ts";
export {
  CIRR_CRITERION,
  cirrMetrics,
  FASHION_IQ_CATEGORIES,
  FASHION_IQ_CRITERION,
  fashionIqMetrics,
  recallAt,
  type Recalls,
  retrievalMetrics,
} from "./lib/metrics/recall.ts";
export {
  bootstrapInterval,
  type Interval,
  pairedPermutationTest,
  type PairedTest,
} from "./lib/metrics/bootstrap.ts";
export type { Protocol } from "./lib/metrics/protocol.ts";
export { type RankedAnswer, type RankedQuery, type Rankings, readRankings } from "./lib/train/rankings.ts";
export {
  checkSubmission,
  type SubmissionCheck,
  type SubmissionData,
  type SubmissionMetric,
  type SubmissionQuery,
  submissionText,
} from "./lib/report/submission.ts";
export {
  markdownTable,
  rowsOf,
  type RunResult,
  type SplitMetrics,
  type TableRow,
  terminalTable,
} from "./lib/report/table.ts";
export { linePlots, type Panel, type Series, seriesOf, svgToPng } from "./lib/report/plot.ts";

// Files.
export { readSafetensors, type SafetensorsFile } from "./lib/io/safetensors.ts";
export type { StoredTensor } from "./lib/io/stored_tensor.ts";
export { copyToSafetensors, type TensorsToWrite, writeSafetensors } from "./lib/io/safetensors_writer.ts";
export {
  openWeights,
  type TensorInfo,
  type TensorSource,
  type WeightsFile,
  type WeightsOptions,
} from "./lib/io/weights_file.ts";
export { type TorchValue, writeTorchCheckpoint } from "./lib/io/torch_writer.ts";
export { toFloat32 } from "./lib/io/floats.ts";
export { type FileData, writeFileAtomic } from "./lib/io/atomic.ts";
