/** `docs/bench/full.md`: the published sizes, planned and measured. */
import { DataError } from "../../lib/core/errors.ts";
import { formatBytes, formatDuration } from "../../lib/core/format.ts";
import { writeFileAtomic } from "../../lib/io/atomic.ts";
import type { JsonRecord } from "../../lib/io/jsonl.ts";
import { readJsonl } from "../../lib/io/jsonl.ts";
import type { FullResult } from "./full.ts";
import { BATCH_SIZE, MICRO_BATCH, planAll, plannedTable, TEXT_LENGTH } from "./planned.ts";

/** A line of a results file, checked. @throws {DataError} If it is none of `bench --full`. */
export function fullResult(record: JsonRecord, where: string): FullResult {
  const numbers = [
    "batchSize",
    "textLength",
    "parameters",
    "checkpointBytes",
    "plannedBytes",
    "liveBytes",
    "gflop",
  ];
  const isResult = typeof record.adapter === "string" && typeof record.commit === "string" &&
    numbers.every((name) => typeof record[name] === "number") && typeof record.ms === "object" &&
    typeof record.losses === "object" && typeof record.update === "object";
  if (!isResult) throw new DataError("not a result of bench --full", { where });
  return record as unknown as FullResult;
}

/** The page's text. */
export const fullPage = (planned: string, results: readonly FullResult[]): string =>
  `# The published sizes

\`deno task bench --report\` writes this page. The first table is computed (\`deno task bench --full --plan-only\`), the
second measured (\`deno task bench --full --json docs/bench/full/NAME.jsonl\`).

## Planned

Batch ${BATCH_SIZE}, ${TEXT_LENGTH} tokens a caption (CLIP: 77), gradcache with micro-batches of ${MICRO_BATCH}. Trained: numbers with a
gradient and two moments. TFLOP: a plain step, forwards and backwards, from stored image features. GB (10⁹ bytes):
parameters, gradients, moments, slabs, inputs; WebGPU does not tell what a driver adds.

${planned}
## Measured

One step of CaLa on BLIP-2, encoder \`both\`, frame sum, from a checkpoint in LAVIS's format with random weights, vision
and language head included, and a store of random features. Losses are compared with the same formulas in f64 on the
CPU, weights with AdamW's.

| | ${results.map(({ adapter, memory }) => `${adapter}, ${memory}`).join(" | ")} |
| --- | ${results.map(() => "---:").join(" | ")} |
${
    ([
      ["commit", ({ commit }) => `\`${commit.replace(/^(\w{12})\w*/, "$1")}\``],
      ["batch, tokens", ({ batchSize, textLength }) => `${batchSize}, ${textLength}`],
      ["checkpoint", ({ checkpointBytes }) => formatBytes(checkpointBytes)],
      ["writing it", ({ ms }) => formatDuration(ms.write)],
      ["loading the Q-Former's part", ({ ms }) => formatDuration(ms.load)],
      ["f16 read and widened", ({ halfGbps }) => `${halfGbps.toFixed(2)} GB/s`],
      ["planned memory", ({ plannedBytes }) => formatBytes(plannedBytes)],
      ["allocated", ({ liveBytes }) => formatBytes(liveBytes)],
      ["planning, uploading, compiling", ({ ms }) => formatDuration(ms.compile)],
      ["first step", ({ ms }) => formatDuration(ms.firstStep)],
      ["second step", ({ ms }) => formatDuration(ms.step)],
      ["of the second step", ({ gflop, ms }) => `${(1000 * gflop / ms.step).toFixed(1)} GFLOP/s`],
      ["loss", ({ losses }) => String(losses.loss.gpu)],
      ["its distance from f64", ({ losses: { loss } }) => Math.abs(loss.gpu / loss.f64 - 1).toExponential(1)],
      ["tensors updated", ({ update }) => String(update.tensors)],
      ["f64, forwards", ({ ms }) => formatDuration(ms.reference)],
    ] satisfies [string, (result: FullResult) => string][]).map(([name, show]) =>
      `| ${name} | ${results.map(show).join(" | ")} |`
    ).join("\n")
  }
`;

/** Writes the page beside the results. Returns its path. */
export async function writeFullPage(folder: URL): Promise<string> {
  const from = new URL("full/", folder), results: FullResult[] = [];
  for (const { name } of [...Deno.readDirSync(from)].sort((a, b) => a.name < b.name ? -1 : 1)) {
    if (!name.endsWith(".jsonl")) continue;
    const path = new URL(name, from).pathname;
    results.push(...(await readJsonl(path)).records.map((r, i) => fullResult(r, `${path}, line ${i + 1}`)));
  }
  const path = new URL("full.md", folder).pathname;
  await writeFileAtomic(path, fullPage(plannedTable(await planAll()), results));
  return path;
}
