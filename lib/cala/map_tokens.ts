/** How CaLa reads CLIP's feature maps as token sequences. */
import { permute, reshape, slice } from "../ops/movement.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Options of `mapTokens`. */
export interface MapTokensOptions {
  /** How many tokens from the front; as default all of them. */
  readonly rows?: number;
  /** A token is a place in the image, with its `C` channels. */
  readonly isSpatial?: boolean;
}

/**
 * `[B, C, H, W]` to `[B, H*W, C]`, or to its first rows.
 *
 * Q21: the released code reinterprets the memory, it does not transpose. A "token" is `C` consecutive numbers of the map,
 * not a place in the image. Kept unless `isSpatial`: trained weights depend on it.
 */
export function mapTokens(map: Tensor, { rows, isSpatial = false }: MapTokensOptions = {}): Tensor {
  const [B, C, H, W] = map.shape;
  const tokens = isSpatial ? permute(reshape(map, [B, C, H * W]), [0, 2, 1]) : reshape(map, [B, H * W, C]);
  return rows === undefined ? tokens : slice(tokens, 1, 0, rows);
}
