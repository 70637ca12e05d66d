/** `deno task bench`: what this device can do at most, and how near each kernel and each training step comes to it. */
import { note, parseCommand, runCommand } from "../lib/core/command.ts";
import { ConfigError } from "../lib/core/errors.ts";
import { flag } from "../lib/core/flags.ts";
import { formatDuration, textTable } from "../lib/core/format.ts";
import { Random } from "../lib/core/random.ts";
import { sizeOf } from "../lib/core/shape.ts";
import { type Gpu, openDevice } from "../lib/gpu/device.ts";
import type { ProfileRow } from "../lib/gpu/profile.ts";
import { writeFileAtomic } from "../lib/io/atomic.ts";
import { readJsonl } from "../lib/io/jsonl.ts";
import { className, classOf, type ShapeClass } from "../lib/ops/matmul_classes.ts";
import { type Ceilings, COPY_SIZE, measureCeilings } from "../lib/plan/ceilings.ts";
import { compile } from "../lib/plan/compile.ts";
import { floorMs } from "../lib/plan/debug.ts";
import type { Cost } from "../lib/tensor/op.ts";
import { gitCommit } from "../lib/train/run.ts";
import type { KernelCase } from "./bench/case.ts";
import { kernelCases, productCase } from "./bench/cases.ts";
import { describeFull, type FullOptions, runFull } from "./bench/full.ts";
import { writeFullPage } from "./bench/full_page.ts";
import {
  type BenchRow,
  benchRow,
  median,
  type Place,
  round,
  timeLaunches,
  timeRuns,
} from "./bench/measure.ts";
import { classesOf, isProductRow, type ProductRow, productsOf, showProducts } from "./bench/products.ts";
import { type EvaluationCase, evaluationCases } from "./bench/evaluation.ts";
import { planAll, plannedTable } from "./bench/planned.ts";
import { benchRows, COPY, LAUNCH, MADD, page, section } from "./bench/report.ts";
import { type StepCase, stepCases } from "./bench/steps.ts";
import { tune } from "./bench/tune.ts";
import { benchVision } from "./bench/vision.ts";

const spec = {
  name: "bench",
  summary:
    `Measures copy bandwidth, multiply-add rate and the cost of an empty launch, then kernels and training steps:
time, GFLOP/s, GB/s and the share of the floor that these ceilings set. Close other programs first.`,
  flags: {
    only: flag("", "kernels and steps whose name holds this text; the ceilings are always measured"),
    json: flag("", "also write a JSON object a line into this file"),
    full: flag(
      false,
      "instead: one CaLa step on BLIP-2 at its published size, batch 2, from a checkpoint of random numbers to new weights, " +
        "compared with f64; minutes, 9 GB of memory, 2 GB of disk in the cache folder",
    ),
    memory: flag("plain", "with --full: how the step keeps to its memory", {
      choices: ["plain", "recompute", "gradcache"],
    }),
    planOnly: flag(
      false,
      "with --full: only the parameters, work and memory of every configuration; needs no device",
    ),
    vision: flag(false, "measure the frozen vision backbones at full size instead, on the CPU and by WebGPU"),
    report: flag(
      false,
      "measure nothing; write docs/bench/README.md and its pictures from docs/bench/*.jsonl",
    ),
    tune: flag(
      false,
      "instead: time every kernel of matrix products and rewrite this class of devices in lib/ops/matmul_table.json. " +
        "Nothing else ever does that; all kernels give the same bits, so the table changes speed alone",
    ),
  },
};

const KERNEL_RUNS = 11, STEP_RUNS = 7, EVALUATION_RUNS = 3;
/** Elements of a result that are compared with f64; allowed error in f32 epsilons of the sum of absolute values. */
const SAMPLES = 64, EPSILONS = 16;

/** What the measurements share. */
interface Bench {
  readonly gpu: Gpu;
  readonly ceilings: Ceilings;
  readonly place: Place;
}

function ceilingRows(ceilings: Ceilings, place: Place): BenchRow[] {
  const { launchUs, copyMs, maddMs, maddFlops } = ceilings;
  const row = (kernel: string, shape: number[], ms: number, cost: Partial<Cost>) =>
    benchRow({ kernel, shape }, { ms, cost: { flops: 0, bytes: 0, ...cost }, floor: ms }, place);
  return [
    row(COPY, [COPY_SIZE], copyMs, { bytes: 8 * COPY_SIZE }),
    row(MADD, [maddFlops / 2], maddMs, { flops: maddFlops }),
    row(LAUNCH, [1], launchUs / 1000, {}),
  ];
}

