import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { curvesOf, saveCurves } from "../../lib/train/curves.ts";
import { RunLog } from "../../lib/train/log.ts";
import { saveBefore } from "../../lib/train/results.ts";
import { run, withFolder } from "../tasks/run_task.ts";

/** A folder as training leaves it: `steps` steps, every third of them skipped, one validation at the end. */
async function runFolder(folder: string, steps: number): Promise<void> {
  const log = new RunLog(folder, { stepsPerEpoch: 100 });
  await log.steps(Array.from({ length: steps }, (_, i) => ({
    step: i + 1,
    epoch: Math.floor(i / 100),
    terms: { loss: i % 3 === 2 ? NaN : i, matching: 2 },
    isSkipped: i % 3 === 2,
  })));
  await log.validation({ step: steps, epoch: 1 }, { "R@1": 10, "R@50": 40, "R_subset@1": 7, queries: 5 });
}

/** The points of each curve in pixels: Plot writes a path per curve, grid and ticks have none of three points. */
const curvePaths = (svg: string): string[] =>
  [...svg.matchAll(/<path d="(M[^"]*)"/g)].map((match) => match[1]).filter((d) => d.split("L").length > 2);

Deno.test("curvesOf() draws each term as means of windows, and every R@k from the initial weights on", async () => {
  await withFolder(async (folder) => {
    await runFolder(folder, 590);
    await saveBefore(folder, { val: { composed: { "R@1": 1, "R@50": 4 } } });
    const svg = await curvesOf(folder);
    strictEqual(await curvesOf(folder), svg, "same bytes twice");
    for (const text of ["mean of every 3 steps", "loss", "matching", "Recall on val", "R@1", "R@50"]) {
      ok(svg.includes(text), text);
    }
    ok(!svg.includes("▬ queries") && !svg.includes("R_subset") && !svg.includes("NaN"));
    const [matching, loss] = curvePaths(svg); // the first curve is drawn last
    deepStrictEqual([matching, loss].map((d) => d.split("L").length), [197, 197]);
    strictEqual(loss.split("M").length, 2, "a skipped step in each window leaves no gap");
    strictEqual([...svg.matchAll(/<circle/g)].length, 4, "two Recalls, before and after");

    // Where validations have the released columns, the initial weights have the table's: it is one curve.
    const released = "epoch,dress_recall_at10,average_recall_at10,average_recall_at50,average_recall,step\n";
    await Deno.writeTextFile(`${folder}/validation_metrics.csv`, `${released}9,1,30,60,45,590\n`);
    await saveBefore(folder, { val: { composed: { "R@1": 1, "R@10": 2, "R@50": 4 } } });
    strictEqual([...(await curvesOf(folder)).matchAll(/<circle/g)].length, 4);
  });
});

Deno.test("curvesOf() without validation has one panel; without steps there is nothing to draw", async () => {
  await withFolder(async (folder) => {
    await rejects(curvesOf(folder), ConfigError);
    strictEqual(await saveCurves(folder), `${folder}: no steps are logged, there is nothing to draw`);
    await runFolder(folder, 20);
    await Deno.remove(`${folder}/validation_metrics.csv`);
    const svg = await curvesOf(folder);
    ok(svg.includes(">Training loss<") && !svg.includes("Recall"));
    strictEqual(await saveCurves(folder), undefined);
    strictEqual(await Deno.readTextFile(`${folder}/curves.svg`), svg);
  });
});

Deno.test("the curves task says what is missing, and without npm packages that they are", async () => {
  await withFolder(async (cwd) => {
    const empty = await run("curves", ["nothing"], cwd);
    deepStrictEqual([empty.code, empty.stdout], [2, ""]);
    match(empty.stderr, /^nothing: no steps/);
    await Deno.mkdir(`${cwd}/some`);
    await runFolder(`${cwd}/some`, 20);
    const { code, stdout, stderr } = await run("curves", ["some"], cwd); // with --no-npm
    deepStrictEqual([code, stdout], [2, ""]);
    match(stderr, /^Observable Plot does not load: .*--no-npm.*\n {2}fix /);
  });
});
