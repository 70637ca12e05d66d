import { deepStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { DataError } from "../../lib/core/errors.ts";
import type { StoredTensor, WeightsFile } from "../../lib/io/weights_file.ts";
import { ClipText, RN50X4_TEXT } from "../../lib/models/clip_text.ts";
import { BLIP2_CONFIG, QFormer } from "../../lib/models/qformer.ts";
import { compareKeys, loadWeights } from "../../lib/models/weights.ts";
import { LayerNorm } from "../../lib/nn/layer_norm.ts";
import { Linear } from "../../lib/nn/linear.ts";
import { params } from "../../lib/nn/module.ts";

function fileOf(tensors: Record<string, StoredTensor>): WeightsFile {
  return {
    name: "x.pth",
    format: "PyTorch",
    metadata: {},
    tensors: new Map(Object.entries(tensors)),
    read: (key) => tensors[key],
  };
}

const model = () => ({ fc: new Linear(2, 1), norm: new LayerNorm(1) });
const half = (shape: number[], ...bits: number[]): StoredTensor => ({
  dtype: "F16",
  shape,
  data: new Uint16Array(bits),
});
const one = 0x3c00, two = 0x4000;
const fitting = {
  "fc.weight": half([1, 2], one, two),
  "fc.bias": half([1], two),
  "norm.weight": half([1], one),
  "norm.bias": half([1], two),
  temp: half([], one),
};

Deno.test("loadWeights() widens f16, gives all copies the same memory, and leaves other keys alone", async () => {
  const a = model(), b = model();
  const [report] = await loadWeights(fileOf(fitting), "a toy", a, b);
  deepStrictEqual([...report.used], ["fc.weight", "fc.bias", "norm.weight", "norm.bias"]);
  deepStrictEqual([...report.unused], ["temp"]);
  deepStrictEqual([...a.fc.weight.source.data], [1, 2]);
  params(a).forEach((param, i) => strictEqual(param.source.data, params(b)[i].source.data));
});

Deno.test("loadWeights() names the key, both shapes and the model, and changes nothing", async () => {
  const own = model();
  const attempt = (tensors: Record<string, StoredTensor>) => () => loadWeights(fileOf(tensors), "a toy", own);
  await rejects(attempt({ ...fitting, "norm.bias": half([3], one, one, one) }), {
    name: "DataError",
    message: 'x.pth: tensor "norm.bias" is [3], a toy has [1]',
    where: "x.pth: 3 keys fit a toy, 0 are missing, 1 misshaped",
  });
  const { "fc.bias": _, ...without } = fitting;
  await rejects(attempt(without), { message: 'x.pth: no tensor "fc.bias", a toy has it as [1]' });
  await rejects(
    attempt({ ...fitting, "norm.bias": { dtype: "I64", shape: [1], data: new BigInt64Array(1) } }),
    (error) => error instanceof DataError && /tensor "norm\.bias" is I64/.test(error.message),
  );
  deepStrictEqual([...own.fc.weight.source.data], [0, 0]);
});

/** The keys of the full-size models, compared with a file that has none; their zeros stay untouched. */
function shapesOf(module: object): Map<string, readonly number[]> {
  return new Map(compareKeys(new Map(), module).missing);
}

Deno.test("the full-size Q-Former has LAVIS's keys and shapes", () => {
  const shapes = shapesOf(new QFormer(BLIP2_CONFIG));
  deepStrictEqual(shapes.get("query_tokens"), [1, 32, 768]);
  const bert = "Qformer.bert.encoder.layer";
  deepStrictEqual(shapes.get(`${bert}.10.crossattention.self.key.weight`), [768, 1024]);
  deepStrictEqual(shapes.get(`${bert}.11.output_query.LayerNorm.bias`), [768]);
  strictEqual(shapes.has(`${bert}.11.crossattention.self.key.weight`), false);
  deepStrictEqual(shapes.get("Qformer.bert.embeddings.word_embeddings.weight"), [30523, 768]);
  strictEqual(shapes.size, 331);
});

Deno.test("the full-size CLIP text transformer has OpenAI's keys and shapes", () => {
  const shapes = shapesOf(new ClipText(RN50X4_TEXT));
  deepStrictEqual(shapes.get("token_embedding.weight"), [49408, 640]);
  deepStrictEqual(shapes.get("transformer.resblocks.11.attn.in_proj_weight"), [1920, 640]);
  strictEqual(shapes.size, 149);
  const elements = [...shapes.values()].reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
  strictEqual(elements, 91_163_521 - 1); // the count of the published model's text side; logit_scale is not used
});
