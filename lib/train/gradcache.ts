/**
 * A contrastive step in micro-batches, with the gradients of the whole batch.
 *
 * The encoders run on one micro-batch after another and only their embeddings are kept; the loss over the whole batch
 * gives the embeddings' gradients; then the encoders run again, each micro-batch with its rows of these gradients, and
 * their parameters' gradients add up in the state, in the order of the batch. Random numbers are numbered by the row in
 * the whole batch, so dropout drops what it drops in a plain step.
 *
 * Source: Gao et al., "Scaling deep contrastive learning batch size under memory limited setup" (2021).
 */
import { ConfigError } from "../core/errors.ts";
import { compile, inspect } from "../plan/compile.ts";
import type { BufferRange, Plan, StepInfo } from "../plan/plan.ts";
import type { SlabPool } from "../plan/slab_pool.ts";
import type { Inputs } from "./batch.ts";
import { type GradCacheOptions, type Part, type Passes, passesOf, seedOf } from "./gradcache_passes.ts";
import {
  poolsOf,
  STATUS,
  type StepFunctions,
  type StepMaker,
  type StepOptions,
  type StepPlan,
} from "./step.ts";

/** @throws {ConfigError} If micro-batches do not fill the batch. */
export function gradCacheStep(
  functions: StepFunctions,
  { batchSize, microBatch: most }: GradCacheOptions,
): StepMaker {
  const microBatch = Math.min(most, batchSize);
  if (!Number.isInteger(batchSize / microBatch)) {
    throw new ConfigError(`--micro-batch ${microBatch} does not divide --batch-size ${batchSize}`, {
      fix: `choose one of ${divisors(batchSize).join(", ")}`,
    });
  }
  const rows = { batchSize, microBatch };
  return {
    plan(specs, lowering) {
      const { embed, loss, backward, trained } = passesOf(functions, specs, rows);
      const [first, middle, last] = [embed, loss, backward].map(({ fn, specs, options }) =>
        inspect(fn, specs, { ...options, ...lowering }).lowered
      );
      // Embeddings are copied out of the encoders' slabs, their gradients are read out of the loss's: two pools.
      return { trained, plans: [[last, first], [middle]] };
    },
    compiler(options, largest) {
      const pools = poolsOf(options.gpu, largest);
      return {
        compile: (specs) => GradCachePlan.create(passesOf(functions, specs, rows), rows, options, pools),
        [Symbol.dispose]() {
          for (const pool of pools) pool[Symbol.dispose]();
        },
      };
    },
  };
}

const divisors = (n: number) => Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);

/** The step of one signature: four plans, the encoders' replayed for each micro-batch. */
class GradCachePlan implements StepPlan {
  readonly label = "training step in micro-batches";
  readonly #rows: GradCacheOptions;
  readonly #passes: Passes;
  readonly #plans: readonly [embed: Plan, loss: Plan, backward: Plan, update: Plan];

  private constructor(passes: Passes, rows: GradCacheOptions, plans: readonly [Plan, Plan, Plan, Plan]) {
    this.#passes = passes;
    this.#rows = rows;
    this.#plans = plans;
  }

  static async create(
    passes: Passes,
    rows: GradCacheOptions,
    { adamw, gpu, ...options }: StepOptions,
    [encoders, loss]: readonly SlabPool[],
  ): Promise<GradCachePlan> {
    const { state } = options;
    const update: Part = {
      fn: () => {
        adamw.apply(state);
        return { results: { [STATUS]: state.status } };
      },
      specs: {},
      options: {},
    };
    const made: Plan[] = [];
    const make = async (label: string, { fn, specs, options: traced }: Part, slabs?: SlabPool) => {
      const plan = await compile(gpu, fn, specs, { ...options, ...traced, label, slabs });
      made.push(plan);
      return plan;
    };
    try {
      return new GradCachePlan(passes, rows, [
        await make("encode a micro-batch", passes.embed, encoders),
        await make("loss of the batch", passes.loss, loss),
        await make("gradients of a micro-batch", passes.backward, encoders),
        await make("update", update),
      ]);
    } catch (error) {
      for (const plan of made) plan[Symbol.dispose]();
      throw error;
    }
  }

  run(values: Inputs, info: StepInfo): void {
    const { batchSize, microBatch } = this.#rows, { names, seeded } = this.#passes;
    const [embed, loss, backward, update] = this.#plans;
    const parts = batchSize / microBatch;
    /** The bytes of a micro-batch's rows in something of the whole batch. */
    const rowsOf = ({ buffer, offset, bytes }: BufferRange, part: number): BufferRange => ({
      buffer,
      offset: offset + part * bytes / parts,
      bytes: bytes / parts,
    });
    const inputs = Object.fromEntries(names.map((name) => [name, loss.inputRange(name)]));
    const infoOf = (part: number) => ({ ...info, part, firstRow: part * microBatch });
    for (let part = 0; part < parts; part++) {
      const copies = Object.entries(inputs).map(([name, range]) => [name, rowsOf(range, part)]);
      embed.run(this.#micro(values, part), infoOf(part), Object.fromEntries(copies));
    }
    loss.run(inputs, info);
    for (let part = 0; part < parts; part++) {
      const seeds = seeded.map((name) => [seedOf(name), rowsOf(loss.outputRange(name), part)]);
      backward.run({ ...this.#micro(values, part), ...Object.fromEntries(seeds) }, infoOf(part));
    }
    update.run({}, info);
  }

  /** A micro-batch's rows of the inputs; what has no rows as it is. */
  #micro(values: Inputs, part: number): Inputs {
    const { specs } = this.#passes.embed, { microBatch } = this.#rows;
    return Object.fromEntries(
      Object.entries(values).flatMap(([name, data]) => {
        if (!specs[name]) return [];
        const size = specs[name].shape.reduce((a, b) => a * b, 1);
        const hasRows = specs[name].shape[0] === microBatch && data.length !== size;
        return [[name, hasRows ? data.subarray(part * size, (part + 1) * size) : data]];
      }),
    );
  }

  async results() {
    const [, loss, , update] = this.#plans;
    const status = new Map((await update.results()).map(({ index, values }) => [index, values]));
    return (await loss.results()).map(({ index, values }) => ({
      index,
      values: { ...values, ...status.get(index) },
    }));
  }

  async profile() {
    const rows = [];
    for (const plan of this.#plans) rows.push(...await plan.profile());
    return rows;
  }

  async firstNonFinite() {
    for (const plan of this.#plans) {
      const found = await plan.firstNonFinite();
      if (found) return `${found}, ${plan.label}`;
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    for (const plan of this.#plans) plan[Symbol.dispose]();
  }
}
