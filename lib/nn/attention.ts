import type { Random } from "../core/random.ts";
import { attention } from "../ops/attention.ts";
import { linear } from "../ops/linear.ts";
import { slice } from "../ops/movement.ts";
import { type Param, param, type Tensor } from "../tensor/tensor.ts";
import { xavierUniform } from "./init.ts";
import { Linear } from "./linear.ts";

/** The input projections of one attention: each `[B, L, D]` to `[B, L, D]`. Keys and values come from one product. */
export interface Projections {
  query(x: Tensor): Tensor;
  keyValue(x: Tensor): { readonly key: Tensor; readonly value: Tensor };
}

/**
 * `torch.nn.MultiheadAttention`, batch first, with biases and without dropout. The three projections are packed in
 * `in_proj_weight`, rows in the order query, key, value.
 */
export class MultiheadAttention {
  readonly in_proj_weight: Param; // [3D, D]
  readonly in_proj_bias: Param; // [3D]
  readonly out_proj: Linear;
  readonly numHeads: number;
  readonly embedDim: number;

  constructor(embedDim: number, numHeads: number, { random }: { random?: Random } = {}) {
    const size = 3 * embedDim * embedDim;
    this.in_proj_weight = param(
      [3 * embedDim, embedDim],
      random ? xavierUniform(random, 3 * embedDim, embedDim) : new Float32Array(size),
    );
    this.in_proj_bias = param([3 * embedDim], new Float32Array(3 * embedDim));
    this.out_proj = new Linear(embedDim, embedDim, { random });
    this.out_proj.bias.source.data.fill(0); // PyTorch: this bias starts at zero
    this.numHeads = numHeads;
    this.embedDim = embedDim;
  }

  /** The parts of the packed projection; cut once, however often they are applied. */
  projections(): Projections {
    const D = this.embedDim;
    const part = (start: number, end: number) => {
      const weight = slice(this.in_proj_weight, 0, start, end),
        bias = slice(this.in_proj_bias, 0, start, end);
      return (x: Tensor) => linear(x, weight, bias);
    };
    const keyValue = part(D, 3 * D);
    return {
      query: part(0, D),
      keyValue: (x) => {
        const packed = keyValue(x);
        return { key: slice(packed, -1, 0, D), value: slice(packed, -1, D, 2 * D) };
      },
    };
  }

  /** Attention of projected sequences, and the output projection: `[B, Lq, D]`, `[B, Lk, D]` twice, to `[B, Lq, D]`. */
  attend(query: Tensor, key: Tensor, value: Tensor): Tensor {
    return this.out_proj.forward(attention(query, key, value, { heads: this.numHeads }));
  }

  /** `query [B, Lq, D]` asks, `states [B, Lk, D]` are keys and values: `[B, Lq, D]`. */
  forward(query: Tensor, states: Tensor): Tensor {
    const project = this.projections(), { key, value } = project.keyValue(states);
    return this.attend(project.query(query), key, value);
  }

  /** A sequence with itself, in one packed projection. `causal`: a position sees itself and what stands before it. */
  selfAttention(x: Tensor, { causal = false }: { causal?: boolean } = {}): Tensor {
    const packed = linear(x, this.in_proj_weight, this.in_proj_bias); // [B, L, 3D]
    const [q, k, v] = [0, 1, 2].map((i) => slice(packed, -1, i * this.embedDim, (i + 1) * this.embedDim));
    return this.out_proj.forward(attention(q, k, v, { heads: this.numHeads, causal }));
  }
}
