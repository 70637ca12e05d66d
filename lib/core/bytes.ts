/** Bytes in memory. */

/**
 * Pieces as one.
 *
 * @example Usage
 * ```ts
 * if (joinBytes([new Uint8Array([1, 2]), new Uint8Array([3])]).join() !== "1,2,3") throw new Error("joinBytes");
 * ```
 */
export function joinBytes(pieces: Iterable<Uint8Array>): Uint8Array<ArrayBuffer> {
  const list = [...pieces];
  const bytes = new Uint8Array(list.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of list) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
