import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { readCsv } from "../../lib/io/csv.ts";
import { readJsonl } from "../../lib/io/jsonl.ts";
import { RunLog, type StepRecord } from "../../lib/train/log.ts";

const record = (step: number, isSkipped = false): StepRecord => ({
  step,
  epoch: Math.floor((step - 1) / 3),
  terms: { loss: isSkipped ? NaN : step, contrastive: Math.fround(step / 3) },
  lr: 0.5,
  isSkipped,
});

async function files(folder: string) {
  const names = ["train_metrics.csv", "validation_metrics.csv"];
  return [
    (await readJsonl(`${folder}/log.jsonl`)).records,
    ...await Promise.all(names.map((name) => readCsv(`${folder}/${name}`))),
  ];
}

/** Steps 1 to 7 of epochs of 3 steps, the third skipped, a validation after step 4. */
async function write(folder: string, from = 0, to = 7): Promise<void> {
  const log = new RunLog(folder, { stepsPerEpoch: 3 });
  await log.resume(from);
  for (let step = from + 1; step <= to; step++) {
    await log.steps([record(step, step === 3)]);
    if (step === 4) await log.validation({ step, epoch: 1 }, { "R@1": 12.5 });
  }
  if (to === 7) await log.finishEpoch();
}

Deno.test("RunLog writes a line a step, a row an epoch, and leaves skipped steps out of the mean", async () => {
  const folder = await Deno.makeTempDir();
  await write(folder);
  const [lines, train, validation] = await files(folder);
  strictEqual(lines.length, 8);
  deepStrictEqual(lines[2], { step: 3, epoch: 0, lr: 0.5, loss: null, contrastive: 1, skipped: true });
  deepStrictEqual(lines[4], { step: 4, epoch: 1, split: "val", "R@1": 12.5 });
  deepStrictEqual(Object.keys(train[0]).slice(0, 2), ["epoch", "train_epoch_loss"]); // the released columns
  deepStrictEqual(train.map((row) => [row.epoch, row.step, row.train_epoch_loss]), [["0", "3", "1.5"], [
    "1",
    "6",
    "5",
  ], ["2", "7", "7"]]);
  deepStrictEqual(validation, [{ epoch: "1", step: "4", "R@1": "12.5" }]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("RunLog cut back to any step and written on is the same files", async () => {
  const whole = await Deno.makeTempDir();
  await write(whole);
  for (let step = 0; step <= 6; step++) {
    const folder = await Deno.makeTempDir();
    await write(folder, 0, 5);
    await write(folder, Math.min(step, 5));
    deepStrictEqual(await files(folder), await files(whole), `from step ${step}`);
    await Deno.remove(folder, { recursive: true });
  }
  await Deno.remove(whole, { recursive: true });
});
