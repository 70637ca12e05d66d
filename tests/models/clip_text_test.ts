/** CLIP's text encoder beyond its oracle cases. */
import assert from "node:assert/strict";
import { Random } from "../../lib/core/random.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { ClipText } from "../../lib/models/clip_text.ts";
import { evaluate } from "../../lib/plan/compile.ts";

const config = { width: 12, numHeads: 3, numLayers: 2, vocabSize: 20, embedDim: 7 };

Deno.test("ClipText reads the row of the end token, wherever it stands", async () => {
  using gpu = await openDevice();
  for (const L of [1, 2, 5]) {
    const model = new ClipText({ ...config, contextLength: L }, { random: new Random(1, `clip ${L}`) });
    for (let end = 0; end < L; end++) {
      const ids = Uint32Array.from({ length: L }, (_, i) => i < end ? 3 + i : i === end ? 19 : 0);
      const mask = Float32Array.from({ length: L }, (_, i) => i <= end ? 1 : 0);
      const { features, sequence } = await evaluate(
        gpu,
        ({ ids, mask }) => ({ ...model.forward(ids, mask) }),
        { ids: { shape: [1, L], data: ids }, mask: { shape: [1, L], data: mask } },
      );
      const row = Array.from(sequence.data).slice(end * 12, (end + 1) * 12);
      const projection = model.text_projection.source.data; // [12, 7]
      const expected = Array.from(
        { length: 7 },
        (_, d) => row.reduce((s, x, i) => s + x * projection[i * 7 + d], 0),
      );
      assert.ok(expected.some((x) => Math.abs(x) > 1e-3), "a text says something");
      features.data.forEach((x, d) => assert.ok(Math.abs(x - expected[d]) < 1e-5, `L ${L}, end ${end}`));
    }
  }
});
