/** A run's curves: loss terms and validation Recall over the steps, as `curves.svg` in its folder. */
import { ConfigError } from "../core/errors.ts";
import { writeFileAtomic } from "../io/atomic.ts";
import { readCsv } from "../io/csv.ts";
import { type JsonRecord, readJsonl } from "../io/jsonl.ts";
import { linePlots, type Panel, type Series, seriesOf } from "../report/plot.ts";
import { stepLines } from "./log.ts";
import { readBefore } from "./results.ts";

/** Points a loss curve has at most: single steps scatter too much to be read beside each other. */
const MAX_POINTS = 200;

/**
 * The curves of a run as SVG, from what its folder holds so far. Equal logs give equal bytes.
 *
 * @throws {DataError} If a log is broken.
 * @throws {ConfigError} If no step is logged yet, or the npm packages do not load.
 */
export async function curvesOf(folder: string): Promise<string> {
  const records = stepLines((await readJsonl(`${folder}/log.jsonl`)).records);
  if (records.length === 0) throw new ConfigError(`${folder}: no steps are logged, there is nothing to draw`);
  const validations = await readCsv(`${folder}/validation_metrics.csv`);
  const before = (await readBefore(folder))?.val?.composed;
  const { terms, width } = lossCurves(records);
  const panels: Panel[] = [{
    title: width > 1 ? `Training loss, mean of every ${width} steps` : "Training loss",
    yLabel: "loss",
    series: terms,
  }];
  const recalls = recallCurves([...(before ? [{ step: 0, ...before }] : []), ...validations]);
  if (recalls.length > 0) {
    panels.push({ title: "Recall on val, composed queries", yLabel: "percent", series: recalls });
  }
  return await linePlots(panels);
}

/** Each term of the log, averaged over windows of equal width. A window without a finite value leaves a gap. */
function lossCurves(records: readonly JsonRecord[]): { terms: Series[]; width: number } {
  const width = Math.ceil(records.length / MAX_POINTS);
  const names = Object.keys(records[0] ?? {}).filter((name) =>
    !["step", "epoch", "lr", "skipped"].includes(name)
  );
  const means = Array.from({ length: Math.ceil(records.length / width) }, (_, w): JsonRecord => {
    const window = records.slice(w * width, (w + 1) * width);
    const mean = (name: string) => {
      const values = window.map((record) => record[name]).filter((value) => typeof value === "number");
      return values.reduce((a, b) => a + b, 0) / values.length;
    };
    return { step: window.at(-1)?.step, ...Object.fromEntries(names.map((name) => [name, mean(name)])) };
  });
  return { terms: seriesOf(means, names), width };
}

/** `R@1`, `R@5` and so on, or what the released columns have of them, of rows that a CSV gave as text. */
function recallCurves(rows: readonly Record<string, string | number>[]): Series[] {
  const names = Object.keys(rows.at(-1) ?? {}).filter((name) =>
    /^(R@|recall_at|average_recall_at)\d+$/.test(name)
  );
  // The initial weights were measured under the table's names.
  const valueOf = (row: (typeof rows)[number], name: string) =>
    row[name] ?? row[name.replace(/^.*_at/, "R@")];
  const numbers = rows.map((row) =>
    Object.fromEntries(["step", ...names].map((name) => [name, Number(valueOf(row, name))]))
  );
  return seriesOf(numbers, names);
}

/**
 * Writes `curves.svg` into a run's folder. A picture is no reason to lose a run: without npm packages, or whatever else
 * is wrong, it is left out.
 *
 * @returns Why it was left out; nothing where it was written.
 */
export async function saveCurves(folder: string): Promise<string | undefined> {
  try {
    await writeFileAtomic(`${folder}/curves.svg`, await curvesOf(folder));
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split("\n");
    return reason;
  }
}
