/** Validation as the released code has it, with dropout on (quirk Q12), and as it is here. */
import { deepStrictEqual, notDeepStrictEqual, ok } from "node:assert/strict";
import { openDevice } from "../../lib/gpu/device.ts";
import { State } from "../../lib/plan/state.ts";
import { Evaluator } from "../../lib/train/evaluate.ts";
import { openModel } from "../../lib/train/session.ts";
import toy from "./toy_experiment.ts";

Deno.test("with a dropout seed queries are encoded as in training: anew at each step, the same at the same step", async () => {
  const config = toy.configFrom({ drop: 0.5 });
  const { data, model, params } = await openModel(toy.functions, config, {
    cacheDir: "",
    progress() {},
    note() {},
  });
  using gpu = await openDevice();
  using state = new State(gpu, [{ params: [...params.values()], isTrained: false }]);
  using plain = new Evaluator(gpu, model.frame, state, data, { batchSize: 4 });
  using noisy = new Evaluator(gpu, model.frame, state, data, { batchSize: 4, dropoutSeed: 7 });
  const queries = async (evaluator: Evaluator, step: number) => {
    const { queries } = await evaluator.encode(data.dataset.splits.val, ["composed"], undefined, step);
    const stored = queries.get("composed");
    ok(stored);
    return stored.query.data;
  };
  deepStrictEqual(await queries(plain, 3), await queries(plain, 4));
  const third = await queries(noisy, 3);
  notDeepStrictEqual(third, await queries(plain, 3));
  notDeepStrictEqual(third, await queries(noisy, 4));
  deepStrictEqual(third, await queries(noisy, 3));
});
