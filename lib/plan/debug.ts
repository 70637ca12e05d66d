/** What `CALA_DEBUG` and `CALA_CHECK_FINITE` print: plans, kernels by time beside what the device could do, the first NaN. */
import { formatBytes, textTable } from "../core/format.ts";
import type { Ceilings } from "./ceilings.ts";
import type { ProfileRow } from "../gpu/profile.ts";
import type { Plan } from "./plan.ts";

/** One line: launches, pipelines, memory and what reuse saved. */
export function describePlan(plan: Plan): string {
  const { dispatches, pipelines, slabBytes, peakBytes, totalBytes } = plan.info;
  return `${plan.label}: ${dispatches} dispatches, ${pipelines} pipelines, slabs ${formatBytes(slabBytes)} ` +
    `(live at most ${formatBytes(peakBytes)}, without reuse ${formatBytes(totalBytes)}), ` +
    `state ${formatBytes(plan.state.bytes)}`;
}

/** The first node of the plan's last run whose value is not finite, as a sentence; for plans compiled with `keepValues`. */
export async function describeNonFinite(plan: Pick<Plan, "label" | "firstNonFinite">): Promise<string> {
  const node = await plan.firstNonFinite();
  return `${plan.label}: the first value that is not finite comes from ${node ?? "a parameter or an input"}`;
}

/** Milliseconds that the work takes at the device's ceilings: the larger of flops and bytes. */
export const floorMs = ({ flops, bytes }: { flops: number; bytes: number }, ceilings: Ceilings): number =>
  Math.max(flops / (ceilings.gflops * 1e6), bytes / (ceilings.gbps * 1e6));

/** Equal kernels at equal shapes added up, longest first. */
export function profileTable(rows: readonly ProfileRow[], ceilings: Ceilings, top = 40): string {
  const groups = new Map<
    string,
    { row: ProfileRow; count: number; ms: number; flops: number; bytes: number }
  >();
  for (const row of rows) {
    const key = `${row.kernel} ${row.shape}`;
    const group = groups.get(key) ?? { row, count: 0, ms: 0, flops: 0, bytes: 0 };
    groups.set(key, group);
    group.count++;
    group.ms += row.ms;
    group.flops += row.flops;
    group.bytes += row.bytes;
  }
  const sorted = [...groups.values()].sort((a, b) => b.ms - a.ms);
  const total = sorted.reduce((sum, { ms }) => sum + ms, 0);
  const lines = sorted.slice(0, top).map(({ row, count, ms, flops, bytes }) => [
    row.kernel.replace("kernels/", ""),
    row.shape,
    String(count),
    ms.toFixed(3),
    `${(100 * ms / total).toFixed(1)}%`,
    (flops / (ms * 1e6)).toFixed(1),
    (bytes / (ms * 1e6)).toFixed(1),
    `${(100 * floorMs({ flops, bytes }, ceilings) / ms).toFixed(0)}%`,
  ]);
  const header = ["kernel", "shapes", "launches", "ms", "share", "GFLOP/s", "GB/s", "of floor"];
  return `${rows.length} launches, ${total.toFixed(2)} ms on the GPU; ceilings ${
    ceilings.gflops.toFixed(1)
  } GFLOP/s, ` +
    `${ceilings.gbps.toFixed(1)} GB/s\n${textTable(lines, { header, align: "llrrrrrr" })}`;
}