/** @throws {Error} If an element of the result is wrong: then no time means anything. */
async function benchKernel(bench: Bench, one: KernelCase): Promise<BenchRow> {
  const { gpu, ceilings, place } = bench;
  using plan = await compile(gpu, () => ({ outputs: { y: one.build() } }), {}, {
    label: one.kernel,
    fused: one.fused,
    isTraining: true,
    profile: true,
  });
  plan.run({});
  const { y } = await plan.read();
  const random = new Random(1, "samples"), count = sizeOf(y.shape);
  for (let s = 0; s < SAMPLES; s++) {
    const i = s === 0 ? count - 1 : random.nextInt(count), { value, size } = one.at(i);
    if (!(Math.abs(y.data[i] - value) <= EPSILONS * 2 ** -23 * size)) {
      throw new Error(`${one.kernel} ${one.shape.join(" x ")}: element ${i} is ${y.data[i]}, want ${value}`);
    }
  }
  return benchRow(one, await timeLaunches({ plan, inputs: {}, info: {} }, ceilings, KERNEL_RUNS), place);
}

/** A step's line, and where its time goes; of a training step also each matrix product. */
async function benchStep(bench: Bench, one: StepCase) {
  const { gpu, ceilings, place } = bench;
  const onProgress = (done: number, total: number) => {
    if (done === total || done % 10 === 0) note(`  compiling kernels ${done}/${total}`);
  };
  const start = performance.now();
  const whole = await (async () => {
    using step = await one.compile(gpu, { profile: false, onProgress });
    const compileMs = performance.now() - start;
    return { ...await timeRuns(gpu, step, STEP_RUNS), ...step.plan.info, compileMs };
  })();
  using step = await one.compile(gpu, { profile: true });
  const launches = await timeLaunches(step, ceilings, STEP_RUNS);
  const products = await benchProducts(bench, one, launches.rows);
  const percent = (part: number, all: number) => `${(100 * part / all).toFixed(1)}%`;
  const text = `${one.kernel}: ${whole.dispatches} launches of ${whole.pipelines} kernels, compiled in ${
    formatDuration(whole.compileMs)
  }
  launches, each timed alone: ${formatDuration(launches.ms)}, of it matrix products ${
    percent(launches.productMs, launches.ms)
  }
  launching, at the cost of an empty one: ${
    percent(whole.dispatches * ceilings.launchUs / 1000, whole.ms)
  } of the step
  encoding: ${percent(whole.encodeMs, whole.ms)} of the step
  slabs: ${(whole.slabBytes / whole.peakBytes).toFixed(2)} times what is live at most
  ${showProducts(products)}`;
  return { rows: [benchRow(one, { ...launches, ms: whole.ms }, place), ...products], text };
}

/** Each matrix product of a step beside the figure of its shape class, both by the least time of some runs. */
async function benchProducts(
  { gpu, ceilings, place }: Bench,
  { kernel }: StepCase,
  launches: readonly ProfileRow[],
): Promise<ProductRow[]> {
  const figures = new Map<string, number>();
  for (const shape of classesOf(productsOf(launches))) {
    const one = productCase(shape);
    using plan = await compile(gpu, () => ({ outputs: { y: one.build() } }), {}, { profile: true });
    const { rows: [{ flops, ms }] } = await timeLaunches(
      { plan, inputs: {}, info: {} },
      ceilings,
      KERNEL_RUNS,
    );
    figures.set(className(shape), round(flops / (ms * 1e6)));
  }
  const figureOf = (shape: ShapeClass) => figures.get(className(classOf(shape))) ?? NaN;
  return productsOf(launches, figureOf).map(({ shape, launches, ...sums }) => {
    const shapeClass = className(classOf(shape)), { count, M, N, K, layout } = shape;
    const what = { kernel: `${kernel}, product`, shape: [...(count > 1 ? [count] : []), M, N, K] };
    const product = { layout, launches, shapeClass, classGflops: figureOf(shape) };
    return { ...benchRow(what, { ms: sums.ms, cost: sums, floor: floorMs(sums, ceilings) }, place), product };
  });
}

/** Whole: kernels compiled (the first run did), embeddings uploaded, scores read back, ranks counted. */
async function benchEvaluation({ gpu, ceilings, place }: Bench, one: EvaluationCase): Promise<BenchRow> {
  const times: number[] = [];
  await one.run(gpu);
  for (let i = 0; i < EVALUATION_RUNS; i++) times.push(await one.run(gpu));
  const floor = floorMs(one.cost, ceilings);
  return benchRow(one, { ms: median(times), cost: one.cost, floor }, place);
}

