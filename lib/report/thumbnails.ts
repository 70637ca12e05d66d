/** Small pictures for a page, as data URIs, within a number of bytes. */
import { ConfigError } from "../core/errors.ts";
import { MAX_PIXELS } from "../data/decode.ts";
import type { ImageSource } from "../data/image_source.ts";
import { Pixels } from "../data/pixels.ts";
import { importSharp } from "../data/sharp.ts";
import type { DatasetImage } from "../data/triplet.ts";

/** Where pictures come from: their files, or the pixels that the model reads. */
export interface Pictures {
  readonly images: readonly DatasetImage[];
  readonly source?: ImageSource;
}

/** Sides in pixels to try: the first at which all pictures together keep within the limit is taken. */
const SIDES = [128, 96, 80, 64, 48, 32];
const QUALITY = 70, BATCH = 64;

/** Pictures as WebP data URIs. */
export interface Thumbnails {
  /** By position in `Dataset.images`; one that is missing has no file, or its file is no picture. */
  readonly uris: ReadonlyMap<number, string>;
  /** Longest side in pixels. */
  readonly side: number;
  readonly missing: number;
}

/**
 * Shrinks pictures, never enlarges them.
 *
 * @param ids Positions in `Dataset.images`, each once.
 * @param maxBytes Of all URIs together.
 * @throws {ConfigError} If even the smallest size does not fit, or sharp does not load.
 */
export async function thumbnails(
  { images, source }: Pictures,
  ids: readonly number[],
  { maxBytes, onProgress }: { maxBytes: number; onProgress?: (done: number, total: number) => void },
): Promise<Thumbnails> {
  const sharp = await importSharp();
  const open = (id: number) => {
    if (source instanceof Pixels) {
      const { size } = source;
      return sharp(source.image(id), { raw: { width: size, height: size, channels: 3 } });
    }
    const { path } = images[id];
    return path === undefined ? undefined : sharp(path, { limitInputPixels: MAX_PIXELS });
  };
  const shrink = async (id: number, side: number): Promise<[number, string] | undefined> => {
    try {
      const webp = await open(id)?.resize(side, side, { fit: "inside", withoutEnlargement: true })
        .webp({ quality: QUALITY }).toBuffer();
      return webp && [id, `data:image/webp;base64,${webp.toString("base64")}`];
    } catch {
      return undefined; // counted as missing; `deno task data` says what is wrong with a file
    }
  };
  for (const side of SIDES) {
    const uris = new Map<number, string>();
    let bytes = 0;
    for (let first = 0; first < ids.length && bytes <= maxBytes; first += BATCH) {
      onProgress?.(first, ids.length);
      const made = await Promise.all(ids.slice(first, first + BATCH).map((id) => shrink(id, side)));
      for (const [id, uri] of made.filter((one) => one !== undefined)) {
        uris.set(id, uri);
        bytes += uri.length;
      }
    }
    if (bytes <= maxBytes) return { uris, side, missing: ids.length - uris.size };
  }
  throw new ConfigError(`${ids.length} pictures do not fit into ${maxBytes} bytes`, {
    fix: "show fewer queries: --queries",
  });
}
