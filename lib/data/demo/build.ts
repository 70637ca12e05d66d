/** Builds the demo from its npm packages: draws, removes equal pictures, derives, splits, tokenizes. */
import type { OnProgress } from "../../core/progress.ts";
import { sha256Hex } from "../../io/atomic.ts";
import { CompactVocabulary, wordPiece } from "../../text/wordpiece.ts";
import { shrink, svgRenderer } from "../image.ts";
import type { Split, SplitName } from "../triplet.ts";
import { type Drawing, type Emoji, type EmojiPackages } from "./emoji.ts";
import { colourGrids } from "./grid.ts";
import type { OptionalRule } from "./rules.ts";
import { distinct, splitDemo } from "./split.ts";

/** Side of a picture in pixels. */
export type DemoSize = 32 | 64;
/** Both sizes come from this drawing, so that both remove the same pictures and have the same triplets. */
const DRAWN_SIZE = 64;
const DRAWN_AT_ONCE = 4; // fastest of 2, 4, 8 on two cores: 12 s for all

/** The demo as plain data. */
export interface BuiltDemo {
  /** Drawn size: `[images.length, size, size, 3]`. */
  readonly pixels: Uint8Array;
  readonly images: readonly { name: string; label: string; drawing: Drawing }[];
  readonly splits: Readonly<Record<SplitName, Split>>;
  readonly vocabulary: CompactVocabulary;
  /** Versions of the packages. */
  readonly packages: Readonly<Record<string, string>>;
}

export interface BuildOptions {
  size: DemoSize;
  include?: readonly OptionalRule[];
  onProgress?: OnProgress;
}

/**
 * @param source All pictures, or some of them.
 * @throws {DataError} If the npm package of the tokenizer or of the renderer is not installed.
 */
export async function buildDemo(source: EmojiPackages, options: BuildOptions): Promise<BuiltDemo> {
  const { size, include = [], onProgress = () => {} } = options;
  const base = await wordPiece();
  const all = source.emoji;
  const drawn = await draw(all, onProgress);
  const kept = distinct(drawn.map((image) => sha256Hex(image)));
  const emoji = kept.map((i) => all[i]), images = kept.map((i) => drawn[i]);
  const splits = splitDemo(emoji, colourGrids(images, DRAWN_SIZE), include);

  const captionsOf = (split: Split) => split.triplets.flatMap(({ captions }) => captions);
  const vocabulary = CompactVocabulary.of(captionsOf(splits.train), base);
  for (const split of Object.values(splits)) vocabulary.learn(captionsOf(split), base);

  const pixels = new Uint8Array(images.length * size * size * 3);
  images.forEach((image, i) => pixels.set(shrink(image, DRAWN_SIZE, DRAWN_SIZE / size), i * size * size * 3));
  return {
    pixels,
    images: emoji.map(({ name, label, drawing }) => ({ name, label, drawing })),
    splits,
    vocabulary,
    packages: source.versions,
  };
}

/** All pictures in their order, several at once. */
async function draw(emoji: readonly Emoji[], onProgress: OnProgress): Promise<Uint8Array[]> {
  const render = await svgRenderer();
  const images = new Array<Uint8Array>(emoji.length);
  let next = 0, done = 0;
  const drawSome = async () => {
    for (let i = next++; i < emoji.length; i = next++) {
      images[i] = await render(await emoji[i].svg(), DRAWN_SIZE);
      if (++done % 250 === 0 || done === emoji.length) {
        onProgress({ what: "drawing pictures", done, total: emoji.length });
      }
    }
  };
  await Promise.all(Array.from({ length: DRAWN_AT_ONCE }, drawSome));
  return images;
}
