/** The data of the released experiments: a feature store, read with the caption rules of its data set. */
import { ConfigError, DataError } from "../core/errors.ts";
import { openFeatureStore } from "../data/feature_store.ts";
import { type ImageSource, joinSources } from "../data/image_source.ts";
import type { Dataset } from "../data/triplet.ts";
import { fashionIqEvalCaption, fashionIqTrainCaption, singleCaption } from "../text/captions.ts";
import type { Tokenizer } from "../text/wordpiece.ts";
import type { ExperimentData, FieldsRead } from "../train/batch.ts";
import type { RunContext } from "../train/session.ts";
import type { StoredEmbeds } from "./belonging.ts";
import { openEmbeds } from "./embeds.ts";
import type { ReleasedDataset } from "./flags.ts";
import { openLiveClip } from "./live_clip.ts";
import { checkAnnotations, featuresCommand, storeInCache, transformName } from "./store.ts";

/** What the data are read by. */
export interface StoreFlags {
  readonly dataset: ReleasedDataset;
  readonly encoderArch: "blip2" | "clip";
  /** What is trained: with BLIP-2's `multi`, stored `embeds` are read, if there are any. */
  readonly encoder?: "both" | "multi" | "text";
  /** The data set's folder; empty: whatever the store holds. */
  readonly data: string;
  /** Empty: that of `data` in the cache, or without `data` `stores/DATASET-ENCODER`. */
  readonly store: string;
  readonly weights: string;
  readonly transform: "targetpad" | "squarepad" | "clip";
  readonly targetRatio: number;
  /** `batch`: CLIP's BatchNorm as in the released training (Q13). */
  readonly batchNorm?: "running" | "batch";
  readonly saveTraining: boolean;
  readonly saveBest: boolean;
  readonly baseline?: boolean;
  readonly tacWeight?: number;
  readonly hcaWeight?: number;
}

/** Data whose images are stored features. */
export interface StoreData extends ExperimentData {
  readonly images: ImageSource & Disposable;
  /** The store's folder. */
  readonly store: string;
  /** Hash of the backbone that made the features. */
  readonly backbone: string;
  /** Where the frozen visual copy's output is read too: what it must be of. */
  readonly embeds?: StoredEmbeds;
}

/** CLIP reads texts of one length. */
const CLIP_LENGTH = 77;
/** BERT's positions. Q51: LAVIS does not cut there, and crashes. */
const BERT_LENGTH = 512;
/** Padded lengths below the longest text: a plan each. Most batches of 64 fit the second. */
const BUCKETS = [16, 24, 32];

/** How captions become a text: one is read as it is, two as FashionIQ's. */
const RULES = {
  1: { evalCaption: singleCaption, captionJoin: "single" },
  2: { trainCaption: fashionIqTrainCaption, evalCaption: fashionIqEvalCaption, captionJoin: "both captions" },
} as const;
type Rule = (typeof RULES)[keyof typeof RULES];

/**
 * Opens the data of a released experiment.
 *
 * @throws {ConfigError} If there is no store, with the command that makes it; or it is of another data set, encoder or
 * preprocessing, or the folder's annotations have changed since; or the flags contradict each other.
 * @throws {DataError} If the store, or its `embeds` where they are read, is unfinished or damaged.
 */
