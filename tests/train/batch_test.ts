import { deepStrictEqual, throws } from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { BatchReader } from "../../lib/train/batch.ts";

const read: string[][] = [];
const images = {
  fields: {
    map: { shape: [3, 2, 2], dtype: "f32" },
    pooled: { shape: [5], dtype: "f32" },
  },
  count: 4,
  read(_: ArrayLike<number>, into: Record<string, unknown>) {
    read.push(Object.keys(into));
  },
} as const;

Deno.test("BatchReader reads the fields that a use needs, and no other", async () => {
  const data = { images, fields: { evaluation: ["pooled"] } };
  const names = async (use: "train" | "evaluation") =>
    Object.keys((await new BatchReader(data, use).gallery([0, 1])).specs);
  deepStrictEqual(await names("train"), ["gallery.map", "gallery.pooled"]);
  deepStrictEqual(await names("evaluation"), ["gallery.pooled"]);
  deepStrictEqual(read, [["map", "pooled"], ["pooled"]]);
  deepStrictEqual(new BatchReader(data, "evaluation").tripletSpecs(2, 7), {
    "reference.pooled": { shape: [2, 5] },
    "target.pooled": { shape: [2, 5] },
    inputIds: { shape: [2, 7], dtype: "u32" },
    attentionMask: { shape: [2, 7] },
    longest: { shape: [1], dtype: "u32" },
  });
});

Deno.test("BatchReader refuses bytes that are no pixels", () => {
  const bytes = { ...images, fields: { code: { shape: [1], dtype: "u8" } } } as const;
  throws(() => new BatchReader({ images: bytes }, "train"), ConfigError);
});
