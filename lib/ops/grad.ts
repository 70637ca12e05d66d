/** The reverse pass with the ops that it needs. */
import { backward, backwardFrom } from "../tensor/grad.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { ones } from "./elementwise.ts";
import { sumOfParts } from "./movement.ts";

/**
 * Gradients of a loss of one element. A tensor that the loss does not depend on is absent from the map:
 * PyTorch's `None`, which is not a gradient of zeros.
 *
 * @throws {ShapeError} If `loss` has more than one element.
 * @throws {Error} If the path passes an op without a gradient (named in the message).
 */
export const grad = (loss: Tensor, wrt: Iterable<Tensor>): Map<Tensor, Tensor> =>
  backward(loss, wrt, { sum: sumOfParts, ones: (like) => ones(like.shape) });

/**
 * Gradients from the middle of a graph: `seeds` gives the gradients of its keys, each of its key's shape.
 *
 * @param onGradient Called with each gradient as soon as it is whole.
 */
export const gradFrom = <T extends Tensor>(
  seeds: ReadonlyMap<Tensor, Tensor>,
  wrt: Iterable<T>,
  onGradient?: (x: T, dx: Tensor) => void,
): Map<T, Tensor> => backwardFrom(seeds, wrt, { sum: sumOfParts, onGradient });