const showRows = (rows: readonly BenchRow[]): string =>
  textTable(
    rows.map(({ kernel, shape, ms, gflops, gbps, floorShare }) => [
      kernel,
      shape.join(" x "),
      String(ms),
      gflops.toFixed(1),
      gbps.toFixed(1),
      `${(100 * floorShare).toFixed(0)}%`,
    ]),
    { header: ["kernel", "shape", "ms", "GFLOP/s", "GB/s", "of the floor"], align: "llrrrr" },
  );

async function measure(
  { only, json }: { only: string; json: string },
  interrupted: AbortSignal,
): Promise<void> {
  const isWanted = ({ kernel }: { kernel: string }) => kernel.toLowerCase().includes(only.toLowerCase());
  const kernels = kernelCases().filter(isWanted), steps = stepCases.filter(isWanted);
  const evaluations = evaluationCases.filter(isWanted);
  if (kernels.length + steps.length + evaluations.length === 0) {
    const all = [...kernelCases(), ...stepCases, ...evaluationCases];
    const names = new Set(all.map(({ kernel }) => kernel));
    throw new ConfigError(`--only: nothing is named "${only}"`, {
      fix: `there are: ${[...names].join("; ")}`,
    });
  }
  using gpu = await openTimedDevice();
  const place = {
    adapter: gpu.name,
    commit: await gitCommit() ?? "unknown",
    load: Number(Deno.loadavg()[0].toFixed(2)),
  };
  note(`${gpu.name}: ceilings`);
  const ceilings = await measureCeilings(gpu), bench: Bench = { gpu, ceilings, place };
  const rows = ceilingRows(ceilings, place), texts: string[] = [];
  for (const one of kernels) {
    interrupted.throwIfAborted();
    note(`${one.kernel} ${one.shape.join(" x ")}`);
    rows.push(await benchKernel(bench, one));
  }
  for (const one of steps) {
    interrupted.throwIfAborted();
    note(one.kernel);
    const step = await benchStep(bench, one);
    rows.push(...step.rows);
    texts.push(step.text);
  }
  for (const one of evaluations) {
    interrupted.throwIfAborted();
    note(one.kernel);
    rows.push(await benchEvaluation(bench, one));
  }
  console.log([showRows(rows.filter((row) => !isProductRow(row))), ...texts].join("\n\n"));
  if (json) await writeFileAtomic(json, rows.map((row) => JSON.stringify(row) + "\n"));
}

/** @throws {ConfigError} If the device has no timestamps. */
async function openTimedDevice(): Promise<Gpu> {
  const gpu = await openDevice();
  if (gpu.features.has("timestamp-query")) return gpu;
  gpu[Symbol.dispose]();
  throw new ConfigError(`${gpu.name} has no timestamps, by which kernels are timed`);
}

/** The published sizes. */
async function full(
  { memory, planOnly, json }: { memory: FullOptions["memory"]; planOnly: boolean; json: string },
  interrupted: AbortSignal,
): Promise<void> {
  if (planOnly) return console.log(plannedTable(await planAll()));
  const result = await runFull({ memory }, interrupted);
  console.log(describeFull(result));
  if (json) await writeFileAtomic(json, JSON.stringify(result) + "\n");
}

/** Writes the pages and their pictures. */
async function report(): Promise<void> {
  const folder = new URL("../docs/bench/", import.meta.url);
  const files = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) =>
    name.endsWith(".jsonl")
  );
  const sections = [];
  for (const file of files.sort()) {
    const path = new URL(file, folder).pathname;
    const one = section(benchRows((await readJsonl(path)).records, path), path);
    await writeFileAtomic(path.replace(/jsonl$/, "svg"), one.svg);
    sections.push(one);
  }
  const path = new URL("README.md", folder).pathname;
  await writeFileAtomic(path, page(sections));
  console.log(path);
  console.log(await writeFullPage(folder));
}

async function main(argv: readonly string[], interrupted: AbortSignal): Promise<void> {
  const args = parseCommand(spec, argv);
  if (!args) return;
  const { values } = args;
  if (values.report) return await report();
  if (values.full) return await full(values, interrupted);
  if (values.vision) return await benchVision(interrupted);
  if (!values.tune) return await measure(values, interrupted);
  using gpu = await openTimedDevice();
  await tune(gpu, interrupted);
}

if (import.meta.main) await runCommand(main);
