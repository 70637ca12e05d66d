/** One measurement: what ran, how long, and what the device's ceilings allow. */
import type { Gpu } from "../../lib/gpu/device.ts";
import type { ProfileRow } from "../../lib/gpu/profile.ts";
import type { Ceilings } from "../../lib/plan/ceilings.ts";
import { floorMs } from "../../lib/plan/debug.ts";
import type { Plan, StepInfo } from "../../lib/plan/plan.ts";
import type { Cost } from "../../lib/tensor/op.ts";
import type { TensorData } from "../../lib/tensor/tensor.ts";

/** A line of `--json`. */
export interface BenchRow {
  readonly kernel: string;
  readonly shape: readonly number[];
  readonly ms: number;
  readonly gflops: number;
  readonly gbps: number;
  /** Time at the ceilings by time taken: 1 is the ceiling. */
  readonly floorShare: number;
  readonly adapter: string;
  readonly commit: string;
  /** What else the machine did: the load average of the minute before the first measurement. */
  readonly load?: number;
  /** Of a step's matrix product: how its operands lie, and the figure of its shape class. */
  readonly product?: {
    readonly layout: string;
    readonly launches: number;
    readonly shapeClass: string;
    readonly classGflops: number;
  };
}

/** Where a figure was measured. */
export type Place = Pick<BenchRow, "adapter" | "commit" | "load">;

/**
 * The middle of some numbers; of an even count the lower one.
 *
 * @example Usage
 * ```ts
 * if (median([3, 1, 2]) !== 2) throw new Error("median");
 * ```
 */
export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length / 2) - 1];

export const round = (value: number): number => Number(value.toPrecision(4));

/** The line of a measurement: rates by the cost's floor of flops and bytes. */
export function benchRow(
  what: Pick<BenchRow, "kernel" | "shape">,
  { ms, cost, floor }: { readonly ms: number; readonly cost: Cost; readonly floor: number },
  place: Place,
): BenchRow {
  return {
    ...what,
    ms: round(ms),
    gflops: round(cost.flops / (ms * 1e6)),
    gbps: round(cost.bytes / (ms * 1e6)),
    floorShare: round(floor / ms),
    ...place,
  };
}

/** A plan and what it runs on. */
export interface Runnable {
  readonly plan: Plan;
  readonly inputs: Readonly<Record<string, TensorData>>;
  readonly info: StepInfo;
}

/** A plan's time and work. */
export interface LaunchTimes {
  /** Median of the sum over all launches. */
  readonly ms: number;
  /** Median of the sum over those of matrix products. */
  readonly productMs: number;
  readonly cost: Cost;
  /** Sum of the launches' floors, in milliseconds. */
  readonly floor: number;
  /** Each launch, with the least time of all runs: what a neighbour on the machine does only adds. */
  readonly rows: readonly ProfileRow[];
}

/** Times a plan's launches on the GPU, each alone, by timestamps; one run to warm up. */
export async function timeLaunches(
  { plan, inputs, info }: Runnable,
  ceilings: Ceilings,
  runs: number,
): Promise<LaunchTimes> {
  const all: number[] = [], products: number[] = [], least: number[] = [];
  let rows: ProfileRow[] = [];
  for (let i = 0; i <= runs; i++) {
    plan.run(inputs, { ...info, index: i });
    rows = await plan.profile();
    if (i === 0) continue;
    all.push(total(rows));
    rows.forEach(({ ms }, launch) => least[launch] = Math.min(least[launch] ?? Infinity, ms));
    products.push(total(rows.filter(({ kernel }) => kernel.startsWith("kernels/matmul"))));
  }
  return {
    ms: median(all),
    productMs: median(products),
    cost: {
      flops: rows.reduce((sum, { flops }) => sum + flops, 0),
      bytes: rows.reduce((sum, { bytes }) => sum + bytes, 0),
    },
    floor: rows.reduce((sum, row) => sum + floorMs(row, ceilings), 0),
    rows: rows.map((row, launch) => ({ ...row, ms: least[launch] })),
  };
}

const total = (rows: readonly ProfileRow[]): number => rows.reduce((sum, { ms }) => sum + ms, 0);

/** Median wall time of whole runs, until the GPU is idle, and of the encoding within it; two runs to warm up. */
export async function timeRuns(
  gpu: Gpu,
  { plan, inputs, info }: Runnable,
  runs: number,
): Promise<{ ms: number; encodeMs: number }> {
  const whole: number[] = [], encode: number[] = [];
  for (let i = -2; i < runs; i++) {
    const start = performance.now();
    plan.run(inputs, { ...info, index: i + 2 });
    const encoded = performance.now();
    await gpu.queue.onSubmittedWorkDone(); // sync: a measurement
    const end = performance.now();
    if (i < 0) continue;
    whole.push(end - start);
    encode.push(encoded - start);
  }
  return { ms: median(whole), encodeMs: median(encode) };
}
