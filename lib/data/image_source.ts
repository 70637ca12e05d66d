/** What a model reads of an image: pixels, or the stored output of a frozen backbone. */

/** Shape of one image's entry, and its type. */
export interface ImageField {
  readonly shape: readonly number[];
  readonly dtype: "u8" | "f32";
}

/** Images by position. The demo's cache has one field, `pixels`; a feature store has those of its backbone. */
export interface ImageSource {
  /** By name: what a model finds in an `ImageBatch`. */
  readonly fields: Readonly<Record<string, ImageField>>;
  /** Number of images. */
  readonly count: number;
  /**
   * Copies the fields named in `into`, images one after another: each array is `[ids.length, ...shape]`. A promise where
   * they are yet to be computed; then calls are served in their order.
   */
  read(ids: ArrayLike<number>, into: Record<string, Uint8Array | Float32Array>): void | Promise<void>;
}

/**
 * One source of images whose fields lie in several, at the same positions.
 *
 * @param first Both have as many images, and no field of one name. They are disposed with the result.
 */
export function joinSources(
  first: ImageSource & Disposable,
  second: ImageSource & Disposable,
): ImageSource & Disposable {
  const sources = [first, second];
  return {
    fields: { ...first.fields, ...second.fields },
    count: first.count,
    async read(ids, into) {
      for (const source of sources) {
        const own = Object.entries(into).filter(([name]) => Object.hasOwn(source.fields, name));
        if (own.length > 0) await source.read(ids, Object.fromEntries(own));
      }
    },
    [Symbol.dispose]() {
      for (const source of sources) source[Symbol.dispose]();
    },
  };
}
