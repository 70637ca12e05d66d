/** The page of `docs/bench`: its text around a table and a picture for each file of results. */
import { basename } from "node:path";
import { DataError } from "../../lib/core/errors.ts";
import type { JsonRecord } from "../../lib/io/jsonl.ts";
import type { BenchRow } from "./measure.ts";
import { isProductRow, PRODUCT_HEADER, productCells, type ProductRow, productSummary } from "./products.ts";
import { roofline } from "./roofline.ts";

/** Names of the rows that hold the ceilings. */
export const COPY = "copy", MADD = "multiply-add", LAUNCH = "empty launch";

/** A load average below this is an idle machine's. */
const IDLE = 0.5;

/** Lines of a results file, checked. @throws {DataError} If a field is missing or of another type. */
export function benchRows(records: readonly JsonRecord[], file: string): BenchRow[] {
  return records.map((record, i) => {
    const isRow = ["kernel", "adapter", "commit"].every((name) => typeof record[name] === "string") &&
      ["ms", "gflops", "gbps", "floorShare"].every((name) => typeof record[name] === "number") &&
      Array.isArray(record.shape) && record.shape.every((n) => typeof n === "number");
    if (!isRow) throw new DataError("not a result of bench", { where: `${file}, line ${i + 1}` });
    return record as unknown as BenchRow;
  });
}

/** One file of results: its heading, picture and table as Markdown, and the picture. */
export interface Section {
  readonly markdown: string;
  readonly svg: string;
}

/** @throws {DataError} If a ceiling is missing. */
export function section(rows: readonly BenchRow[], file: string): Section {
  const ceiling = (kernel: string): BenchRow => {
    const row = rows.find((row) => row.kernel === kernel);
    if (!row) throw new DataError(`no row "${kernel}"`, { where: file, fix: "measure without --only" });
    return row;
  };
  const name = basename(file, ".jsonl"), { adapter, commit, load } = ceiling(COPY);
  const others = load === undefined || load < IDLE
    ? ""
    : `\n\nThe machine had other work: its load average was ${load} when the measurements began.`;
  const all = rows.filter((row) => !isProductRow(row));
  const lines = all.map(({ kernel, shape, ms, gflops, gbps, floorShare }) =>
    `| ${kernel} | ${shape.join(" × ")} | ${ms} | ${gflops} | ${gbps} | ${Math.round(100 * floorShare)}% |`
  );
  const markdown = `## ${adapter}

Commit \`${commit.replace(/^(\w{12})\w*/, "$1")}\`, data [\`${name}.jsonl\`](${name}.jsonl).${others}

![Roofline](${name}.svg)

| kernel | shape | ms | GFLOP/s | GB/s | of the floor |
| --- | --- | ---: | ---: | ---: | ---: |
${lines.join("\n")}
${productSections(rows.filter(isProductRow))}`;
  const svg = roofline(all.filter(({ kernel }) => ![COPY, MADD, LAUNCH].includes(kernel)), {
    gflops: ceiling(MADD).gflops,
    gbps: ceiling(COPY).gbps,
  });
  return { markdown, svg };
}

/** For each step, its matrix products beside their shape classes. */
function productSections(rows: readonly ProductRow[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [...Map.groupBy(rows, ({ kernel }) => kernel)].map(([kernel, group]) => `
### Matrix products of the ${kernel.replace(/^step: (.*), product$/, "step of $1")}

${productSummary(group)}. ms: of all launches of a step together.

${line(PRODUCT_HEADER)}
| --- | ---: | ---: | ---: | --- | ---: | ---: |
${productCells(group).map((cells) => line(cells.map((cell) => cell.replaceAll(" x ", " × ")))).join("\n")}
`).join("");
}

/** The whole page. */
export const page = (sections: readonly Section[]): string =>
  `# Benchmarks

\`deno task bench\` measures, \`deno task bench --json docs/bench/NAME.jsonl\` keeps, \`deno task bench --report\` writes
this page from the files.

- The floor is the larger of flops and bytes at the device's own ceilings: two kernels measure a copy of 32 MiB and
  multiply-adds in registers. Bytes count once, and a small operand stays in a cache, which is faster than memory:
  shares above 100% are such shapes.
- Kernels: median of the time between GPU timestamps. Steps: median of the wall time of a whole run, until the GPU is
  idle.
- Letters behind a product say how its operands lie: N as the formula has them, T transposed, first \`a\`, then \`b\`.
  Products within a step and the figures of their shape classes are the least of several runs, side by side: what else
  runs on a machine only adds time. A step's product may do more than its class: add a tensor, take the gradient of gelu.
- Before a kernel is timed, elements of its result are compared with their formula in f64.
- Shapes of products: matrices where there are several, M, N, K. Of steps: demo: batch, text length, side of the
  pictures; BLIP-2 head: batch, query tokens, text tokens, width.
- The published sizes of BLIP-2 and CLIP, planned and measured: [full.md](full.md).
- No hardware GPU was at hand: every figure here is a software driver's on a CPU. The variants for GPUs are checked for
  right results, but not tuned.
- Feature stores: [feature_store.md](feature_store.md). Frozen vision backbones: [vision.md](vision.md).

${sections.map(({ markdown }) => markdown).join("\n")}`;
