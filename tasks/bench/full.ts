/** `deno task bench --full`: one CaLa step on BLIP-2 at its published size, from files to weights, against f64. */
import { join } from "node:path";
import { note } from "../../lib/core/command.ts";
import { env } from "../../lib/core/env.ts";
import { formatBytes, formatCount, formatDuration } from "../../lib/core/format.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import { openDevice } from "../../lib/gpu/device.ts";
import { toFloat32 } from "../../lib/io/floats.ts";
import { readAhead } from "../../lib/io/read_ahead.ts";
import { openWeights } from "../../lib/io/weights_file.ts";
import type { InputSpecs } from "../../lib/plan/compile.ts";
import { plannedBytes } from "../../lib/plan/planned.ts";
import { input } from "../../lib/tensor/tensor.ts";
import { trace } from "../../lib/tensor/trace.ts";
import { type Inputs, tripletBatch } from "../../lib/train/batch.ts";
import type { StoredConfig, TrainingConfig } from "../../lib/train/config.ts";
import { gitCommit } from "../../lib/train/run.ts";
import {
  type AnyFunctions,
  type Model,
  openModel,
  stepOf,
  TrainingSession,
} from "../../lib/train/session.ts";
import { presentTerms } from "../../lib/train/step.ts";
import { openExperiment } from "../experiments.ts";
import { evaluateF64 } from "../reference/evaluate.ts";
import { writeFullCheckpoint, writeFullStore } from "./full_files.ts";
import type { Place } from "./measure.ts";
import { workOf } from "./planned.ts";
import { BLIP2_SIZES, type Blip2Sizes } from "./random_checkpoint.ts";

/** How the step is run. */
export interface FullOptions {
  /** Default: the published sizes. */
  readonly sizes?: Blip2Sizes;
  readonly batchSize?: number;
  readonly memory?: TrainingConfig["memory"];
  /** Where the files are written; removed afterwards. Default: in the cache folder. */
  readonly scratch?: string;
}

/** What was measured: the line of `--json`. */
export interface FullResult extends Place {
  readonly batchSize: number;
  readonly textLength: number;
  readonly memory: TrainingConfig["memory"];
  readonly parameters: number;
  readonly checkpointBytes: number;
  readonly plannedBytes: number;
  /** Bytes of all buffers after the step. */
  readonly liveBytes: number;
  /** Work of a plain step: what saving memory adds is not counted. */
  readonly gflop: number;
  readonly ms: Readonly<Record<"write" | "load" | "compile" | "firstStep" | "step" | "reference", number>>;
  /** Of reading all f16 tensors of the checkpoint and widening them: bytes of f16 a second. */
  readonly halfGbps: number;
  readonly losses: Readonly<Record<string, { readonly gpu: number; readonly f64: number }>>;
  /** Trained parameters compared with AdamW's formula: tensors, and the largest error as a share of the step. */
  readonly update: { readonly tensors: number; readonly error: number };
}

/**
 * Allowed relative error of the loss. Its terms are told, not bounded: HCA's logits are about 7000 (ten times the product of
 * two vectors of length 27), where f32 has steps of 5e-4, and so much is then missing from its cross entropy, however small.
 * Of an update, as a share of the learning rate, beside two roundings of the weight. */
const LOSS_TOLERANCE = 1e-4, UPDATE_TOLERANCE = 1e-2;
const SEED = 42;

async function timed<T>(what: string, run: () => T | Promise<T>): Promise<{ value: T; ms: number }> {
  note(`${what} ...`);
  const start = performance.now(), value = await run(), ms = performance.now() - start;
  note(`${what}: ${formatDuration(ms)}`);
  return { value, ms };
}

