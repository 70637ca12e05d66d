/** Linear layers: the product with its bias and activation, and the gradients of weight and bias in one. */
import { ShapeError } from "../core/errors.ts";
import { rowsCols, sameShape, type Shape, showShape } from "../core/shape.ts";
import { apply, applyNode, defineOp, type LastStep } from "../tensor/op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { gelu, quickGelu, reluGradOp } from "./elementwise.ts";
import { checkDType } from "./expression.ts";
import { matmul } from "./matmul.ts";
import { costOfProduct, launchProduct } from "./matmul_launch.ts";
import type { Product } from "./matmul_variants.ts";
import { reshape } from "./movement.ts";
import { sum, sumTo } from "./reduce.ts";

/**
 * A product of fewer tiles than this, with many terms, is cut along K. 2: on two cores the second launch costs more than
 * it gains from two tiles on (2176 terms of 64 x 64: 0.57 ms whole, 0.71 ms cut; 4096 of 32 x 32: 0.38 and 0.36 ms).
 */
const MIN_TILES = 2, TILE = 32, MIN_TERMS = 256;

/**
 * `scale * sum_r a[r]ᵀ b[r]` over all rows: `[..., M]` and `[..., N]` to `[M, N]`. The gradient of a weight: thousands of
 * terms and few elements, so the rows are cut into equal slices whose products are summed, in order.
 */
export function productOverRows(a: Tensor, b: Tensor, scale = 1): Tensor {
  const [R, M] = rowsCols(a.shape), [, N] = rowsCols(b.shape), slices = slicesOf([R, M, N]);
  const options = { transposeA: true, scale };
  if (slices === 1) return matmul(reshape(a, [R, M]), reshape(b, [R, N]), options);
  return sum(matmul(reshape(a, [slices, R / slices, M]), reshape(b, [slices, R / slices, N]), options), {
    axis: 0,
  });
}

/** Into how many slices `R` rows are cut for a gradient `[M, N]`. */
function slicesOf([R, M, N]: readonly [number, number, number]): number {
  const most = Math.min(
    Math.ceil(MIN_TILES / (Math.ceil(M / TILE) * Math.ceil(N / TILE))),
    Math.floor(R / MIN_TERMS),
  );
  let slices = Math.max(1, most);
  while (R % slices !== 0) slices--;
  return slices;
}

/** The gradients of a weight `[N, K]` and a bias `[N]`, for rows of gradients `dy [R, N]` and of inputs `x [R, K]`. */
function weightGrad(dy: Tensor, x: Tensor): Tensor[] {
  const [R, N] = rowsCols(dy.shape), [, K] = rowsCols(x.shape);
  return slicesOf([R, N, K]) === 1
    ? [...applyNode(weightGradOp, [dy, x], {}).outputs]
    : [productOverRows(dy, x), sumTo(dy, [N])];
}

interface WeightGradAttrs {
  /** Taken with the last input and the gradient of the weight. */
  readonly last?: LastStep;
}

const weightProduct = (dy: Shape, x: Shape): Product => {
  const [R, M] = rowsCols(dy), [, N] = rowsCols(x);
  return {
    ...{ M, N, K: R, outer: 1, inner: 1 },
    a: { outer: 0, inner: 0, m: 1, k: M },
    b: { outer: 0, inner: 0, n: 1, k: N },
    y: { outer: 0, inner: 0, m: N },
  };
};

/** Outputs: dWeight `= sum_r dy[r]ᵀ x[r]`, and dBias `= sum_r dy[r]`, which the product sums by the way. */
export const weightGradOp = defineOp<WeightGradAttrs>({
  name: "weightGrad",
  outputs: ([dy, x]) => {
    const N = rowsCols(dy.shape)[1], K = rowsCols(x.shape)[1];
    return [{ shape: [N, K], dtype: "f32" }, { shape: [N], dtype: "f32" }];
  },
  withLast: (_, last) => ({ last }),
  dispatch: ([dy, x, other], [y, sums], { last }, target) =>
    launchProduct(weightProduct(dy.shape, x.shape), { a: dy, b: x, y, sums }, { last, other }, target),
  cost: (inputs, outputs) =>
    costOfProduct(weightProduct(inputs[0].shape, inputs[1].shape), [...inputs, ...outputs]),
});

