/** A backbone that anybody can check: mean colours. */
import type { FrozenBackbone } from "../../lib/data/extract.ts";

const SIZE = 8;

/** `means [2, 3]` of the upper and lower half, `pooled [3]` of the whole; `calls` holds the batch size of each call. */
export function meanBackbone(
  { hash = "a".repeat(64), scale = 1 } = {},
): FrozenBackbone & { calls: number[] } {
  const calls: number[] = [];
  return {
    calls,
    fields: { means: { shape: [2, 3], dtype: "f32" }, pooled: { shape: [3], dtype: "f32" } },
    imageSize: SIZE,
    hash,
    run(pixels) {
      const B = pixels.length / (3 * SIZE * SIZE), half = SIZE * SIZE / 2;
      calls.push(B);
      const means = new Float32Array(B * 6), pooled = new Float32Array(B * 3);
      for (let b = 0; b < B; b++) {
        for (let c = 0; c < 3; c++) {
          const channel = pixels.subarray((b * 3 + c) * SIZE * SIZE, (b * 3 + c + 1) * SIZE * SIZE);
          for (const part of [0, 1]) {
            const sum = channel.subarray(part * half, (part + 1) * half).reduce((a, v) => a + v, 0);
            means[b * 6 + part * 3 + c] = scale * sum / half;
          }
          pooled[b * 3 + c] = (means[b * 6 + c] + means[b * 6 + 3 + c]) / 2;
        }
      }
      return Promise.resolve({ means, pooled });
    },
  };
}
