/** Writes feature stores: goes on where a killed run stopped, and makes only what is missing, changed or damaged. */
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { ConfigError, DataError, ShapeError } from "../core/errors.ts";
import { formatBytes } from "../core/format.ts";
import { sha256Hex, writeFileAtomic } from "../io/atomic.ts";
import { narrowToHalf } from "../io/floats.ts";
import { appendJsonl } from "../io/jsonl.ts";
import { type FolderLock, lockFolder } from "../io/lock.ts";
import type { TokenTable } from "../text/token_table.ts";
import { soundRecords } from "./feature_check.ts";
import {
  featureKey,
  FeatureLayout,
  type FeatureRecord,
  type FeatureSettings,
  MAX_SHARD_BYTES,
  shardName,
} from "./feature_layout.ts";
import {
  checkSettings,
  DATASET,
  type FeatureManifest,
  MANIFEST,
  readManifest,
  RECORDS,
  TEXTS,
  writeManifest,
} from "./feature_manifest.ts";
import type { Dataset } from "./triplet.ts";

/** Options of `openFeatureWriter`. */
export interface FeatureWriterOptions {
  /** Removes features that are damaged as a whole, of other settings or of no image wanted; otherwise they are an error. */
  replace?: boolean;
  /** Bytes of a shard at most. Default 1 GiB. */
  shardBytes?: number;
  /** Called while the stored features are compared with their checksums. */
  onCheck?: (done: number, total: number) => void;
}

/**
 * Opens a store for writing, and makes the folder if there is none. Every stored record is read and compared with its
 * checksum; what is damaged, or torn by a crash, counts as missing.
 *
 * @throws {ConfigError} If another process writes it, or it was made with other settings and `replace` is not given.
 * @throws {DataError} If its index is damaged.
 */
