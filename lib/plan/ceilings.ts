/** The device's measured ceilings: what every other time is compared with. */
import wgsl from "../../kernels/ceilings.wgsl" with { type: "text" };
import type { Gpu } from "../gpu/device.ts";
import { apply, defineOp, foldGrid, type Kernel } from "../tensor/op.ts";
import { param, type Tensor } from "../tensor/tensor.ts";
import { compile } from "./compile.ts";

/** Rates that this device reaches in a plain copy and in register-only multiply-adds. */
export interface Ceilings {
  /** f32 multiply-adds, two flops each: GFLOP/s. */
  readonly gflops: number;
  /** Bytes read plus bytes written: GB/s. */
  readonly gbps: number;
  /** One empty launch within a submit of many: microseconds. */
  readonly launchUs: number;
  /** What the rates were measured with, in milliseconds: a copy of `COPY_SIZE` floats, `maddFlops` flops. */
  readonly copyMs: number;
  readonly maddMs: number;
  readonly maddFlops: number;
}

const kernel: Kernel = { file: "kernels/ceilings.wgsl", wgsl };

const ceilingOp = defineOp<{ entry: "copy" | "madd"; rounds: number }>({
  name: "ceiling",
  outputs: ([x]) => [x],
  dispatch: ([x], [y], { entry, rounds }) => {
    const N = x.shape[0] / 4;
    return [{ kernel, entry, sizes: { N, rounds }, grid: foldGrid(Math.ceil(N / 64)), bind: { x, y } }];
  },
  cost: ([x]) => ({ flops: 0, bytes: 8 * x.shape[0] }),
});

/**
 * Milliseconds of a launch, the least of `repeats` submits of `launches` each: a ceiling has no neighbours.
 * Single launches are timed by timestamps where there are any, else all together by the clock.
 */
async function timeLaunches(
  gpu: Gpu,
  entry: "copy" | "madd",
  size: number,
  { rounds = 0, launches, repeats, profile }: {
    readonly rounds?: number;
    readonly launches: number;
    readonly repeats: number;
    readonly profile: boolean;
  },
): Promise<number> {
  // A parameter and not an input: an input is uploaded at each run.
  const x = param([size], new Float32Array(size).fill(0.5));
  using plan = await compile(
    gpu,
    () => {
      let y: Tensor = x;
      for (let i = 0; i < launches; i++) y = apply(ceilingOp, [y], { entry, rounds });
      return { outputs: { y } };
    },
    {},
    { label: `ceiling ${entry}`, profile, keepValues: false },
  );
  plan.run({});
  await gpu.queue.onSubmittedWorkDone(); // sync: a measurement
  let best = Infinity;
  for (let repeat = 0; repeat < repeats; repeat++) {
    const start = performance.now();
    plan.run({});
    await gpu.queue.onSubmittedWorkDone(); // sync: a measurement
    best = Math.min(best, (performance.now() - start) / launches);
    if (profile) best = Math.min(best, ...(await plan.profile()).map(({ ms }) => ms));
  }
  return best;
}

/** Floats of the copy. 32 MiB: above the caches of a CPU; a GPU with a larger cache shows its cache's rate. */
export const COPY_SIZE = 2 ** 23;

/** Measures the ceilings: about a second on a software driver. */
export async function measureCeilings(gpu: Gpu): Promise<Ceilings> {
  const launchMs = await timeLaunches(gpu, "copy", 256, { launches: 500, repeats: 5, profile: false });
  const copyMs = await timeLaunches(gpu, "copy", COPY_SIZE, { launches: 4, repeats: 8, profile: true });
  const lanes = gpu.isSoftware ? 2 ** 12 : 2 ** 20, rounds = 2 ** 6;
  const maddMs = await timeLaunches(gpu, "madd", 4 * lanes, {
    rounds,
    launches: 4,
    repeats: 50,
    profile: true,
  });
  const maddFlops = lanes * rounds * 128 * 2;
  return {
    gflops: maddFlops / (maddMs * 1e6),
    gbps: 8 * COPY_SIZE / (copyMs * 1e6),
    launchUs: 1000 * launchMs,
    copyMs,
    maddMs,
    maddFlops,
  };
}
