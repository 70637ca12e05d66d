import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { DataError } from "../../lib/core/errors.ts";
import { type Gpu, openDevice } from "../../lib/gpu/device.ts";
import { readSafetensors, writeSafetensors } from "../../lib/io/safetensors.ts";
import { State } from "../../lib/plan/state.ts";
import { type Param, param } from "../../lib/tensor/tensor.ts";
import { Checkpoints } from "../../lib/train/checkpoint.ts";

const floats = (...values: number[]) => new Float32Array(values);
const HASH = "a".repeat(64);

/** A state of two groups, one of them trained, filled so that every value tells its step. */
class Fixture implements Disposable {
  readonly trained: Param = param([2, 1], floats(0, 0));
  readonly frozen: Param = param([3], floats(7, 8, 9));
  readonly params = new Map([["visual.w", this.trained], ["textual.b", this.frozen]]);
  readonly state: State;
  readonly checkpoints: Checkpoints;
  constructor(gpu: Gpu, folder: string, hash = HASH) {
    this.state = new State(gpu, [{ params: [this.trained], isTrained: true }, {
      params: [this.frozen],
      isTrained: false,
    }]);
    this.checkpoints = new Checkpoints(folder, this.params, this.state, hash);
  }
  setTo(step: number): void {
    this.state.write(this.trained, "param", floats(step, -step));
    this.state.write(this.trained, "m", floats(10 * step, step / 3));
    this.state.write(this.trained, "v", floats(100 * step, step / 7));
    this.state.writeSteps(0, step);
  }
  async values(): Promise<number[]> {
    const buffers = ["param", "m", "v"] as const;
    const read = await Promise.all(buffers.map((buffer) => this.state.read([this.trained], buffer)));
    return [...read.flatMap(([data]) => [...data]), (await this.state.readSteps())[0]];
  }
  [Symbol.dispose](): void {
    this.state[Symbol.dispose]();
  }
}

const at = (
  step: number,
) => [step, -step, 10 * step, Math.fround(step / 3), 100 * step, Math.fround(step / 7), step];