export async function openFeatureWriter(
  folder: string,
  settings: FeatureSettings,
  { replace = false, shardBytes = MAX_SHARD_BYTES, onCheck = () => {} }: FeatureWriterOptions = {},
): Promise<FeatureWriter> {
  await Deno.mkdir(folder, { recursive: true });
  const lock = await lockFolder(folder);
  try {
    let manifest = await readManifest(folder).catch((error) => {
      if (replace && error instanceof DataError) return "damaged" as const;
      throw error;
    });
    if (manifest === "damaged" || manifest && manifest.key !== featureKey(settings)) {
      if (manifest !== "damaged" && !replace) checkSettings(folder, manifest.settings, settings, OTHERWISE);
      for (const name of [MANIFEST, ...filesOf(folder)]) await Deno.remove(join(folder, name)); // in this order
      manifest = undefined;
    }
    if (!manifest) {
      checkVacant(folder);
      manifest = {
        format: "cala-features-1",
        key: featureKey(settings),
        settings,
        shardRecords: FeatureLayout.shardRecords(settings, shardBytes),
        status: "writing",
      };
      await writeManifest(folder, manifest);
    }
    const layout = new FeatureLayout(settings, manifest.shardRecords);
    const { sound, damaged } = await soundRecords(folder, layout, onCheck);
    return new FeatureWriter(folder, manifest, layout, sound, damaged, replace, lock);
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
}

/** What to do with features that are not those to be written. */
const OTHERWISE = "name another folder by --out, or pass --replace: all its features are then made anew";

/** The files of a store that are in a folder, but the manifest. */
const filesOf = (folder: string): string[] =>
  [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => [RECORDS, DATASET, TEXTS].includes(name) || /^features-\d{5,}\.bin$/.test(name));

/** Without a manifest nothing tells what made such files, or whether they are ours: they are neither used nor written over. */
function checkVacant(folder: string): void {
  const [found] = filesOf(folder);
  if (found === undefined) return;
  throw new ConfigError(`${folder}: has ${found} and no ${MANIFEST}: it is no feature store`, {
    where: join(folder, found),
    fix: "name another folder by --out",
  });
}

/** What `finish` adds to the features. */
export interface FeatureContents {
  readonly dataset: Dataset;
  /** SHA-256 of each image's file, by position. */
  readonly images: readonly string[];
  readonly texts: TokenTable;
}

/** A store that is being written, locked until it is disposed. */
export class FeatureWriter implements Disposable {
  /** Stored features that were found torn or damaged when the store was opened. */
  readonly damaged: number;
  readonly recordBytes: number;
  readonly #folder: string;
  readonly #layout: FeatureLayout;
  readonly #lock: FolderLock;
  readonly #replace: boolean;
  readonly #records: Map<string, FeatureRecord>; // by image
  #manifest: FeatureManifest;
  #free: number[] = []; // slots to use again, the last first
  #end: number; // slots in use, and free ones, lie below

  constructor(
    folder: string,
    manifest: FeatureManifest,
    layout: FeatureLayout,
    records: readonly FeatureRecord[],
    damaged: number,
    replace: boolean,
    lock: FolderLock,
  ) {
    this.#folder = folder;
    this.#manifest = manifest;
    this.#layout = layout;
    this.#lock = lock;
    this.#replace = replace;
    this.#records = new Map(records.map((record) => [record.image, record]));
    this.#end = 1 + Math.max(-1, ...records.map(({ slot }) => slot).slice(-1)); // sorted by slot
    this.damaged = damaged;
    this.recordBytes = layout.recordBytes;
  }

  /**
   * Says which images will be stored. Records of others make room for new ones.
   *
   * @param images SHA-256 of each image's file.
   * @returns Those without features, each once.
   * @throws {ConfigError} If features are stored and all are of other images: another data set's. If the disk has no room.
   */
  async missing(images: Iterable<string>): Promise<string[]> {
    const wanted = new Set(images), missing = [...wanted].filter((image) => !this.#records.has(image));
    const used = new Set(
      [...this.#records.values()].flatMap(({ image, slot }) => wanted.has(image) ? [slot] : []),
    );
    if (used.size === 0 && this.#records.size > 0 && !this.#replace) {
      const stored = this.#records.size;
      throw new ConfigError(
        `${this.#folder}: holds features of ${stored} images, none of them among these ${wanted.size}: another data set's`,
        { where: join(this.#folder, RECORDS), fix: OTHERWISE },
      );
    }
    this.#free = Array.from({ length: this.#end }, (_, slot) => slot).filter((slot) => !used.has(slot))
      .reverse();
    await this.#checkSpace(Math.max(0, missing.length - this.#free.length) * this.#layout.recordBytes);
    return missing;
  }

  async #checkSpace(needed: number): Promise<void> {
    const { bavail, bsize } = await statfs(this.#folder), free = bavail * bsize;
    if (needed + SPARE_BYTES <= free || needed === 0) return;
    throw new ConfigError(
      `${this.#folder}: the features take ${formatBytes(needed)} more, its disk has ${
        formatBytes(free)
      } free`,
      { fix: "free some space, name a folder on another disk by --out, or store f16 (--store-dtype f16)" },
    );
  }

  /**
   * Stores the features of images, durably: after this they survive a crash.
   *
   * @param images SHA-256 of each image's file.
   * @param features By field: `[images.length or more, ...shape]`; further rows are left out.
   * @throws {DataError} If a number is not finite, or too large for f16.
   * @throws {ShapeError} If a field is missing or too short.
   */
  async put(images: readonly string[], features: Readonly<Record<string, Float32Array>>): Promise<void> {
    const records = images.map((image, row) => ({
      image,
      bytes: this.#encode(row, features),
      slot: this.#nextSlot(),
    }));
    await this.#begin();
    const byShard = Map.groupBy(records, ({ slot }) => this.#layout.placeOf(slot).shard);
    for (const [shard, group] of byShard) {
      using file = await Deno.open(join(this.#folder, shardName(shard)), { write: true, create: true });
      for (const { slot, bytes } of group) {
        await file.seek(this.#layout.placeOf(slot).at, Deno.SeekMode.Start);
        for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
      }
      await file.sync();
    }
    const lines = records.map(({ image, slot, bytes }) => ({ image, slot, crc32: crc32(bytes) }));
    await appendJsonl(join(this.#folder, RECORDS), ...lines);
    for (const line of lines) this.#records.set(line.image, line);
  }

  #nextSlot(): number {
    return this.#free.pop() ?? this.#end++;
  }

  #encode(row: number, features: Readonly<Record<string, Float32Array>>): Uint8Array {
    const record = new Uint8Array(this.#layout.recordBytes), { dtype } = this.#manifest.settings;
    for (const [name, { at, elements, sizeBytes }] of this.#layout.fields) {
      const values = features[name]?.subarray(row * elements, (row + 1) * elements);
      if (values?.length !== elements) {
        throw new ShapeError(
          `field "${name}": ${values?.length ?? "no"} numbers of image ${row}, expected ${elements}`,
        );
      }
      const stored = dtype === "f16" ? narrowToHalf(values) : values;
      checkFinite(name, values, dtype);
      record.set(new Uint8Array(stored.buffer, stored.byteOffset, sizeBytes), at);
    }
    return record;
  }

  /** From here until `finish` nobody may read the store. */
  async #begin(): Promise<void> {
    if (this.#manifest.status === "writing") return;
    const { files: _, ...rest } = this.#manifest;
    this.#manifest = { ...rest, status: "writing" };
    await writeManifest(this.#folder, this.#manifest);
  }

  /**
   * Completes the store. Nothing is written where all is there already.
   *
   * @throws {DataError} If an image's features are missing.
   */
  async finish({ dataset, images, texts }: FeatureContents): Promise<void> {
    const records = [...new Set(images)].map((image) => {
      const record = this.#records.get(image);
      if (!record) {
        throw new DataError(`${this.#folder}: the features of image ${image.slice(0, 12)} are missing`);
      }
      return record;
    });
    const { vocabulary: _, ...stored } = dataset; // the texts' ids are stored beside it
    const contents = {
      [DATASET]: JSON.stringify({ dataset: stored, images }) + "\n",
      [TEXTS]: JSON.stringify(texts) + "\n",
      [RECORDS]: records.map((record) => JSON.stringify(record) + "\n").join(""),
    };
    const files = Object.fromEntries(Object.entries(contents).map(([file, text]) => [file, sha256Hex(text)]));
    if (this.#manifest.status === "done" && await this.#isThere(contents, files)) return;
    await this.#begin();
    for (const [file, text] of Object.entries(contents)) {
      await writeFileAtomic(join(this.#folder, file), text);
    }
    this.#manifest = { ...this.#manifest, status: "done", files };
    await writeManifest(this.#folder, this.#manifest);
  }

  async #isThere(
    contents: Readonly<Record<string, string>>,
    files: Readonly<Record<string, string>>,
  ): Promise<boolean> {
    for (const [file, text] of Object.entries(contents)) {
      if (this.#manifest.files?.[file] !== files[file]) return false;
      const there = await Deno.readTextFile(join(this.#folder, file)).catch(() => undefined);
      if (there !== text) return false;
    }
    return true;
  }

  [Symbol.dispose](): void {
    this.#lock[Symbol.dispose]();
  }
}

/** Left free on the disk: the index, the texts, and what else is being written meanwhile. */
const SPARE_BYTES = 64 * 2 ** 20;
const MAX_HALF = 65_504;

function checkFinite(name: string, values: Float32Array, dtype: "f16" | "f32"): void {
  const limit = dtype === "f16" ? MAX_HALF : Infinity;
  for (const value of values) {
    if (Number.isFinite(value) && Math.abs(value) <= limit) continue;
    throw new DataError(`field "${name}": the backbone gives ${value}`, {
      fix: Number.isFinite(value)
        ? "it is too large for f16: pass --store-dtype f32"
        : "its weights are damaged, or not its own",
    });
  }
}
