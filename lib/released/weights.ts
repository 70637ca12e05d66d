/** The published checkpoint that a released experiment starts from. */
import { ConfigError } from "../core/errors.ts";
import { openWeights, type WeightsFile } from "../io/weights_file.ts";
import type { RunContext } from "../train/session.ts";
import { checkBackbone, checkEmbeds } from "./belonging.ts";
import type { StoreData } from "./data.ts";
import { below, openFirstStage } from "./first_stage.ts";
import { openPublished } from "./published.ts";

/** Where those of one copy of the encoder begin in a run's own checkpoint. */
const OWN = { blip2: "multimodal.", clip: "clip." };
/** And those of BLIP-2's visual copy. */
const OWN_VISUAL = "visual.";

/** What says where the weights are. */
export interface WeightsFlags {
  readonly weights: string;
  readonly encoderArch: "blip2" | "clip";
  /** The Combiner's first stage: its text encoder takes the published one's place. */
  readonly firstStage?: string;
  readonly baseline?: boolean;
}

/**
 * Opens the weights that a released experiment starts from: the published checkpoint that `--weights` names, or the first
 * stage's. A run that is measured needs neither: it has its own.
 *
 * @param data The store's features must come from the same checkpoint, if its file holds the backbone too; stored
 * `embeds`, from the same visual copy.
 * @throws {ConfigError} If there is no such file: says which published file is meant. If the features are of another.
 * @throws {DataError} If it is damaged or of a format that is not read.
 */
export async function openReleasedWeights(
  { checkpoint }: Pick<RunContext, "checkpoint">,
  { weights, encoderArch, firstStage, baseline }: WeightsFlags,
  { store, backbone, embeds }: Pick<StoreData, "store" | "backbone" | "embeds">,
): Promise<WeightsFile & Disposable> {
  if (checkpoint) {
    const file = await openWeights(checkpoint);
    return await checked(file, below(file, OWN[encoderArch]), async () => {
      if (embeds) await checkEmbeds(below(file, OWN_VISUAL), embeds, store, weights);
    });
  }
  if (firstStage) return await openFirstStage(firstStage, baseline);
  const file = await openPublished(weights, encoderArch);
  return await checked(file, file, async () => {
    checkBackbone(file, encoderArch, store, backbone);
    if (embeds) await checkEmbeds(file, embeds, store, weights);
  });
}

/** `result`; where the check throws, the file is closed. */
async function checked<T>(file: Disposable, result: T, check: () => Promise<void>): Promise<T> {
  try {
    await check();
    return result;
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

/** @throws {ConfigError} If `--embeds-dim` is given and is not the checkpoint's. */
export function checkEmbedsDim({ embedsDim }: { readonly embedsDim: number }, embedDim: number): void {
  if (embedsDim === 0 || embedsDim === embedDim) return;
  throw new ConfigError(`--embeds-dim is ${embedsDim}, the checkpoint's features have ${embedDim} numbers`, {
    fix: "leave it out",
  });
}
