/**
 * Features of a frozen backbone, read from disk: what training and evaluation take instead of images. A store also holds
 * the data set and the token ids of its texts, so reading one needs no npm package, network, or native code.
 */
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { DataError, ShapeError } from "../core/errors.ts";
import { widenHalf } from "../io/floats.ts";
import { isJsonObject } from "../io/json_keys.ts";
import { TokenTable } from "../text/token_table.ts";
import {
  currentRecords,
  FeatureLayout,
  type FeatureRecord,
  type FeatureSettings,
  type FieldPlace,
  parseRecord,
  shardName,
} from "./feature_layout.ts";
import {
  checkSettings,
  DATASET,
  type ExpectedSettings,
  parseJson,
  readChecked,
  readManifest,
  RECORDS,
  TEXTS,
} from "./feature_manifest.ts";
import type { ImageField, ImageSource } from "./image_source.ts";
import type { Dataset } from "./triplet.ts";

const REDO = "run the command of deno task features again: it finds what is damaged and makes only that anew";

/** An open store. */
export interface OpenFeatures extends Disposable {
  readonly dataset: Dataset;
  readonly images: FeatureStore;
  /** SHA-256 of each image's file, by position. */
  readonly hashes: readonly string[];
  readonly tokenizer: TokenTable;
  /** SHA-256 of the settings. */
  readonly key: string;
  readonly settings: FeatureSettings;
}

/**
 * Opens a store that `deno task features` has finished.
 *
 * @param folder The folder.
 * @param expected Settings that the store must have: the encoder, the hash of a checkpoint's vision tensors.
 * @throws {DataError} If there is none, it is unfinished, or a file is missing, cut short or changed.
 * @throws {ConfigError} If it was made with other settings than expected; names the one that differs.
 *
 * @example Usage
 * ```ts ignore
 * using store = await openFeatureStore("stores/cirr-blip2", { encoder: "blip2" });
 * const tokens = new Float32Array(2 * 257 * 1024);
 * store.images.read([0, 7], { tokens });
 * ```
 */
export async function openFeatureStore(
  folder: string,
  expected: ExpectedSettings = {},
): Promise<OpenFeatures> {
  const manifest = await readManifest(folder);
  if (!manifest) {
    throw new DataError(`${folder}: is no feature store`, {
      where: folder,
      fix: "make one: deno task features --help",
    });
  }
  const { key, settings, status, files = {}, shardRecords } = manifest;
  checkSettings(
    folder,
    settings,
    expected,
    "open the store that was made for it, or make one: deno task features",
  );
  if (status !== "done") {
    throw new DataError(`${folder}: the store is not finished`, {
      where: folder,
      fix: "run the command of deno task features again: it goes on where it stopped",
    });
  }
  const [dataset, hashes] = parseDataset(
    await readChecked(folder, DATASET, files[DATASET]),
    join(folder, DATASET),
  );
  const texts = await readChecked(folder, TEXTS, files[TEXTS]), textsPath = join(folder, TEXTS);
  const tokenizer = TokenTable.parse(parseJson(texts, textsPath), textsPath);
  const index = await readChecked(folder, RECORDS, files[RECORDS]);
  const records = recordsOf(hashes, index, join(folder, RECORDS));
  const store = new FeatureStore(folder, settings, shardRecords, records);
  return {
    dataset,
    images: store,
    hashes,
    tokenizer,
    key,
    settings,
    [Symbol.dispose]: () => store[Symbol.dispose](),
  };
}

/** The data set, and the hash of each of its images. */
function parseDataset(text: string, path: string): [Dataset, string[]] {
  const value = parseJson(text, path); // its hash is the one that was written: the content is ours
  if (isJsonObject(value) && isJsonObject(value.dataset) && Array.isArray(value.images)) {
    return [value.dataset as unknown as Dataset, value.images];
  }
  throw new DataError(`${path}: holds no data set`);
}

/** The record of each image of the data set, by position. */
function recordsOf(images: readonly string[], text: string, path: string): FeatureRecord[] {
  const lines = text.split("\n").slice(0, -1);
  const known = currentRecords(
    lines.map((line, i) => {
      const where = `${path}, line ${i + 1}`, value = parseJson(line, where);
      return parseRecord(isJsonObject(value) ? value : {}, where);
    }),
  );
  return images.map((image) => {
    const record = known.get(image);
    if (record) return record;
    throw new DataError(`${path}: lacks the image ${image.slice(0, 12)}`, { where: path, fix: REDO });
  });
}

/**
 * The features of a data set's images, by position. Numbers stored as f16 are widened, exactly. The first time that an
 * image is read its checksum is compared.
 */
export class FeatureStore implements ImageSource, Disposable {
  readonly count: number;
  readonly fields: Readonly<Record<string, ImageField>>;
  readonly #folder: string;
  readonly #isHalf: boolean;
  readonly #layout: FeatureLayout;
  readonly #records: readonly FeatureRecord[];
  readonly #shards = new Map<number, Deno.FsFile>();
  readonly #isChecked: Uint8Array; // by image
  readonly #half: Map<string, Uint16Array<ArrayBuffer>>; // by field: one image's f16, before they are widened

