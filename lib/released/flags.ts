/**
 * The flags of the released experiments, under the released names, with the defaults of the released README's command.
 *
 * Source: the released `blip_fine_tune.py`; its quirks, by number, are those of this toolkit's list. What differs: both
 * temperatures are used (Q16); `last` and `best` are always kept (Q36); the model's sizes are those of its checkpoint.
 */
import { flag } from "../core/flags.ts";
import { CIRR_CRITERION, FASHION_IQ_CRITERION } from "../metrics/recall.ts";

/** Data sets of the released experiments, and `folder`: one's own. */
export type ReleasedDataset = "cirr" | "fashioniq" | "folder";

/** What picks the best checkpoint: the released criteria, and for a data set without groups or categories R@10. */
const BEST_BY = { cirr: CIRR_CRITERION, fashioniq: FASHION_IQ_CRITERION, folder: "R@10" };

const positive = { min: 1e-12 }, count = { integer: true, min: 1 };

/** Where a file stands for one choice of a released flag, that flag takes this choice only; `fix` of the error names the others. */
const fixed = <const V extends string>(value: V, what: string) =>
  flag(value, `${what} of this experiment; the others: deno task train --help`, { choices: [value] });

/** What every released experiment has. */
const common = <D extends ReleasedDataset>(dataset: D) => ({
  dataset: fixed(dataset, "data set"),
  seed: flag(42, "seed of every random number", { integer: true, min: 0 }),
  epochs: flag(30, "passes over the training triplets; argparse's default is 300", {
    ...count,
    also: ["num-epochs"],
  }),
  evalEvery: flag(1, "epochs between validations; 0: at the end only", {
    integer: true,
    min: 0,
    also: ["validation-frequency"],
  }),
  transform: flag("targetpad", "preprocessing that the store was made with", {
    choices: ["targetpad", "squarepad", "clip"],
  }),
  targetRatio: flag(1.25, "targetpad: largest ratio of the sides that is not padded", { min: 1 }),
  embedsDim: flag(0, "size of the features, to be checked; 0: that of the checkpoint", {
    integer: true,
    min: 0,
  }),
  bestBy: flag(
    BEST_BY[dataset],
    "the validation metric that picks the best checkpoint (Q40)",
  ),
  tableFrom: flag("best", "the checkpoint that the table is made from", { choices: ["best", "last"] }),
  validateFirst: flag(true, "measure the initial weights too (Q43)"),
  saveTraining: flag(true, "as released; last and best are always kept (Q36)"),
  saveBest: flag(true, "as released; last and best are always kept (Q36)"),
});

/** How the encoders are trained: all experiments but the Combiner's. */
const training = {
  batchSize: flag(64, "triplets a step; the other targets of the batch are the negatives", {
    integer: true,
    min: 2,
  }),
  preset: flag("readme", "whose settings where they differ: the learning rate, README 5e-6, paper 1e-5", {
    choices: ["readme", "paper"],
    sets: { paper: { learningRate: 1e-5 } },
  }),
  learningRate: flag(5e-6, "of the encoders; TAC and HCA have twice, ARTEMIS ten times as much", positive),
  minLr: flag(0, "the cosine's lowest learning rate", { min: 0 }),
  maxEpoch: flag(15, "the cosine's half period in epochs", count),
  lrAfterMax: flag("rise", "after the half period the released cosine climbs back (Q15)", {
    choices: ["rise", "hold"],
  }),
  scheduleAllGroups: flag(false, "the cosine is for all parameters, not the first group alone (Q15)"),
  baseline: flag(false, "without CaLa: both weights 0", { sets: { true: { tacWeight: 0, hcaWeight: 0 } } }),
  tacWeight: flag(0.45, "share of the TAC logits in the contrastive logits", { min: 0, max: 1 }),
  hcaWeight: flag(0.1, "share of the HCA loss", { min: 0, max: 1 }),
  tacTemperature: flag(10, "factor on TAC's logits; released: 10, whatever this flag said (Q16)", positive),
  hcaTemperature: flag(10, "factor on HCA's logits; released: 10, whatever this flag said (Q16)", positive),
  loss: flag(
    "released",
    "paper: CE(matching) + hcaWeight CE(hca) + tacWeight CE(tac); its weights are not published",
    {
      choices: ["released", "paper"],
    },
  ),
  maskCaptionPadding: flag(false, "HCA reads no caption padding (Q19)"),
};

