/** Rows of `lib/ops/gather.ts`. */
import { embedding, embeddingGradOp, takeRow, takeRowGradOp } from "../../lib/ops/gather.ts";
import { apply } from "../../lib/tensor/op.ts";
import { absolute, type Input, row, type Values } from "../ops_harness.ts";

/** A copy is exact; the gradient sums the positions of an id one after the other. */
const EXACT = 0, SUMMED = 8;

interface EmbeddingOptions {
  readonly ids: readonly number[];
  readonly V: number;
  readonly D: number;
}
const tables: EmbeddingOptions[] = [
  { ids: [1], V: 1, D: 1 },
  { ids: [3, 7], V: 5, D: 3 }, // ids repeat
  { ids: [2, 67], V: 3, D: 129 }, // long chains
  { ids: [5], V: 101, D: 4 }, // most rows without an id
  { ids: [70_001], V: 97, D: 4 },
];
const weightOf = ({ V, D }: EmbeddingOptions): Input => [V, D];
const dyOf = ({ ids, D }: EmbeddingOptions): Input => [...ids, D];

function embeddingGrad([ids, dy]: readonly Values[], { V, D }: EmbeddingOptions): Float64Array {
  const dw = new Float64Array(V * D);
  ids.data.forEach((id, n) => {
    for (let d = 0; d < D; d++) dw[id * D + d] += dy.data[n * D + d];
  });
  return dw;
}

const sequences = [[1, 1, 1], [3, 7, 5], [2, 65, 67], [70_001, 2, 2]].map(([B, L, D]) => ({ B, L, D }));

export const gatherRows = {
  embedding: row<EmbeddingOptions>({
    op: ([ids, weight]) => embedding(ids, weight),
    reference: ([ids, weight], { D }) =>
      Float64Array.from(
        { length: ids.data.length * D },
        (_, i) => weight.data[ids.data[Math.floor(i / D)] * D + i % D],
      ),
    forward: EXACT,
    gradient: SUMMED,
    cases: tables.map((options) => ({
      inputs: [{ shape: options.ids, below: options.V }, weightOf(options)],
      options,
    })),
  }),
  embeddingGrad: row<EmbeddingOptions>({
    op: ([ids, dy], { V, D }) => apply(embeddingGradOp, [ids, dy], { shape: [V, D] }),
    reference: embeddingGrad,
    magnitude: ([ids, dy], options) => embeddingGrad([ids, ...absolute([dy])], options),
    forward: SUMMED,
    cases: tables.map((options) => ({
      inputs: [{ shape: options.ids, below: options.V }, dyOf(options)],
      options,
    })),
  }),
  takeRow: row<{ B: number; L: number; D: number }>({
    op: ([x, index]) => takeRow(x, index),
    reference: ([x, index], { B, L, D }) =>
      Float64Array.from({ length: B * D }, (_, i) => {
        const b = Math.floor(i / D);
        return x.data[(b * L + index.data[b]) * D + i % D];
      }),
    forward: EXACT,
    gradient: 1, // the loss's one product
    cases: sequences.map(({ B, L, D }) => ({
      inputs: [[B, L, D], { shape: [B], below: L }],
      options: { B, L, D },
    })),
  }),
  takeRowGrad: row<{ B: number; L: number; D: number }>({
    op: ([index, dy], { L }) => apply(takeRowGradOp, [index, dy], { L }),
    reference: ([index, dy], { B, L, D }) =>
      Float64Array.from({ length: B * L * D }, (_, i) => {
        const b = Math.floor(i / (L * D));
        return Math.floor(i / D) % L === index.data[b] ? dy.data[b * D + i % D] : 0;
      }),
    forward: EXACT,
    cases: sequences.map(({ B, L, D }) => ({
      inputs: [{ shape: [B], below: L }, [B, D]],
      options: { B, L, D },
    })),
  }),
};
