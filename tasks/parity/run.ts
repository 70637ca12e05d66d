/** The table of operations that can be compared with PyTorch, and the run of one case. */
import { ConfigError, isUserError } from "../../lib/core/errors.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { attention } from "./attention.ts";
import { cala } from "./cala.ts";
import { compare, OracleCase, type Verdict } from "./case.ts";
import { elementary } from "./elementary.ts";
import { encoders } from "./encoders.ts";
import { metrics } from "./metrics.ts";
import { optimizer } from "./optimizer.ts";
import { images } from "./preprocess.ts";
import type { Runner } from "./runner.ts";
import { trajectories } from "./trajectory.ts";
import { vision } from "./vision.ts";

/** Every operation that can be compared. */
export const runners: Readonly<Record<string, Runner>> = {
  ...elementary,
  ...attention,
  ...encoders,
  ...vision,
  ...cala,
  ...optimizer,
  ...trajectories,
  ...metrics,
  ...images,
};

/** The outcome of one case. */
export type Outcome =
  & { readonly name: string; readonly op: string }
  & (
    | { readonly status: "skip" }
    | { readonly status: "ok" | "FAIL"; readonly verdict: Verdict }
  );

/** Runs one case file. Whatever goes wrong is a failure of that case. */
export async function runCase(
  gpu: Gpu,
  path: string,
  skip: ReadonlySet<string> = new Set(),
): Promise<Outcome> {
  let name = path, op = "-";
  try {
    const oracle = await OracleCase.read(path);
    ({ name, op } = oracle);
    if (skip.has(op)) return { name, op, status: "skip" };
    const runner = Object.hasOwn(runners, op) ? runners[op] : undefined;
    if (!runner) throw new ConfigError(`unknown operation "${op}"`);
    const verdict = compare(oracle, await runner(gpu, oracle));
    return { name, op, status: verdict.isOk ? "ok" : "FAIL", verdict };
  } catch (error) {
    const problems = isUserError(error)
      ? [error.message, error.where ?? "", error.fix ?? ""].filter(Boolean)
      : [error instanceof Error ? error.message : String(error)];
    return {
      name,
      op,
      status: "FAIL",
      verdict: { isOk: false, worst: "-", error: NaN, tolerance: NaN, problems },
    };
  }
}

/** One line for a case, and one for each problem. */
export function showOutcome(outcome: Outcome): string {
  const head = `${outcome.status.padEnd(4)}  ${outcome.name.padEnd(46)}`;
  if (outcome.status === "skip") return `${head}  ${outcome.op}`;
  const { worst, error, tolerance, problems } = outcome.verdict;
  const line = `${head}  ${worst}  ${error.toExponential(2)} of ${tolerance.toExponential(2)}`;
  return [line, ...(outcome.status === "FAIL" ? problems.map((problem) => `      ${problem}`) : [])].join(
    "\n",
  );
}