/** The factor on the scores, by frame. Q17: ARTEMIS' scores have none. */
const frames = {
  sum: { matchingTemperature: flag(100, "factor on the matching scores", positive) },
  artemis: { artemisTemperature: flag(1, "factor on ARTEMIS' scores; released: none (Q17)", positive) },
} as const;

/** Frames whose encoders are trained. */
export type TrainedFrame = keyof typeof frames;

const arch = <const A extends string, const N extends string>(
  encoderArch: A,
  modelName: N,
  weights: string,
) => ({
  encoderArch: fixed(encoderArch, "architecture"),
  modelName: flag(modelName, "as released; what counts is the checkpoint", { choices: [modelName, "None"] }),
  weights: flag(weights, "the published checkpoint: its file"),
});

/** Where the features are. */
const features = (dataset: ReleasedDataset, encoder: string) => ({
  data: flag(
    "",
    "the data set's folder: its features are found where deno task features without --out puts them",
  ),
  store: flag(
    "",
    `the feature store that deno task features --out made; empty: that of --data, or without it stores/${dataset}-${encoder}`,
  ),
});

/** Flags of CaLa over BLIP-2. */
export const blip2Flags = <D extends ReleasedDataset, F extends TrainedFrame>(dataset: D, frame: F) => ({
  ...features(dataset, "blip2"),
  ...arch("blip2", "blip2_feature_extractor", "blip2_pretrained_vitL.pth"),
  ...common(dataset),
  cirFrame: fixed(frame, "frame"),
  encoder: flag(
    "both",
    "what is trained (which model, --encoder-arch says): all three copies, or all but the visual one (Q3)",
    {
      choices: ["both", "multi"],
    },
  ),
  ...training,
  ...frames[frame],
  trainModeValidation: flag(false, "validate with dropout on, as released (Q12)"),
});

const clip = <D extends ReleasedDataset>(dataset: D) => ({
  ...features(dataset, "clip"),
  ...arch("clip", "RN50x4", "RN50x4.pt"),
  ...common(dataset),
});

/** Flags of CaLa over CLIP. */
export const clipFlags = <D extends ReleasedDataset, F extends TrainedFrame>(dataset: D, frame: F) => ({
  ...clip(dataset),
  cirFrame: fixed(frame, "frame"),
  encoder: flag("text", "as released: CLIP's text side is trained whatever is named", {
    choices: ["text", "both", "multi"],
  }),
  ...training,
  ...frames[frame],
  batchNorm: flag(
    "running",
    "the ResNet's BatchNorm in training: by the checkpoint's running statistics, so features are stored; or as " +
      "released by those of each batch, from the pictures, which moves the running ones (Q13)",
    { choices: ["running", "batch"] },
  ),
  spatialTokens: flag(false, "a token of the map is a place in the image, not a run of memory (Q21)"),
  learnedClassToken: flag(false, "TAC's class token is learned, not drawn anew at every step (Q22)"),
});

/** What is said where the first stage is trained. */
const FIRST_STAGE = Object.keys({ ...clipFlags("cirr", "sum"), ...frames.artemis });

/** Flags of the Combiner over frozen CLIP features. */
export const combinerFlags = <D extends ReleasedDataset>(dataset: D) => ({
  ...clip(dataset),
  combiningFunction: fixed("combiner", "combining function"),
  firstStage: flag(
    "",
    `run folder or checkpoint of ${dataset}_clip_sum or ${dataset}_clip_artemis, trained with its own flags (--tac-weight, --cir-frame): its text encoder is taken; empty: the published one`,
    { holds: FIRST_STAGE },
  ),
  baseline: flag(false, "without CaLa: the first stage must be a run without, or the published checkpoint"),
  batchSize: flag(1024, "triplets a step", { integer: true, min: 2 }),
  learningRate: flag(2e-5, "constant", positive),
  projectionDim: flag(2560, "width of the two projections", count),
  hiddenDim: flag(5120, "width of the joint layer", count),
  matchingTemperature: flag(100, "factor on the matching scores", positive),
});
