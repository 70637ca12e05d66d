/** How CaLa reads CLIP's feature maps as token sequences. */
import { reshape, slice } from "../ops/movement.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * `[B, C, H, W]` to `[B, H*W, C]`, or to its first rows.
 *
 * Q21: the released code reinterprets the memory, it does not transpose. A "token" is `C` consecutive numbers of the map,
 * not a place in the image. Kept: trained weights depend on it.
 */
export function mapTokens(map: Tensor, rows?: number): Tensor {
  const [B, C, H, W] = map.shape;
  const tokens = reshape(map, [B, H * W, C]);
  return rows === undefined ? tokens : slice(tokens, 1, 0, rows);
}
