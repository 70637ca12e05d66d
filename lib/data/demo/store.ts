/** The demo's folder: `data.json`, `pixels.u8`, and a manifest with their sizes and hashes. */
import { join } from "node:path";
import { DataError } from "../../core/errors.ts";
import { sha256Hex, writeFileAtomic } from "../../io/atomic.ts";
import { CompactVocabulary } from "../../text/wordpiece.ts";
import { Pixels } from "../pixels.ts";
import type { Dataset, Split, SplitName } from "../triplet.ts";
import type { BuiltDemo, DemoSize } from "./build.ts";
import { CREDIT_OF } from "./credits.ts";

/** Raise it whenever the same packages would give another data set. */
const FORMAT = 1;
const MANIFEST = "manifest.json", DATA = "data.json", PIXELS = "pixels.u8";

/** What the cache folder says about itself. It is written last: without it there is no cache. */
interface Manifest {
  format: number;
  size: DemoSize;
  packages: Record<string, string>;
  files: Record<string, { bytes: number; sha256: string }>;
}

/** `data.json`. */
interface Stored {
  images: BuiltDemo["images"];
  splits: Record<SplitName, Split>;
  vocabulary: { pieces: string[]; bertIds: number[]; captions: [string, number[]][] };
}

/** The demo, open. */
export interface Demo {
  readonly dataset: Dataset & { readonly vocabulary: CompactVocabulary };
  readonly images: Pixels;
}

/** Writes the folder. A reader that comes between finds a damaged demo or none, never half of one. */
export async function writeDemo(folder: string, size: DemoSize, demo: BuiltDemo): Promise<void> {
  const { images, splits, vocabulary, packages, pixels } = demo;
  const { pieces, bertIds } = vocabulary;
  const stored = { images, splits, vocabulary: { pieces, bertIds, captions: vocabulary.known() } };
  const payloads = { [DATA]: new TextEncoder().encode(JSON.stringify(stored)), [PIXELS]: pixels };
  const manifest: Manifest = { format: FORMAT, size, packages, files: {} };
  await Deno.mkdir(folder, { recursive: true });
  for (const [file, bytes] of Object.entries(payloads)) {
    manifest.files[file] = { bytes: bytes.length, sha256: sha256Hex(bytes) };
    await writeFileAtomic(join(folder, file), bytes);
  }
  await writeFileAtomic(join(folder, MANIFEST), JSON.stringify(manifest, null, 2) + "\n");
}

/**
 * Reads the folder; undefined if there is no manifest.
 *
 * @throws {DataError} If a file is missing, cut short, changed or of another format.
 */
export async function readDemo(folder: string, size: DemoSize): Promise<Demo | undefined> {
  const manifest = await readManifest(join(folder, MANIFEST), size);
  if (!manifest) return undefined;
  const [data, pixels] = [
    await readPayload(folder, DATA, manifest),
    await readPayload(folder, PIXELS, manifest),
  ];
  const { images, splits, vocabulary: { pieces, bertIds, captions } }: Stored = JSON.parse(
    new TextDecoder().decode(data),
  );
  return {
    dataset: {
      name: "demo",
      images: images.map(({ name, label, drawing }) => ({ name, label, credit: CREDIT_OF[drawing].text })),
      splits,
      hash: sha256Hex(manifest.files[DATA].sha256 + manifest.files[PIXELS].sha256),
      vocabulary: new CompactVocabulary(pieces, bertIds, captions),
    },
    images: new Pixels(pixels, size),
  };
}

async function readManifest(path: string, size: DemoSize): Promise<Manifest | undefined> {
  const bytes = await readIfThere(path);
  if (!bytes) return undefined;
  let manifest: Partial<Manifest> | null;
  try {
    manifest = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new DataError(`${MANIFEST} of the demo's cache is not JSON: ${(cause as Error).message}`, {
      where: path,
      cause,
    });
  }
  const isFile = (file: string) =>
    typeof manifest?.files?.[file]?.sha256 === "string" && Number.isInteger(manifest.files[file].bytes);
  if (manifest?.format !== FORMAT || manifest.size !== size || !isFile(DATA) || !isFile(PIXELS)) {
    const found = `format ${manifest?.format} and size ${manifest?.size}`;
    throw new DataError(`the demo's cache has ${found} instead of format ${FORMAT} and size ${size}`, {
      where: path,
    });
  }
  return manifest as Manifest;
}

async function readPayload(folder: string, file: string, manifest: Manifest): Promise<Uint8Array> {
  const path = join(folder, file), expected = manifest.files[file];
  const bytes = await readIfThere(path);
  if (!bytes) throw new DataError(`${file} of the demo's cache is missing`, { where: path });
  if (bytes.length !== expected.bytes) {
    throw new DataError(
      `${file} of the demo's cache has ${bytes.length} bytes instead of ${expected.bytes}`,
      { where: path },
    );
  }
  if (sha256Hex(bytes) !== expected.sha256) {
    throw new DataError(
      `${file} of the demo's cache has changed: its SHA-256 is not ${expected.sha256.slice(0, 12)}...`,
      { where: path },
    );
  }
  return bytes;
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
