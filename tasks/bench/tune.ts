/** `bench --tune`: times every kernel of matrix products on this device and writes its part of the checked-in table. */
import { note } from "../../lib/core/command.ts";
import { formatDuration, textTable } from "../../lib/core/format.ts";
import { Random } from "../../lib/core/random.ts";
import { sizeOf } from "../../lib/core/shape.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { writeFileAtomic } from "../../lib/io/atomic.ts";
import { className, productOf, shapeClasses } from "../../lib/ops/matmul_classes.ts";
import { launchVariant } from "../../lib/ops/matmul_launch.ts";
import {
  type DeviceTimes,
  type Layout,
  matmulTable,
  type MatmulVariant,
  matmulVariants,
  pickVariant,
  type Product,
  tilesOf,
  variantName,
  variantsFor,
  type VariantTimes,
} from "../../lib/ops/matmul_variants.ts";
import { compile } from "../../lib/plan/compile.ts";
import { apply, defineOp } from "../../lib/tensor/op.ts";
import { param } from "../../lib/tensor/tensor.ts";
import { median } from "./measure.ts";

const TABLE = new URL("../../lib/ops/matmul_table.json", import.meta.url).pathname;

/** The widths of the demo and of BLIP-2 are among them. */
const TERMS = [16, 64, 256, 768, 3072];
const LAYOUTS: readonly Layout[] = ["NN", "NT", "TN", "TT"];
/** Enough tiles to keep the device busy, and rows that are whole tiles of every variant. */
const SIDE = { software: 512, gpu: 4096 };
/** What disturbs a measurement only adds to it, and comes in bursts: the least time of a few runs in each of some rounds. */
const ROUNDS = 4, RUNS = 5, ROUND_MS = 150;

const variantOp = defineOp<{ variant: MatmulVariant; product: Product }>({
  name: "variant",
  outputs: (_, { product: { outer, M, N } }) => [{ shape: [outer, M, N], dtype: "f32" }],
  dispatch: ([a, b], [y], { variant, product }) => launchVariant(variant, product, { a, b, y }, {}),
  cost: () => ({ flops: 0, bytes: 0 }),
});

/** A product by a variant, and the least milliseconds that it took. */
class Timing {
  ms = Infinity;
  constructor(readonly variant: MatmulVariant, readonly product: Product) {}

  /** A few runs more. */
  async run(gpu: Gpu, data: Float32Array<ArrayBuffer>): Promise<void> {
    const { variant, product } = this, { M, N, K, outer } = product;
    const operand = (...shape: number[]) => param(shape, data.subarray(0, sizeOf(shape)));
    const a = operand(outer, M, K), b = operand(outer, K, N);
    const build = () => ({ outputs: { y: apply(variantOp, [a, b], { variant, product }) } });
    using plan = await compile(gpu, build, {}, { label: variantName(variant), profile: true });
    const start = performance.now();
    for (let i = 0; i <= RUNS && (i < 2 || performance.now() - start < ROUND_MS); i++) {
      plan.run({});
      const [{ ms }] = await plan.profile();
      if (i > 0) this.ms = Math.min(this.ms, ms); // the first one fills caches
    }
  }
}

/** Runs all timings, round by round. */
async function runAll(gpu: Gpu, timings: readonly Timing[], signal: AbortSignal): Promise<void> {
  const most = Math.max(...timings.map(({ product: { M, N, K, outer } }) => outer * K * Math.max(M, N)));
  const data = new Random(1, "operands").uniform(most, -1, 1);
  for (let round = 1; round <= ROUNDS; round++) {
    for (const [i, timing] of timings.entries()) {
      signal.throwIfAborted();
      if (i % 50 === 0) note(`round ${round} of ${ROUNDS}: ${i} of ${timings.length}`);
      await timing.run(gpu, data);
    }
  }
}

