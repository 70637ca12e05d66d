import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { DataError, GpuError } from "../../lib/core/errors.ts";
import { Random } from "../../lib/core/random.ts";
import { readSafetensors } from "../../lib/io/safetensors.ts";
import { Progress } from "../../lib/train/progress.ts";
import { RunFolder } from "../../lib/train/run.ts";
import { trainRun } from "../../lib/train/train.ts";
import toy from "./toy_experiment.ts";
import { abortedAt, remains, train, uninterrupted, withFolder } from "./toy_run.ts";

/** Trains, and presses Ctrl-C when progress says `text`. */
async function interruptedAt(out: string, text: string): Promise<boolean> {
  const controller = new AbortController();
  const write = (line: string) => line.startsWith(text) && controller.abort(new DOMException("interrupted"));
  using run = await RunFolder.open({
    out,
    experiment: toy.name,
    config: toy.configFrom(),
    name: "run",
    isFresh: false,
  });
  using progress = new Progress({ isTerminal: false, write, maxSilenceMs: 0 });
  const options = { run, config: toy.configFrom(), logEvery: 4, signal: controller.signal, progress };
  return await trainRun(toy, options).catch((error) => {
    if (error !== controller.signal.reason) throw error;
    return false;
  });
}

for (const interrupts of [[0], [4], [5], [11], [3, 1, 3]]) {
  Deno.test(`a run interrupted after ${interrupts.join(", ")} steps and resumed leaves the same bits`, async () => {
    await withFolder(async (out) => {
      for (const steps of interrupts) strictEqual(await train(out, abortedAt(steps)), false);
      ok(await train(out));
      deepStrictEqual(await remains(out), await uninterrupted());
    });
  });
}

Deno.test("a run interrupted while it compiles or measures resumes to the same bits", async () => {
  await withFolder(async (out) => {
    for (const text of ["measuring the initial", "compiling", "validating", "measuring the trained"]) {
      strictEqual(await interruptedAt(out, text), false, text);
    }
    ok(await train(out));
    deepStrictEqual(await remains(out), await uninterrupted());
  });
});

Deno.test("a run killed at any of 20 random moments resumes to the same bits", async () => {
  // The test double of a kill: the folder as it stood at some moment, copied and gone on with.
  await withFolder(async (out) => {
    const source = `${out}/live/${toy.name}/run`;
    let copies = 0, isDone = false;
    const training = train(`${out}/live`).then(() => isDone = true);
    while (!isDone) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (copyFolder(source, `${out}/${copies}/${toy.name}/run`)) copies++;
    }
    await training;
    ok(copies >= 20, `${copies} copies`);
    const random = new Random(1, "moments"), all = Array.from({ length: copies }, (_, n) => n);
    const chosen = Array.from({ length: 20 }, () => all.splice(random.nextInt(all.length), 1)[0]);
    const goOn = async (n: number) => {
      ok(await train(`${out}/${n}`), `copy ${n}`);
      deepStrictEqual(await remains(`${out}/${n}`), await uninterrupted(), `copy ${n} of ${copies}`);
    };
    // Five at a time: a run this small waits most of its time.
    while (chosen.length > 0) await Promise.all(chosen.splice(0, 5).map(goOn));
  });
});

/** Copies file by file, in one turn: what a crash would leave. False where there is nothing yet. */
function copyFolder(from: string, to: string): boolean {
  try {
    Deno.statSync(`${from}/run.json`);
  } catch {
    return false;
  }
  const walk = (below: string) => {
    Deno.mkdirSync(`${to}${below}`, { recursive: true });
    for (const { name, isDirectory } of Deno.readDirSync(`${from}${below}`)) {
      if (isDirectory) walk(`${below}/${name}`);
      else if (!name.startsWith("lock")) {
        Deno.copyFileSync(`${from}${below}/${name}`, `${to}${below}/${name}`);
      }
    }
  };
  walk("");
  return true;
}

Deno.test("a lost device ends the run with a message; it resumes from the last boundary to the same bits", async () => {
  await withFolder(async (out) => {
    const devices: GPUDevice[] = [], request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...args) {
      const device = await request.apply(this, args);
      devices.push(device);
      return device;
    };
    try {
      let asked = 0;
      const losing = {
        get aborted() {
          if (asked++ === 7) devices.forEach((device) => device.destroy());
          return false;
        },
        throwIfAborted() {},
      } as unknown as AbortSignal;
      await rejects(
        train(out, losing),
        (error: Error) => error instanceof GpuError && /device was lost/.test(error.message),
      );
    } finally {
      GPUAdapter.prototype.requestDevice = request;
    }
    const { metadata } = await readSafetensors(`${out}/${toy.name}/run/checkpoints/last.safetensors`);
    strictEqual(metadata.step, "5");
    ok(await train(out));
    deepStrictEqual(await remains(out), await uninterrupted());
  });
});

Deno.test("a checkpoint that was cut short or changed is reported and not used", async () => {
  await withFolder(async (out) => {
    strictEqual(await train(out, abortedAt(7)), false);
    const folder = `${out}/${toy.name}/run/checkpoints`;
    for (const name of ["last.safetensors", "last.optimizer.safetensors"]) {
      const path = `${folder}/${name}`, whole = await Deno.readFile(path);
      const changed = whole.slice();
      changed[whole.length - 1] ^= 1;
      for (
        const [bytes, message] of [[whole.subarray(0, whole.length - 4), /ends at byte|cut short/], [
          changed,
          /have changed/,
        ]] as const
      ) {
        await Deno.writeFile(path, bytes);
        await rejects(
          train(out),
          (error: Error) =>
            error instanceof DataError && message.test(error.message) && error.message.includes(name),
        );
      }
      await Deno.writeFile(path, whole);
    }
    await Deno.remove(`${folder}/last.optimizer.safetensors`);
    await rejects(train(out), /last.safetensors is of step 7, last.optimizer.safetensors of step none/);
  });
});
