/** Shows what the toolkit stands on: Deno, GPU, driver, npm packages, disk. Each problem comes with its fix. */
import { parseCommand, printJson, runCommand } from "../lib/core/command.ts";
import { flag } from "../lib/core/flags.ts";
import { formatBytes, textTable } from "../lib/core/format.ts";
import { inspect, type Report } from "./machine_report.ts";

const spec = {
  name: "doctor",
  summary:
    `Shows adapter, driver, limits, features, versions, npm packages, cache and disk space, and each problem with
its fix. Ends with 1 if training cannot run.`,
  flags: { json: flag(false, "one JSON object on stdout") },
};

/** The oldest Deno whose WebGPU the kernels were checked on. */
export const neededDeno = "2.9.6";
/** Below this the caches of pictures and features may not fit. */
const neededFreeBytes = 2 ** 30;

/** Something that is not in order. */
export interface Problem {
  message: string;
  fix: string;
  /** Training cannot run. */
  isFatal: boolean;
}

/** The problems of a report. */
export function diagnose({ versions, gpu, packages, cache }: Report): Problem[] {
  const problems: Problem[] = [];
  const fatal = (message: string, fix: string) => problems.push({ message, fix, isFatal: true });
  if (isOlder(versions.deno, neededDeno)) {
    fatal(
      `Deno ${versions.deno} is too old: needed ${neededDeno}`,
      `npx -y deno@${neededDeno} task ..., or deno upgrade`,
    );
  }
  if ("error" in gpu) fatal(gpu.error, gpu.fix ?? "see the message");
  else if (gpu.kernelFault) {
    fatal(
      `the driver of ${gpu.adapter} computes wrongly: ${gpu.kernelFault}`,
      "update the driver, or choose another by CALA_ADAPTER",
    );
  }
  for (const [name, state] of Object.entries(packages)) {
    if ("error" in state) fatal(`npm package ${name} does not load: ${state.error}`, "deno install");
  }
  if (!cache.isWritable) {
    fatal(`the cache folder ${cache.path} cannot be written`, "set CALA_CACHE to a folder of yours");
  }
  if (cache.freeBytes < neededFreeBytes) {
    const message = `only ${formatBytes(cache.freeBytes)} are free at ${cache.path}, caches may need ${
      formatBytes(neededFreeBytes)
    }`;
    problems.push({ message, fix: "free some space, or set CALA_CACHE to another disk", isFatal: false });
  }
  return problems;
}

/** Whether version `a` comes before `b`; what follows the third number is ignored. */
export function isOlder(a: string, b: string): boolean {
  const [x, y] = [a, b].map((version) => (version.match(/\d+/g) ?? []).slice(0, 3).map(Number));
  const i = y.findIndex((n, i) => n !== (x[i] ?? 0));
  return i >= 0 && (x[i] ?? 0) < y[i];
}

/** The report for people. */
export function showReport(report: Report, problems: readonly Problem[]): string {
  const { versions, gpu, drivers, packages, cache } = report;
  const rows = [
    ["toolkit", versions.toolkit],
    ["deno", `${versions.deno}, V8 ${versions.v8}, TypeScript ${versions.typescript}, ${versions.system}`],
  ];
  if (!("error" in gpu)) {
    rows.push(["adapter", `${gpu.adapter} (${gpu.vendor}, ${gpu.deviceClass})`], [
      "features",
      gpu.features.join(", "),
    ]);
    for (const [name, value] of Object.entries(gpu.limits)) {
      const isBytes = /Size$|StorageSize$/.test(name);
      rows.push([name, isBytes ? `${value} (${formatBytes(value)})` : String(value)]);
    }
    if (!gpu.kernelFault) rows.push(["test kernel", "right"]);
  }
  drivers.forEach((driver, i) => rows.push([i === 0 ? "drivers" : "", driver]));
  for (const [name, state] of Object.entries(packages)) {
    rows.push([
      name,
      "version" in state
        ? state.version
        : "notChecked" in state
        ? `not checked: ${state.notChecked}`
        : "does not load",
    ]);
  }
  rows.push(["cache", `${cache.path}, ${formatBytes(cache.freeBytes)} free`]);
  const texts = problems.map(({ message, fix }) =>
    `\nproblem: ${message}\n  fix    ${fix.replaceAll("\n", "\n         ")}`
  );
  const isFit = !problems.some(({ isFatal }) => isFatal);
  return [textTable(rows), ...texts, isFit ? "\nTraining can run" : "\nTraining cannot run"].join("\n");
}

async function doctor(argv: readonly string[]): Promise<number> {
  const args = parseCommand(spec, argv);
  if (!args) return 0;
  const report = await inspect();
  const problems = diagnose(report);
  const ok = !problems.some(({ isFatal }) => isFatal);
  if (args.values.json) printJson({ ok, problems, ...report });
  else console.log(showReport(report, problems));
  return ok ? 0 : 1;
}

if (import.meta.main) await runCommand(doctor);
