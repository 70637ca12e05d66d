/** Whole training steps that the benchmark times. */
import { Random } from "../../lib/core/random.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import { calaHeads } from "../../lib/cala/heads.ts";
import { calaLoss } from "../../lib/cala/loss.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { grad } from "../../lib/ops/grad.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { compile, type InputSpecs, inspect } from "../../lib/plan/compile.ts";
import type { State } from "../../lib/plan/state.ts";
import { param, type Tensor } from "../../lib/tensor/tensor.ts";
import { type ExperimentData, tripletBatch } from "../../lib/train/batch.ts";
import { openExperiment } from "../experiments.ts";
import type { Runnable } from "./measure.ts";

/** A step, compiled. */
export type BenchStep = Runnable & Disposable;

/** A step and its main sizes. */
export interface StepCase {
  readonly kernel: string;
  readonly shape: readonly number[];
  compile(gpu: Gpu, options: StepOptions): Promise<BenchStep>;
}

/** How a step is compiled. */
export interface StepOptions {
  /** Times each launch, in a pass of its own. */
  readonly profile: boolean;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** Like the demo's vocabulary. */
const VOCABULARY = 400;

/** The demo's step with its model, losses and optimiser; pictures and words are random. */
async function demoStep(
  gpu: Gpu,
  [B, L, side]: readonly number[],
  options: StepOptions,
): Promise<BenchStep> {
  const demo = await openExperiment("demo"), { functions } = demo, config = demo.configFrom();
  const context = { cacheDir: "", progress: () => {}, note: () => {} };
  // Of the data the model reads the size of the vocabulary alone.
  const data = { dataset: { vocabulary: { size: VOCABULARY } } } as unknown as ExperimentData;
  const model = await functions.model(context, config, data);
  const params = [...model.frame.params.values(), ...(model.heads?.params.values() ?? [])];
  const { adamw } = functions.optimizer(model, config);
  const pixels = { shape: [B, side, side, 3] };
  const specs: InputSpecs = {
    "reference.pixels": pixels,
    "target.pixels": pixels,
    inputIds: { shape: [B, L], dtype: "u32" },
    attentionMask: { shape: [B, L] },
    longest: { shape: [1], dtype: "u32" },
  };
  const lossOf = (t: Record<string, Tensor>) =>
    functions.loss(model, functions.encode(model, tripletBatch(t), config), config).loss;
  let grads = new Map<Tensor, Tensor>();
  inspect(
    (t) => {
      const loss = lossOf(t);
      grads = grad(loss, params);
      return { results: { loss } };
    },
    specs,
    { isTraining: true },
  );
  const state: State = adamw.createState(gpu, params, (p) => grads.has(p));
  const plan = await compile(
    gpu,
    (t) => {
      const loss = lossOf(t);
      adamw.update(state, grad(loss, params));
      return { outputs: { loss } };
    },
    specs,
    { ...options, state, isTraining: true, seed: 1, label: "demo step" },
  );
  const random = new Random(1, "inputs"), count = sizeOf(pixels.shape);
  return {
    plan,
    inputs: {
      "reference.pixels": random.uniform(count, -1, 1),
      "target.pixels": random.uniform(count, -1, 1),
      inputIds: Uint32Array.from({ length: B * L }, () => 1 + random.nextInt(VOCABULARY - 1)),
      attentionMask: new Float32Array(B * L).fill(1),
      longest: new Uint32Array([L]),
    },
    info: { learningRates: adamw.learningRates(1) },
    [Symbol.dispose]() {
      plan[Symbol.dispose]();
      state[Symbol.dispose]();
    },
  };
}

/** TAC, HCA and the losses on BLIP-2's embeddings; gradients of all weights and all embeddings. */
async function headStep(
  gpu: Gpu,
  [B, K, L, D]: readonly number[],
  options: StepOptions,
): Promise<BenchStep> {
  const heads = calaHeads({ embedDim: D, seed: 1 });
  const draw = (name: string, ...shape: number[]) =>
    param(shape, new Random(1, name).normal(sizeOf(shape), 0, D ** -0.5));
  const embeddings = {
    referenceEmbeds: draw("referenceEmbeds", B, 1, D), // HCA reads row 0
    referenceEmbedsForTac: draw("referenceEmbedsForTac", B, K, D),
    targetEmbeds: draw("targetEmbeds", B, K, D),
    textEmbeds: draw("textEmbeds", B, L, D),
    referenceFeats: draw("referenceFeats", B, D),
    textFeats: draw("textFeats", B, D),
    targetFeats: draw("targetFeats", B, D),
  };
  const plan = await compile(
    gpu,
    () => {
      const { textFeats, targetFeats } = embeddings;
      const { loss } = calaLoss({
        matching: matmul(textFeats, targetFeats, { transposeB: true, scale: 100 }),
        tac: heads.tac(embeddings),
        hca: heads.hca(embeddings),
      }, { tacWeight: 0.45, hcaWeight: 0.1 });
      const grads = grad(loss, [...heads.params.values(), ...Object.values(embeddings)]);
      return {
        outputs: { loss, ...Object.fromEntries([...grads.values()].map((g, i) => [`gradient ${i}`, g])) },
      };
    },
    {},
    { ...options, isTraining: true, label: "BLIP-2 head" },
  );
  return { plan, inputs: {}, info: {}, [Symbol.dispose]: () => plan[Symbol.dispose]() };
}

/** Batch, text length, side of the pictures; batch, query tokens, text tokens, width. */
export const stepCases: readonly StepCase[] = [
  {
    kernel: "step: demo",
    shape: [128, 10, 32],
    compile: (gpu, options) => demoStep(gpu, [128, 10, 32], options),
  },
  {
    kernel: "step: BLIP-2 head",
    shape: [64, 32, 20, 768],
    compile: (gpu, options) => headStep(gpu, [64, 32, 20, 768], options),
  },
];
