/** How stored features lie in files: records of equal size in shards, and what they were made with. */
import { DataError } from "../core/errors.ts";
import { showShape, sizeOf } from "../core/shape.ts";
import { sha256Hex } from "../io/atomic.ts";
import type { PreprocessOptions } from "./preprocess.ts";

/** How numbers are stored. They are read as f32. */
export type StoreDType = "f16" | "f32";

/** What decides the values of a store, beside the images. */
export interface FeatureSettings {
  /** `blip2` or `clip`. */
  readonly encoder: string;
  /** SHA-256 of the frozen backbone's weights. */
  readonly backbone: string;
  readonly preprocess: PreprocessOptions;
  readonly dtype: StoreDType;
  /** The shape of each field of one image, by name. */
  readonly fields: Readonly<Record<string, readonly number[]>>;
}

/** The settings as lines of name and value, in a fixed order: what a key is made of, and what errors compare. */
export function settingLines(settings: FeatureSettings): Map<string, string> {
  const { encoder, backbone, preprocess, dtype, fields } = settings;
  const { transform, dim, targetRatio = 1.25, convertRgbFirst } = preprocess;
  const padding = transform === "targetpad" ? ` ${targetRatio}` : "";
  return new Map([
    ["encoder", encoder],
    ["backbone", backbone],
    ["preprocessing", `${transform}${padding}, ${dim} px, RGB ${convertRgbFirst ? "first" : "last"}`],
    ["dtype", dtype],
    ...Object.keys(fields).sort().map((name) => [`field ${name}`, showShape(fields[name])] as const),
  ]);
}

/** SHA-256 of the settings: equal keys, equal features of equal images. */
export const featureKey = (settings: FeatureSettings): string =>
  sha256Hex(JSON.stringify(["cala-features-1", ...settingLines(settings)]));

/** Bytes of a shard at most. */
export const MAX_SHARD_BYTES = 2 ** 30;

/** Where a field lies in a record. */
export interface FieldPlace {
  readonly at: number;
  readonly elements: number;
  readonly sizeBytes: number;
}

/** The places of records and fields. A slot is a record's number over all shards. */
export class FeatureLayout {
  readonly recordBytes: number;
  readonly fields: ReadonlyMap<string, FieldPlace>;

  /** @param shardRecords Records of a full shard. */
  constructor({ fields, dtype }: FeatureSettings, readonly shardRecords: number) {
    let at = 0;
    const places = new Map<string, FieldPlace>();
    for (const name of Object.keys(fields).sort()) {
      const elements = sizeOf(fields[name]), sizeBytes = elements * (dtype === "f16" ? 2 : 4);
      places.set(name, { at, elements, sizeBytes });
      at += sizeBytes;
    }
    this.recordBytes = at;
    this.fields = places;
  }

  /** Records that fill a shard of at most `shardBytes`; one at least. */
  static shardRecords(settings: FeatureSettings, shardBytes: number): number {
    return Math.max(1, Math.floor(shardBytes / new FeatureLayout(settings, 1).recordBytes));
  }

  placeOf(slot: number): { shard: number; at: number } {
    return {
      shard: Math.floor(slot / this.shardRecords),
      at: slot % this.shardRecords * this.recordBytes,
    };
  }
}

export const shardName = (shard: number): string => `features-${String(shard).padStart(5, "0")}.bin`;

/** One image's stored features. */
export interface FeatureRecord {
  /** SHA-256 of the image file. */
  readonly image: string;
  readonly slot: number;
  /** Of the record's bytes. */
  readonly crc32: number;
}

/** @throws {DataError} If a line of the index is no record. */
export function parseRecord(value: Readonly<Record<string, unknown>>, where: string): FeatureRecord {
  const { image, slot, crc32 } = value;
  const isRecord = typeof image === "string" && /^[0-9a-f]{64}$/.test(image) && Number.isSafeInteger(slot) &&
    Number(slot) >= 0 && Number.isSafeInteger(crc32);
  if (!isRecord) {
    throw new DataError(`${where}: no record of features: ${JSON.stringify(value).slice(0, 80)}`);
  }
  return { image, slot: Number(slot), crc32: Number(crc32) };
}

/** The records that hold: of an image the last one, of a slot the last one. */
export function currentRecords(records: Iterable<FeatureRecord>): Map<string, FeatureRecord> {
  const ofImage = new Map<string, FeatureRecord>(), ofSlot = new Map<number, FeatureRecord>();
  for (const record of records) {
    const before = ofSlot.get(record.slot);
    if (before && ofImage.get(before.image) === before) ofImage.delete(before.image);
    ofImage.set(record.image, record);
    ofSlot.set(record.slot, record);
  }
  return ofImage;
}