Deno.test("Checkpoints saves weights and optimiser apart, under their keys, and loads every bit back", async () => {
  const folder = await Deno.makeTempDir();
  using gpu = await openDevice();
  using saved = new Fixture(gpu, folder), loaded = new Fixture(gpu, folder);
  strictEqual(await loaded.checkpoints.loadLast(), undefined);
  saved.setTo(5);
  await saved.checkpoints.saveLast({ step: 5, epoch: 2 });
  deepStrictEqual([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [
    "last.optimizer.safetensors",
    "last.safetensors",
  ]);
  const weights = await readSafetensors(`${folder}/last.safetensors`),
    optimizer = await readSafetensors(`${folder}/last.optimizer.safetensors`);
  deepStrictEqual([...weights.tensors.keys()].sort(), ["textual.b", "visual.w"]);
  deepStrictEqual([...optimizer.tensors.keys()].sort(), ["m.visual.w", "t.visual.w", "v.visual.w"]);
  deepStrictEqual([weights.metadata.step, weights.metadata.epoch, weights.metadata.configHash], [
    "5",
    "2",
    HASH,
  ]);
  deepStrictEqual(await loaded.checkpoints.loadLast(), { step: 5, epoch: 2 });
  deepStrictEqual(await loaded.values(), at(5));
  await Deno.remove(folder, { recursive: true });
});

Deno.test("Checkpoints keeps the best weights and why they are the best", async () => {
  const folder = await Deno.makeTempDir();
  using gpu = await openDevice();
  using fixture = new Fixture(gpu, folder);
  strictEqual(await fixture.checkpoints.bestScore(), undefined);
  fixture.setTo(3);
  const score = { step: 3, epoch: 1, metric: "R@10", value: 100 / 3 };
  await fixture.checkpoints.saveBest(score);
  deepStrictEqual(await fixture.checkpoints.bestScore(), score);
  fixture.setTo(4);
  deepStrictEqual(await fixture.checkpoints.loadWeights("best"), { step: 3, epoch: 1 });
  deepStrictEqual((await fixture.values()).slice(0, 2), [3, -3]);
  await rejects(fixture.checkpoints.loadWeights("last"), DataError);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("Checkpoints loads one whole step, wherever a crash cut a save in two", async () => {
  using gpu = await openDevice();
  const folder = await Deno.makeTempDir();
  /** The bytes of both files of a step. */
  const files: Record<number, [weights: Uint8Array, optimizer: Uint8Array]> = {};
  {
    using fixture = new Fixture(gpu, folder);
    for (const step of [4, 5]) {
      fixture.setTo(step);
      await fixture.checkpoints.saveLast({ step, epoch: 0 });
      files[step] = [
        await Deno.readFile(`${folder}/last.safetensors`),
        await Deno.readFile(`${folder}/last.optimizer.safetensors`),
      ];
    }
  }
  // What stands in the folder after each part of saving step 5 over step 4; in the last one the disk lost a rename.
  const moments: { last?: [number?, number?]; next?: [number?, number?]; step?: number }[] = [
    { last: [4, 4], next: [undefined, 5], step: 4 },
    { last: [4, 4], next: [5, 5], step: 4 },
    { last: [5, 4], next: [undefined, 5], step: 5 },
    { last: [5, 5], step: 5 },
    { last: [4, 5], next: [5, undefined], step: 5 },
    { next: [undefined, 5] },
    { next: [5, 5] },
    { last: [5, undefined], next: [undefined, 5], step: 5 },
  ];
  for (const { last = [], next = [], step } of moments) {
    const crashed = await Deno.makeTempDir();
    for (const [name, [weights, optimizer]] of [["last", last], ["next", next]] as const) {
      if (weights) await Deno.writeFile(`${crashed}/${name}.safetensors`, files[weights][0]);
      if (optimizer) {
        await Deno.writeFile(`${crashed}/${name}.optimizer.safetensors`, files[optimizer][1]);
      }
    }
    using fixture = new Fixture(gpu, crashed);
    strictEqual((await fixture.checkpoints.loadLast())?.step, step, JSON.stringify({ last, next }));
    if (step) deepStrictEqual(await fixture.values(), at(step));
    fixture.setTo(6); // and the next save is whole again
    await fixture.checkpoints.saveLast({ step: 6, epoch: 0 });
    fixture.setTo(0);
    strictEqual((await fixture.checkpoints.loadLast())?.step, 6);
    deepStrictEqual(await fixture.values(), at(6));
    await Deno.remove(crashed, { recursive: true });
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("Checkpoints refuses another configuration, another model, other counts; the state stays as it was", async () => {
  const folder = await Deno.makeTempDir();
  using gpu = await openDevice();
  using fixture = new Fixture(gpu, folder);
  fixture.setTo(5);
  await fixture.checkpoints.saveLast({ step: 5, epoch: 2 });
  fixture.setTo(1);
  const refuses = async (checkpoints: Checkpoints, message: RegExp) => {
    await rejects(
      checkpoints.loadLast(),
      (error: Error) => error instanceof DataError && message.test(error.message),
    );
    deepStrictEqual(await fixture.values(), at(1));
  };
  await refuses(
    new Checkpoints(folder, fixture.params, fixture.state, "b".repeat(64)),
    /of another configuration, aaaaaaaa/,
  );
  await refuses(
    new Checkpoints(folder, new Map([["visual.w", fixture.trained]]), fixture.state, HASH),
    /"textual.b" is not one of the model's/,
  );
  const more = new Map([...fixture.params, ["visual.x", fixture.frozen] as const]);
  await refuses(new Checkpoints(folder, more, fixture.state, HASH), /no tensor "visual.x"/);
  const file = await readSafetensors(`${folder}/last.safetensors`);
  await writeSafetensors(`${folder}/last.safetensors`, file.tensors, { ...file.metadata, step: "-1" });
  await refuses(fixture.checkpoints, /not that of a checkpoint/);
  ok(fixture.params.size === 2);
  await Deno.remove(folder, { recursive: true });
});