/** The timings of a variant at a layout: many tiles at each of `TERMS`, and one tile at the first and the last. */
interface Series {
  readonly variant: MatmulVariant;
  readonly layout: Layout;
  readonly many: readonly Timing[];
  readonly one: readonly [Timing, Timing];
}

function seriesOf(gpu: Gpu): Series[] {
  const side = SIDE[gpu.deviceClass];
  return matmulVariants.flatMap((variant) =>
    LAYOUTS.flatMap((layout): Series[] => {
      const timing = (M: number, N: number, K: number) =>
        new Timing(variant, productOf({ count: 1, M, N, K, layout }));
      if (!variantsFor(timing(side, side, TERMS[0]).product, gpu).includes(variant)) return [];
      const alone = (K: number) => timing(variant.rows, variant.columns, K);
      const many = TERMS.map((K) => timing(side, side, K));
      return [{ variant, layout, many, one: [alone(TERMS[0]), alone(TERMS[TERMS.length - 1])] }];
    })
  );
}

/** The table's figures of one variant. */
function timesOf(series: readonly Series[]): VariantTimes {
  const tileNs = ({ product, variant, ms }: Timing) => {
    const [x, y] = tilesOf(product, variant);
    return 1e6 * ms / (x * y);
  };
  // By differences: what a launch costs is in both.
  const ratios = series.map(({ many, one: [short, long] }) =>
    (tileNs(long) - tileNs(short)) / (tileNs(many[many.length - 1]) - tileNs(many[0]))
  );
  return {
    atOnce: Math.max(1, Math.round(median(ratios))),
    tileNs: Object.fromEntries(series.map(({ layout, many }) => [layout, many.map((t) => round(tileNs(t)))])),
  };
}

const round = (value: number): number => Number(value.toPrecision(3));

/** The table as `deno fmt` leaves it: a row of figures a line. */
export const tableText = (table: unknown): string =>
  JSON.stringify(table, null, 2).replace(
    /\[\s+([^\]]*?)\s+\]/g,
    (_, row: string) => `[${row.replace(/\s+/g, " ")}]`,
  ) + "\n";

/**
 * Measures, writes the table, and shows how near its choices come to the fastest kernel of each shape class.
 *
 * @throws {DOMException} The signal's reason, if it ends the work: then nothing is written.
 */
export async function tune(gpu: Gpu, signal: AbortSignal): Promise<void> {
  const start = performance.now(), series = seriesOf(gpu);
  await runAll(gpu, series.flatMap(({ many, one }) => [...many, ...one]), signal);
  const byVariant = Map.groupBy(series, ({ variant }) => variantName(variant));
  const variants = Object.fromEntries([...byVariant].map(([name, group]) => [name, timesOf(group)]));
  const times: DeviceTimes = { adapter: gpu.name, terms: TERMS, variants };
  const table = { ...matmulTable, [gpu.deviceClass]: times };

  const classes = shapeClasses.map((shape) => {
    const product = productOf(shape), chosen = pickVariant(product, gpu, { table });
    return { shape, chosen, timings: variantsFor(product, gpu).map((v) => new Timing(v, product)) };
  });
  await runAll(gpu, classes.flatMap(({ timings }) => timings), signal);
  const rows = classes.map(({ shape, chosen, timings }) => {
    const { count, M, N, K } = shape, best = timings.reduce((a, b) => b.ms < a.ms ? b : a);
    const gflops = (ms = Infinity) => (2 * count * M * N * K / (ms * 1e6)).toFixed(1);
    const own = gflops(timings.find(({ variant }) => variant === chosen)?.ms);
    return [className(shape), variantName(chosen), own, variantName(best.variant), gflops(best.ms)];
  });
  await writeFileAtomic(TABLE, tableText(table));
  const header = ["shape class", "chosen", "GFLOP/s", "fastest", "GFLOP/s"];
  console.log(textTable(rows, { header, align: "llrlr" }));
  note(
    `${TABLE}: the kernels of ${gpu.deviceClass} devices, in ${formatDuration(performance.now() - start)}`,
  );
}