export interface LinearAttrs {
  readonly isRelu: boolean;
  readonly hasBias: boolean;
  /** Taken with the last input and what the activation gives. */
  readonly last?: LastStep;
}

const linearProduct = (x: Shape, weight: Shape): Product => {
  const [M, K] = rowsCols(x), N = weight[0];
  return {
    ...{ M, N, K, outer: 1, inner: 1 },
    a: { outer: 0, inner: 0, m: K, k: 1 },
    b: { outer: 0, inner: 0, n: K, k: 1 },
    y: { outer: 0, inner: 0, m: N },
  };
};

export const linearOp = defineOp<LinearAttrs>({
  name: "linear",
  outputs: (inputs, { hasBias }) => {
    const [x, weight] = inputs, bias = hasBias ? inputs[2] : undefined;
    checkDType(inputs, "f32");
    if (weight.shape.length !== 2 || x.shape.length === 0 || x.shape.at(-1) !== weight.shape[1]) {
      throw new ShapeError(
        `inner sizes differ: x is ${showShape(x.shape)}, weight is ${showShape(weight.shape)}`,
      );
    }
    if (bias && !sameShape(bias.shape, [weight.shape[0]])) {
      throw new ShapeError(`bias is ${showShape(bias.shape)}, weight is ${showShape(weight.shape)}`);
    }
    return [{ shape: [...x.shape.slice(0, -1), weight.shape[0]], dtype: "f32" }];
  },
  withLast: (attrs, last) => ({ ...attrs, last }),
  dispatch: ([x, weight, ...rest], [y], { isRelu, hasBias, last }, target) => {
    const bias = hasBias ? rest[0] : undefined, other = last && rest.at(-1);
    const epilogue = { bias, isRelu, last, other };
    return launchProduct(linearProduct(x.shape, weight.shape), { a: x, b: weight, y }, epilogue, target);
  },
  backward: ({ inputs: [x, weight, bias], outputs: [y], dy, attrs: { isRelu } }) => {
    const dz = isRelu ? apply(reluGradOp, [y, dy]) : dy; // y > 0 where its argument is
    const dx = reshape(matmul(reshape(dz, rowsCols(dz.shape)), weight), x.shape);
    return [dx, ...bias ? weightGrad(dz, x) : [productOverRows(dz, x)]];
  },
  cost: (inputs, outputs) =>
    costOfProduct(linearProduct(inputs[0].shape, inputs[1].shape), [...inputs, ...outputs]),
});

/** A linear layer without activation and its gelu, which the plan puts in their place. Outputs: both. */
export const linearAndGeluOp = defineOp<Pick<LinearAttrs, "hasBias">>({
  name: "linearAndGelu",
  outputs: (inputs, { hasBias }) => {
    const [y] = linearOp.outputs(inputs, { hasBias, isRelu: false });
    return [y, y];
  },
  dispatch: ([x, weight, ...rest], [y, activated], { hasBias }, target) => {
    const epilogue = { bias: hasBias ? rest[0] : undefined };
    const operands = { a: x, b: weight, y, activated };
    return launchProduct(linearProduct(x.shape, weight.shape), operands, epilogue, target);
  },
  cost: (inputs, outputs) =>
    costOfProduct(linearProduct(inputs[0].shape, inputs[1].shape), [...inputs, ...outputs]),
});

/** What `linear` applies to its sums; relu costs nothing, the others are ops of their own. */
export type Activation = "none" | "relu" | "gelu" | "quickGelu";

/**
 * `y = activation(x weightᵀ + bias)`, as `torch.nn.functional.linear`: x `[..., in]`, weight `[out, in]`, bias `[out]`
 * to `[..., out]`.
 *
 * @throws {ShapeError} If inner sizes differ, or the bias has another length.
 */
export function linear(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  { activation = "none" }: { readonly activation?: Activation } = {},
): Tensor {
  const attrs = { isRelu: activation === "relu", hasBias: bias !== undefined };
  const y = apply(linearOp, bias ? [x, weight, bias] : [x, weight], attrs);
  return activation === "gelu" ? gelu(y) : activation === "quickGelu" ? quickGelu(y) : y;
}