export async function openReleasedData(
  run: Pick<RunContext, "cacheDir" | "progress">,
  flags: StoreFlags,
): Promise<StoreData> {
  checkFlags(flags);
  const usual = `stores/${flags.dataset}-${flags.encoderArch}`, asked = requestOf(flags);
  const folder = flags.store || (flags.data ? await storeInCache(run.cacheDir, asked) : usual);
  const makeIt = `make it, once${flags.data ? "" : "; DIR is the data set's folder"}:\n  ` +
    featuresCommand(asked, flags.data ? flags.store : folder);
  const store = await openIfThere(folder, flags, makeIt);
  const { dataset, images, tokenizer, settings } = store;
  try {
    if (flags.dataset !== "folder" && dataset.name.toLowerCase() !== flags.dataset) {
      throw new ConfigError(`${folder}: holds features of "${dataset.name}", not of ${flags.dataset}`, {
        where: folder,
        fix: `make it, once; DIR is the data set's folder:\n  ${featuresCommand(asked, usual)}`, // that one stays
      });
    }
    const { transform, targetRatio = 1.25 } = settings.preprocess;
    const [made, wanted] = [transformName({ transform, targetRatio }), transformName(asked)];
    if (made !== wanted) {
      throw new ConfigError(
        `${folder}: was made with ${made}, --transform and --target-ratio say ${wanted}`,
        { where: folder, fix: makeIt },
      );
    }
    if (flags.data) {
      const again = `bring them up to date, only what is new is computed:\n  ${
        featuresCommand(asked, flags.store)
      }`;
      await checkAnnotations(dataset, flags.dataset, flags.data, again);
    }
    const isClip = flags.encoderArch === "clip", limit = isClip ? CLIP_LENGTH : BERT_LENGTH;
    const rule = ruleOf(dataset), longest = longestText(dataset, tokenizer, rule, limit);
    const embeds = !isClip && flags.encoder === "multi"
      ? await openEmbeds(folder, store, flags.weights)
      : undefined;
    const data: StoreData = {
      dataset,
      images: embeds ? joinSources(images, embeds.images) : images,
      store: folder,
      backbone: settings.backbone,
      ...(embeds ? { embeds: { key: embeds.key, features: settings } } : {}),
      text: { tokenizer, bucketLengths: isClip ? [CLIP_LENGTH] : bucketsFor(longest) },
      fields: fieldsRead(flags, embeds !== undefined),
      // A length at which no text is cut is none: BLIP-2 and CLIP may stand in one table.
      protocol: { textLength: longest < limit ? undefined : limit, features: settings.dtype },
      keepsReference: dataset.keepsReference,
      ...rule,
    };
    if (flags.batchNorm !== "batch") return data;
    const protocol = { ...data.protocol, features: "f32", batchNorm: "batch" };
    return { ...data, ...await openLiveClip(run, flags, store, folder), protocol };
  } catch (error) {
    store[Symbol.dispose]();
    throw error;
  }
}

/** What nobody looks at is not read. */
function fieldsRead(
  { encoderArch, tacWeight = 0, hcaWeight = 0 }: StoreFlags,
  hasEmbeds: boolean,
): FieldsRead | undefined {
  if (encoderArch === "clip") { // its maps are for the heads alone
    const pooled = ["pooled"];
    return { train: tacWeight > 0 || hcaWeight > 0 ? undefined : pooled, evaluation: pooled };
  }
  // The multimodal copy reads the reference's tokens; TAC and the query by image alone, its embeds.
  return hasEmbeds ? { train: tacWeight > 0 ? undefined : ["tokens"], candidates: ["embeds"] } : undefined;
}

/** What `deno task features` is to make of it. */
const requestOf = ({ encoderArch: encoder, ...flags }: StoreFlags) => ({ ...flags, encoder });

async function openIfThere(folder: string, { encoderArch, data }: StoreFlags, fix: string) {
  try {
    await Deno.stat(folder);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw data
      ? new ConfigError(`${data}: its features are not stored yet`, { where: folder, fix })
      : new ConfigError(`${folder}: no such feature store`, { where: "--store", fix });
  }
  return await openFeatureStore(folder, { encoder: encoderArch });
}

function checkFlags({ saveTraining, saveBest, baseline, tacWeight = 0, hcaWeight = 0 }: StoreFlags): void {
  if (!saveTraining || !saveBest) {
    throw new ConfigError("last and best checkpoints are always kept", {
      fix: "leave out --no-save-training and --no-save-best",
    });
  }
  if (baseline && (tacWeight > 0 || hcaWeight > 0)) {
    throw new ConfigError(
      `--baseline has no CaLa, but --tac-weight is ${tacWeight} and --hca-weight ${hcaWeight}`,
      {
        fix: "leave out --baseline or the weights",
      },
    );
  }
}

const tripletsOf = ({ splits }: Dataset) => Object.values(splits).flatMap(({ triplets }) => triplets);

/** All triplets of a data set have as many captions. @throws {DataError} If there are no triplets. */
function ruleOf(dataset: Dataset): Rule {
  const [first] = tripletsOf(dataset);
  if (!first) throw new DataError(`${dataset.name} has no triplets`);
  return first.captions.length === 2 ? RULES[2] : RULES[1];
}

/** Ids of the longest text that training or evaluation makes; `limit` where it is cut. */
function longestText(dataset: Dataset, tokenizer: Tokenizer, rule: Rule, limit: number): number {
  const texts = tripletsOf(dataset).flatMap(({ captions }) => [
    rule.evalCaption(captions),
    // In the other order a text can have another length. One caption alone is never longer than both.
    ..."trainCaption" in rule ? [rule.trainCaption(captions, 0.3)] : [],
  ]);
  return texts.reduce((longest, text) => Math.max(longest, tokenizer.encode(text, limit).length), 0);
}

/** Padded lengths up to the longest text. */
function bucketsFor(longest: number): number[] {
  const last = Math.min(BERT_LENGTH, 8 * Math.ceil(longest / 8));
  return [...BUCKETS.filter((length) => length < last), last];
}