  /**
   * @param records The record of each image.
   * @throws {DataError} If a shard is missing or too short.
   */
  constructor(
    folder: string,
    settings: FeatureSettings,
    shardRecords: number,
    records: readonly FeatureRecord[],
  ) {
    this.count = records.length;
    this.fields = Object.fromEntries(
      Object.entries(settings.fields).map(([name, shape]) => [name, { shape, dtype: "f32" as const }]),
    );
    this.#folder = folder;
    this.#isHalf = settings.dtype === "f16";
    this.#layout = new FeatureLayout(settings, shardRecords);
    this.#records = records;
    this.#isChecked = new Uint8Array(records.length);
    this.#half = new Map(
      [...this.#layout.fields].map(([name, { elements }]) => [name, new Uint16Array(elements)]),
    );
    try {
      this.#openShards();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #openShards(): void {
    const ends = new Map<number, number>();
    for (const { slot } of this.#records) {
      const { shard, at } = this.#layout.placeOf(slot);
      ends.set(shard, Math.max(ends.get(shard) ?? 0, at + this.#layout.recordBytes));
    }
    for (const [shard, end] of ends) {
      const path = join(this.#folder, shardName(shard));
      const file = openIfThere(path), size = file?.statSync().size ?? 0;
      if (file) this.#shards.set(shard, file);
      if (size < end) {
        throw new DataError(
          `${path}: ${file ? `has ${size} bytes, at least ${end} expected` : "no such file"}`,
          {
            where: path,
            fix: REDO,
          },
        );
      }
    }
  }

  /**
   * Copies fields of images, one image after another.
   *
   * @param into By field: `[ids.length, ...shape]`.
   * @throws {ShapeError} If a field is unknown or an array has another length.
   * @throws {DataError} If an image's bytes are not those that were written.
   */
  read(ids: ArrayLike<number>, into: Record<string, Uint8Array | Float32Array>): void {
    const wanted = Object.entries(into).map(([name, array]) => this.#target(name, array, ids.length));
    for (let i = 0; i < ids.length; i++) {
      const record = this.#records[ids[i]];
      if (!record) throw new RangeError(`image ${ids[i]} of ${this.count}`);
      if (!this.#isChecked[ids[i]]) this.#check(ids[i], record);
      const { shard, at } = this.#layout.placeOf(record.slot);
      for (const { name, place, array } of wanted) {
        const from = i * place.elements, to = array.subarray(from, from + place.elements);
        const half = this.#isHalf ? this.#half.get(name) : undefined, target = half ?? to;
        this.#readBytes(
          shard,
          at + place.at,
          new Uint8Array(target.buffer, target.byteOffset, target.byteLength),
        );
        if (half) widenHalf(half, to);
      }
    }
  }

  #target(
    name: string,
    array: Uint8Array | Float32Array,
    images: number,
  ): { name: string; place: FieldPlace; array: Float32Array } {
    const place = this.#layout.fields.get(name);
    if (!place) {
      throw new ShapeError(
        `field ${JSON.stringify(name)}: the store has ${[...this.#layout.fields.keys()].join(", ")}`,
      );
    }
    if (!(array instanceof Float32Array) || array.length !== images * place.elements) {
      throw new ShapeError(
        `field "${name}": ${images} images take ${images * place.elements} f32, the array is ` +
          `${array.constructor.name} of ${array.length}`,
      );
    }
    return { name, place, array };
  }

  #check(id: number, { slot, crc32: expected }: FeatureRecord): void {
    const { shard, at } = this.#layout.placeOf(slot), bytes = new Uint8Array(this.#layout.recordBytes);
    this.#readBytes(shard, at, bytes);
    if (crc32(bytes) !== expected) {
      const path = join(this.#folder, shardName(shard));
      throw new DataError(`${path}: the features of image ${id} are not those that were written`, {
        where: `${path}, byte ${at}`,
        fix: REDO,
      });
    }
    this.#isChecked[id] = 1;
  }

  /** Synchronous: two reads at once would move the file's cursor under each other. */
  #readBytes(shard: number, at: number, into: Uint8Array): void {
    const file = this.#shards.get(shard), path = join(this.#folder, shardName(shard));
    if (!file) throw new DataError(`${path}: the store was closed`);
    file.seekSync(at, Deno.SeekMode.Start);
    for (let done = 0; done < into.length;) {
      const n = file.readSync(into.subarray(done));
      if (n === null) throw new DataError(`${path}: ends at byte ${at + done}`, { where: path, fix: REDO });
      done += n;
    }
  }

  [Symbol.dispose](): void {
    for (const file of this.#shards.values()) file.close();
    this.#shards.clear();
  }
}

function openIfThere(path: string): Deno.FsFile | undefined {
  try {
    return Deno.openSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