/** Runs the step. @throws {Error} If a loss or a weight is not what the formulas say. */
export async function runFull(
  { sizes = BLIP2_SIZES, batchSize = 2, memory = "plain", scratch = env("CALA_CACHE") }: FullOptions,
  interrupted: AbortSignal,
): Promise<FullResult> {
  await Deno.mkdir(scratch, { recursive: true });
  const folder = await Deno.makeTempDir({ dir: scratch, prefix: "bench-full-" });
  try {
    const weights = join(folder, "blip2_random.pth"), store = join(folder, "store");
    const write = await timed("writing a checkpoint and a feature store of random numbers", async () => {
      await writeFullCheckpoint(weights, sizes, SEED);
      await writeFullStore(store, weights, sizes, SEED);
    });
    interrupted.throwIfAborted();
    const { functions, ...experiment } = await openReleased();
    const config = experiment.config({ weights, store, batchSize, memory, microBatch: 1, seed: SEED });
    const context = { cacheDir: folder, progress: () => {}, note };
    const load = await timed("loading the checkpoint", () => openModel(functions, config, context));
    const halfGbps = await widenHalves(weights);
    interrupted.throwIfAborted();

    using gpu = await openDevice();
    const compile = await timed("planning, allocating, uploading, compiling", async () => {
      const session = new TrainingSession(gpu, functions, config, load.value, context);
      const batch = await session.reader.triplets(session.loader.batchAt(0));
      return { session, batch, plan: await session.program.plan(batch.specs) };
    });
    using session = compile.value.session;
    const { specs, values } = compile.value.batch, { plan } = compile.value;
    const step = await timed("one training step", async () => {
      plan.run(values, { index: 0, learningRates: session.learningRates(0) });
      return await plan.results(); // sync: the step's time is measured
    });
    interrupted.throwIfAborted();
    const terms = step.value[0].values;
    const update = await checkUpdate(session);
    const second = await timed("a second one", async () => {
      plan.run(values, { index: 1, learningRates: session.learningRates(1) });
      await plan.results(); // sync: the same
    });
    const { model } = load.value;
    const reference = await timed(
      "the forward pass in f64, on the CPU",
      () => referenceLosses(functions, config, model, { specs, values }, interrupted),
    );
    const losses = Object.fromEntries(
      Object.entries(reference.value).map(([name, f64]) => [name, { gpu: terms[name][0], f64 }]),
    );
    for (const [name, { gpu, f64 }] of Object.entries(losses)) {
      note(`${name}: ${gpu} on the device, ${f64} in f64`);
    }
    const { loss } = losses;
    if (!(Math.abs(loss.gpu - loss.f64) <= LOSS_TOLERANCE * Math.abs(loss.f64))) {
      throw new Error(`the loss is ${loss.gpu}, in f64 ${loss.f64}: more than ${LOSS_TOLERANCE} off`);
    }
    const params = [...load.value.params.values()];
    return {
      adapter: gpu.name,
      commit: await gitCommit() ?? "unknown",
      batchSize,
      textLength: specs.inputIds.shape[1],
      memory,
      parameters: params.reduce((sum, { shape }) => sum + sizeOf(shape), 0),
      checkpointBytes: (await Deno.stat(weights)).size,
      plannedBytes: plannedBytes(session.memory),
      liveBytes: gpu.liveBytes,
      gflop: workOf(stepOf(functions, { ...config, memory: "plain" }, model).maker.plan(specs).plans) / 1e9,
      ms: {
        write: write.ms,
        load: load.ms,
        compile: compile.ms,
        firstStep: step.ms,
        step: second.ms,
        reference: reference.ms,
      },
      halfGbps,
      losses,
      update,
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** CIRR, BLIP-2, frame sum: the experiment as users run it. */
async function openReleased() {
  const experiment = await openExperiment("cirr_blip2_sum");
  return {
    functions: experiment.functions,
    config: (flags: StoredConfig) => experiment.configFrom(flags),
  };
}

/** Reads and widens every f16 tensor of a checkpoint. Gigabytes of f16 a second. */
async function widenHalves(path: string): Promise<number> {
  using file = await openWeights(path);
  const keys = [...file.tensors].flatMap(([key, { dtype }]) => dtype === "F16" ? [key] : []);
  let bytes = 0;
  const { ms } = await timed("reading and widening the checkpoint's f16 tensors", async () => {
    for await (const [key, tensor] of readAhead(file, keys)) bytes += 2 * toFloat32(tensor, key).length;
  });
  return bytes / (ms * 1e6);
}

/** The losses of the first step by the formulas, with the weights as they were loaded. */
function referenceLosses(
  functions: AnyFunctions,
  config: TrainingConfig,
  model: Model,
  { specs, values }: { readonly specs: InputSpecs; readonly values: Inputs },
  interrupted: AbortSignal,
): Record<string, number> {
  const { result } = trace(() => {
    const inputs = Object.fromEntries(
      Object.entries(specs).map(([name, { shape, dtype = "f32" }]) => [name, input(name, { shape, dtype })]),
    );
    return presentTerms(functions.loss(model, functions.encode(model, tripletBatch(inputs), config), config));
  }, { isTraining: true });
  const names = Object.keys(result);
  const found = evaluateF64(names.map((name) => result[name]), {
    inputs: values,
    seed: config.seed,
    step: 0,
    onProgress: (done, total) => {
      interrupted.throwIfAborted();
      if (done % 100 === 0) note(`  ${done} of ${total} operations`);
    },
  });
  return Object.fromEntries(names.map((name, i) => [name, found[i].data[0]]));
}

/**
 * Compares every trained weight with AdamW's formula for a first step, from the device's gradient: the moments are
 * `(1 - β) g` and `(1 - β) g²`, so `p ← p (1 - lr wd) - lr g / (|g| + eps)`.
 *
 * @throws {Error} If one is off, or nothing changed.
 */
async function checkUpdate(session: TrainingSession): Promise<FullResult["update"]> {
  const rates = session.learningRates(0), decay = 0.05, eps = 1e-8;
  let tensors = 0, worst = 0, changed = 0;
  for (const [group, { params, isTrained }] of session.state.groups.entries()) {
    if (!isTrained) continue;
    for (const param of params) {
      const [after] = await session.state.read([param]), [g] = await session.state.read([param], "grad");
      const before = param.source.data, lr = rates[group];
      for (let i = 0; i < after.length; i++) {
        const want = before[i] * (1 - lr * decay) - lr * g[i] / (Math.abs(g[i]) + eps);
        const error = Math.abs(after[i] - want) - 2 ** -23 * Math.abs(want);
        worst = Math.max(worst, error / lr);
        if (after[i] !== before[i]) changed++;
      }
      if (!(worst <= UPDATE_TOLERANCE)) {
        throw new Error(
          `"${param.source.name}" is not updated as AdamW says: off by ${worst} of the learning rate`,
        );
      }
      tensors++;
    }
  }
  if (changed === 0) throw new Error("the step changed no weight");
  return { tensors, error: worst };
}

/** For people: what the step took. */
export function describeFull(result: FullResult): string {
  const { ms, gflop, losses, update } = result;
  return [
    `${result.adapter}: BLIP-2 both with CaLa, ${
      formatCount(result.parameters)
    } parameters, batch ${result.batchSize}, ` +
    `${result.textLength} tokens, --memory ${result.memory}`,
    `checkpoint ${formatBytes(result.checkpointBytes)}: written in ${formatDuration(ms.write)}, loaded in ${
      formatDuration(ms.load)
    }; f16 read and widened at ${result.halfGbps.toFixed(2)} GB/s`,
    `planned device memory ${formatBytes(result.plannedBytes)}, allocated ${formatBytes(result.liveBytes)}`,
    `planned, uploaded and compiled in ${formatDuration(ms.compile)}; the first step ${
      formatDuration(ms.firstStep)
    }, the second ${formatDuration(ms.step)}: ${(gflop / ms.step * 1000).toFixed(1)} GFLOP/s; f64 ${
      formatDuration(ms.reference)
    }`,
    ...Object.entries(losses).map(([name, { gpu, f64 }]) =>
      `${name}: ${gpu}, in f64 ${f64}: ${(Math.abs(gpu / f64 - 1)).toExponential(1)} off`
    ),
    `${update.tensors} tensors updated as AdamW says, to ${
      update.error.toExponential(1)
    } of the learning rate`,
  ].join("\n");
}
