/** `store.json`: what a folder of features says about itself. */
import { join } from "node:path";
import { ConfigError, DataError } from "../core/errors.ts";
import { sha256Hex, writeFileAtomic } from "../io/atomic.ts";
import { isJsonObject } from "../io/json_keys.ts";
import { isSizes } from "../io/stored_tensor.ts";
import { featureKey, type FeatureSettings, settingLines } from "./feature_layout.ts";

/** The files beside the shards. */
export const MANIFEST = "store.json",
  RECORDS = "records.jsonl",
  DATASET = "dataset.json",
  TEXTS = "texts.json";

/** What `store.json` holds. */
export interface FeatureManifest {
  readonly format: "cala-features-1";
  readonly key: string;
  readonly settings: FeatureSettings;
  readonly shardRecords: number;
  /** `writing` while images are missing or a writer is at work. */
  readonly status: "writing" | "done";
  /** When done: SHA-256 of the files beside the shards. */
  readonly files?: Readonly<Record<string, string>>;
}

export async function writeManifest(folder: string, manifest: FeatureManifest): Promise<void> {
  await writeFileAtomic(join(folder, MANIFEST), JSON.stringify(manifest, null, 2) + "\n");
}

/**
 * Reads `store.json`; nothing if there is none.
 *
 * @throws {DataError} If it is damaged or of another format.
 */
export async function readManifest(folder: string): Promise<FeatureManifest | undefined> {
  const path = join(folder, MANIFEST), text = await readTextIfThere(path);
  return text === undefined ? undefined : parseManifest(text, path);
}

function parseManifest(text: string, path: string): FeatureManifest {
  const fix = "pass --replace to deno task features: it makes all anew; or name another folder by --out";
  const value = parseJson(text, path, fix);
  if (!isJsonObject(value) || value.format !== "cala-features-1") {
    throw new DataError(`${path}: is of no feature store that this version reads`, { where: path, fix });
  }
  const { key, settings, shardRecords, status, files } = value;
  const isSound = isSettings(settings) && Number.isSafeInteger(shardRecords) && Number(shardRecords) > 0 &&
    (status === "writing" || (status === "done" && isJsonObject(files)));
  if (!isSound || featureKey(settings) !== key) {
    throw new DataError(`${path}: its key does not fit its settings: it was changed or damaged`, {
      where: path,
      fix,
    });
  }
  return value as unknown as FeatureManifest;
}

function isSettings(value: unknown): value is FeatureSettings {
  if (!isJsonObject(value) || !isJsonObject(value.preprocess) || !isJsonObject(value.fields)) return false;
  const { encoder, backbone, dtype, preprocess, fields } = value, shapes = Object.values(fields);
  return typeof encoder === "string" && typeof backbone === "string" &&
    (dtype === "f16" || dtype === "f32") &&
    Number.isSafeInteger(preprocess.dim) && shapes.length > 0 &&
    shapes.every((shape) => isSizes(shape) && shape.every((n) => n > 0));
}

/** JSON of a file. @throws {DataError} If it is none. */
export function parseJson(text: string, path: string, fix?: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DataError(`${path}: not JSON: ${reason}`, { where: path, fix, cause });
  }
}

/** Settings by what they are called; a store that differs in one was made with something else. */
export type ExpectedSettings = Partial<
  Pick<FeatureSettings, "encoder" | "backbone" | "preprocess" | "dtype">
>;

/** The first setting that differs: its name, the store's value, the other one. */
export function differenceOf(
  settings: FeatureSettings,
  expected: ExpectedSettings | FeatureSettings,
): { name: string; stored?: string; wanted?: string } | undefined {
  const had = settingLines(settings), want = settingLines({ ...settings, ...expected });
  const name = [...new Set([...had.keys(), ...want.keys()])].find((line) => had.get(line) !== want.get(line));
  return name === undefined ? undefined : { name, stored: had.get(name), wanted: want.get(name) };
}

/** @throws {ConfigError} If the store was made with other settings; says which. */
export function checkSettings(
  folder: string,
  settings: FeatureSettings,
  expected: ExpectedSettings | FeatureSettings,
  fix: string,
): void {
  const difference = differenceOf(settings, expected);
  if (!difference) return;
  const { name, stored = "absent", wanted = "absent" } = difference;
  throw new ConfigError(`${folder}: the store's ${name} is ${stored}, not ${wanted}`, {
    where: join(folder, MANIFEST),
    fix,
  });
}

/** A file of a store that is done. @throws {DataError} If it is missing or not as it was written. */
export async function readChecked(folder: string, file: string, sha256?: string): Promise<string> {
  const path = join(folder, file), text = await readTextIfThere(path);
  const fix = "run the command of deno task features again: it writes the file anew";
  if (text === undefined) throw new DataError(`${path}: no such file`, { where: path, fix });
  if (sha256Hex(text) !== sha256) {
    throw new DataError(`${path}: is not as it was written: its SHA-256 is another one`, {
      where: path,
      fix,
    });
  }
  return text;
}

/** A text; nothing if there is no such file. */
export async function readTextIfThere(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
