/** How the released experiments learn: AdamW in the released groups, a cosine over epochs. */
import type { ParamGroup } from "../models/encoders.ts";
import { AdamW } from "../train/optimizer.ts";
import type { Schedule } from "../train/rate.ts";
import { cosineLr } from "../train/schedule.ts";

/** What the optimiser reads of the flags. */
export interface OptimizerFlags {
  readonly learningRate: number;
  readonly minLr: number;
  readonly maxEpoch: number;
  readonly lrAfterMax: "rise" | "hold";
  readonly scheduleAllGroups: boolean;
}

/**
 * AdamW with weight decay 0.05 on every parameter (quirk Q49); the cosine holds for the scheduled groups (quirk Q15).
 *
 * Source: `blip_fine_tune.py`, the optimiser's groups; `utils.cosine_lr_schedule`.
 *
 * @param groups Those of a frame and of heads. `minLr` is of a group whose factor is 1.
 */
export function releasedOptimizer(
  groups: readonly ParamGroup[],
  { learningRate, minLr, maxEpoch, lrAfterMax, scheduleAllGroups }: OptimizerFlags,
): { adamw: AdamW; schedule: Schedule } {
  const adamw = new AdamW(
    groups.map(({ params, lrMultiplier, isScheduled }) => ({
      params,
      lr: learningRate * lrMultiplier,
      isScheduled: isScheduled || scheduleAllGroups,
    })),
    { weightDecay: 0.05 },
  );
  const cosine = { initLr: 1, minLr: minLr / learningRate, maxEpoch, afterMax: lrAfterMax };
  return { adamw, schedule: ({ epoch }) => cosineLr(epoch, cosine) };
}

/** The Combiner's: Adam, that is AdamW without decay, at a constant rate. Source: CLIP4Cir, `combiner_train.py`. */
export function combinerOptimizer(
  groups: readonly ParamGroup[],
  { learningRate }: Pick<OptimizerFlags, "learningRate">,
): { adamw: AdamW; schedule: Schedule } {
  const adamw = new AdamW(
    groups.map(({ params }) => ({ params, lr: learningRate, isScheduled: false })),
    { weightDecay: 0 },
  );
  return { adamw, schedule: () => 1 };
}
