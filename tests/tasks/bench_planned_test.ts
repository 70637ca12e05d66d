/** The full sizes, planned without a device: parameters as counted by hand, memory within what a card has. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { fullConfigs, planFull, plannedTable } from "../../tasks/bench/planned.ts";

/** Numbers with a gradient, counted from the shapes of the published checkpoints. */
const TEXTUAL = 108_890_880, MULTIMODAL = 182_145_792, VISUAL = 101_623_296, TAC = 4_724_736, HCA = 2_362_368;
const CLIP = 91_163_520 + 4_920_960 + 3_280_000;
const ARTEMIS = { 768: 2_952_960, 640: 2_051_200 };

Deno.test("BLIP-2 both, batch 64, 32 tokens: 20 GB plain, 12 GB recomputed, 10 GB in micro-batches of 8 at most", async () => {
  const plan = await planFull({ encoder: "BLIP-2 both", frame: "sum" });
  strictEqual(plan.trained, TEXTUAL + MULTIMODAL + VISUAL + TAC + HCA);
  const { plain, recompute, gradcache } = plan.bytes;
  ok(plain <= 20e9, `plain: ${plain} bytes`);
  ok(recompute <= 12e9, `recompute: ${recompute} bytes`);
  ok(gradcache <= 10e9, `gradcache: ${gradcache} bytes`);
  // Matrix products alone, counted by hand: 7.48 TFLOP of the Q-Formers and about 0.25 of the heads.
  ok(7.6e12 < plan.flops && plan.flops < 8e12, `${plan.flops} operations`);
});

Deno.test("every configuration trains what the released one trains", async () => {
  const trained: Record<string, number> = {};
  for (const config of fullConfigs) {
    trained[`${config.encoder} ${config.frame}`] = (await planFull(config)).trained;
  }
  const multi = TEXTUAL + MULTIMODAL + TAC + HCA;
  deepStrictEqual(trained, {
    "BLIP-2 both sum": multi + VISUAL,
    "BLIP-2 both artemis": multi + VISUAL + ARTEMIS[768],
    "BLIP-2 multi sum": multi,
    "BLIP-2 multi artemis": multi + ARTEMIS[768],
    "CLIP sum": CLIP,
    "CLIP artemis": CLIP + ARTEMIS[640],
  });
});

Deno.test("plannedTable() has a row for each configuration", () => {
  const bytes = { plain: 17.24e9, recompute: 8.34e9, gradcache: 8.72e9 };
  const table = plannedTable([{
    encoder: "CLIP",
    frame: "sum",
    trained: 99_364_480,
    flops: 2.254e12,
    bytes,
  }]);
  ok(table.endsWith("| CLIP | sum | 99,364,480 | 2.25 | 17.2 | 8.3 | 8.7 |\n"), table);
});
