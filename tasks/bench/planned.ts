/** Parameters, work and planned memory at the published sizes: traced and planned, without a device. */
import { artemisFrame } from "../../lib/cala/frames/artemis.ts";
import { sumFrame } from "../../lib/cala/frames/sum.ts";
import { calaHeads } from "../../lib/cala/heads.ts";
import { formatCount } from "../../lib/core/format.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import { blip2From } from "../../lib/models/blip2_from.ts";
import { clipFrom } from "../../lib/models/clip_from.ts";
import type { Lowered } from "../../lib/plan/lower.ts";
import { plannedBytes } from "../../lib/plan/planned.ts";
import { BatchReader } from "../../lib/train/batch.ts";
import { stepOf } from "../../lib/train/session.ts";
import { planTraining } from "../../lib/train/step.ts";
import { openExperiment } from "../experiments.ts";
import { BLIP2_SIZES, randomBlip2, randomClip, RN50X4_SIZES, zeroWeights } from "./random_checkpoint.ts";

/** A configuration of the released code. */
export interface FullConfig {
  readonly encoder: "BLIP-2 both" | "BLIP-2 multi" | "CLIP";
  readonly frame: "sum" | "artemis";
}

/** What a step takes. */
export interface FullPlan extends FullConfig {
  /** Parameters with gradient and moments. */
  readonly trained: number;
  /** Floating-point operations of a plain step, without recomputing. */
  readonly flops: number;
  /** Bytes on the device, by `--memory`. */
  readonly bytes: Readonly<Record<typeof MEMORIES[number], number>>;
}

const MEMORIES = ["plain", "recompute", "gradcache"] as const;
/** README's batch; a safe length of BLIP-2's texts; what gradcache encodes at once. */
export const BATCH_SIZE = 64, TEXT_LENGTH = 32, MICRO_BATCH = 8;

/** All configurations. */
export const fullConfigs: readonly FullConfig[] = (["BLIP-2 both", "BLIP-2 multi", "CLIP"] as const).flatMap(
  (encoder) => (["sum", "artemis"] as const).map((frame) => ({ encoder, frame })),
);

/** Plans a configuration in each way to keep to memory. Weights are zeros that nobody touches: they take no memory. */
export async function planFull({ encoder, frame: kind }: FullConfig): Promise<FullPlan> {
  const isClip = encoder === "CLIP";
  const { functions, ...experiment } = await openFull({ encoder, frame: kind });
  const encoders = isClip
    ? await clipFrom(zeroWeights(randomClip(RN50X4_SIZES, 0)))
    : await blip2From(zeroWeights(randomBlip2(BLIP2_SIZES, 0)), {
      train: encoder === "BLIP-2 both" ? "both" : "multi",
    });
  const { embedDim } = encoders, map = [2560, 9, 9];
  const model = {
    frame: kind === "sum" ? sumFrame(encoders) : artemisFrame(encoders),
    heads: calaHeads({ embedDim, featureDim: isClip ? map[0] : undefined }),
  };
  const shapes: Record<string, readonly number[]> = isClip
    ? { map, pooled: [embedDim] }
    : { tokens: [BLIP2_SIZES.gridSize ** 2 + 1, BLIP2_SIZES.visionWidth] };
  const fields = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, { shape, dtype: "f32" as const }]),
  );
  const specs = new BatchReader({ images: { fields, count: 0, read: () => {} } }, "train")
    .tripletSpecs(BATCH_SIZE, isClip ? RN50X4_SIZES.contextLength : TEXT_LENGTH);
  const params = [...model.frame.params.values(), ...model.heads.params.values()];
  const plans = MEMORIES.map((memory) => {
    const config = experiment.config({ memory, microBatch: MICRO_BATCH, batchSize: BATCH_SIZE });
    const { maker, adamw } = stepOf(functions, config, model);
    const { step: { trained, plans }, memory: bytes } = planTraining(maker, adamw, params, specs);
    return {
      trained: [...trained].reduce((sum, { shape }) => sum + sizeOf(shape), 0),
      flops: workOf(plans),
      bytes: plannedBytes(bytes),
    };
  });
  const [{ trained, flops }] = plans;
  const bytes = Object.fromEntries(
    MEMORIES.map((memory, i) => [memory, plans[i].bytes]),
  ) as FullPlan["bytes"];
  return { encoder, frame: kind, trained, flops, bytes };
}

/** Floating-point operations of plans, each run once. */
export const workOf = (plans: readonly (readonly Lowered[])[]): number =>
  plans.flat().flatMap(({ nodes }) => nodes)
    .reduce((sum, node) => sum + node.op.cost(node.inputs, node.outputs, node.attrs).flops, 0);

/** The released experiment of a configuration, on CIRR. */
async function openFull({ encoder, frame }: FullConfig) {
  const [arch, train] = encoder === "CLIP" ? ["clip", "text"] : ["blip2", encoder.split(" ")[1]];
  const experiment = await openExperiment(`cirr_${arch}_${frame}`);
  return {
    functions: experiment.functions,
    config: (flags: Record<string, string | number>) => experiment.configFrom({ ...flags, encoder: train }),
  };
}

/** Plans every configuration. */
export async function planAll(): Promise<FullPlan[]> {
  const plans: FullPlan[] = [];
  for (const config of fullConfigs) plans.push(await planFull(config)); // one after another: each is large
  return plans;
}

const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(1);

/** The plans as a Markdown table. */
export const plannedTable = (plans: readonly FullPlan[]): string =>
  `| encoders | frame | trained parameters | TFLOP a step | ${MEMORIES.map((m) => `${m}, GB`).join(" | ")} |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
${
    plans.map(({ encoder, frame, trained, flops, bytes }) =>
      `| ${encoder} | ${frame} | ${formatCount(trained)} | ${(flops / 1e12).toFixed(2)} | ${
        MEMORIES.map((memory) => gigabytes(bytes[memory])).join(" | ")
      } |`
    ).join("\n")
  }
`;
