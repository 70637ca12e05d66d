import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { lastLine, path, run, task, toy, withFolder } from "./run_task.ts";

Deno.test("train prints the table, the run folder and one JSON object; done, it prints them again", async () => {
  await withFolder(async (cwd) => {
    const args = [toy, "--name", "first", "--json"];
    const first = await run("train", args, cwd);
    strictEqual(first.code, 0, first.stderr);
    match(first.stdout, /Recall in percent on toy val.*\n\n.*R@1/);
    match(first.stdout, /\nrun folder: runs\/toy_experiment\/first\n/);
    match(first.stderr, /\ncurves\.svg is left out: Observable Plot does not load: .*--no-npm/);
    const result = JSON.parse(lastLine(first.stdout));
    strictEqual(result.run, "runs/toy_experiment/first");
    deepStrictEqual(Object.keys(result.metrics), ["val", "test"]);
    for (const kind of ["composed", "image", "text"]) {
      for (const metric of ["R@1", "R@10", "R_subset@1"]) {
        strictEqual(typeof result.metrics.val[kind][metric], "number");
      }
    }
    const again = await run("train", args, cwd);
    deepStrictEqual([again.code, again.stdout, again.stderr], [0, first.stdout, ""]);
  });
});

Deno.test("train refuses wrong flags and names, another configuration, a run in use: exit 2, no stack", async () => {
  await withFolder(async (cwd) => {
    const cases: [args: string[], message: RegExp][] = [
      [[toy, "--batch-sise", "3"], /^unknown flag --batch-sise\n {2}fix {4}did you mean --batch-size/],
      [[toy, "--steps", "three"], /^--steps: expected a whole number/],
      [[toy, "--best-by", "R@7"], /^--best-by: no metric "R@7"\n {2}fix {4}one of R@1, R@5/m],
      [
        [toy, "--lr", "1e30", "--steps", "40", "--eval-every", "0"],
        /^the gradients of 10 steps in a row were not finite\n {2}where .*\n {2}fix .*CALA_CHECK_FINITE=1/m,
      ],
      [["dmo"], /^no experiment "dmo"/],
      [["./none.ts"], /^\.\/none\.ts: no such file/],
      [[path("tests/toy_op.ts")], /toy_op\.ts: no experiment/],
      [["./"], /^\.\/: a folder, not an experiment's file/],
      [["./broken.ts"], /^\.\/broken\.ts does not load: .*\n {2}where {2}file:.*broken\.ts:2:/],
      [[toy, "--out", ""], /^--out: expected a folder, got ""/],
      [[toy, "--out", "broken.ts"], /^Not a directory .*\n {2}fix {4}a part of the path is a file/],
      [[toy, "--name", "x".repeat(300)], /^File name too long .*\n {2}fix {4}choose a shorter name/],
      [[toy, "--batch-size", "100000"], /^batch size: expected 1 to 20, the number of triplets, got 100000/],
    ];
    await Deno.writeTextFile(`${cwd}/broken.ts`, "const a = null as unknown as string;\na.trim();\n");
    for (const [args, message] of cases) {
      const { code, stdout, stderr } = await run("train", args, cwd);
      deepStrictEqual([code, stdout], [2, ""], stderr);
      match(stderr, message);
      ok(!stderr.includes("    at "), stderr);
    }
    // What never began left its name free.
    strictEqual((await run("train", [toy, "--name", "a", "--best-by", "R@7"], cwd)).code, 2);
    strictEqual((await run("train", [toy, "--name", "a"], cwd)).code, 0);
    const other = await run("train", [toy, "--name", "a", "--seed", "2"], cwd);
    strictEqual(other.code, 2);
    match(other.stderr, /run "a" has another configuration: --seed is 1 there, 2 here/);
    match(
      (await run("train", [toy, "--name", "a", "--seed", "2", "--fresh"], cwd)).stdout,
      /run folder: .*\/a-2\n/,
    );
  });
});

/** Reads stderr up to a line that matches. */
async function until(child: Deno.ChildProcess, pattern: RegExp): Promise<string> {
  let text = "";
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  while (!pattern.test(text)) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
  }
  reader.cancel().catch(() => {}); // the child may be gone
  return text;
}

Deno.test("Ctrl-C saves and exits with 130, kill -9 does no harm; meanwhile others are kept out; the same command goes on", async () => {
  await withFolder(async (cwd) => {
    const long = [toy, "--steps", "3000", "--eval-every", "200", "--name", "long"];
    const interrupted = task("train", long, cwd);
    await until(interrupted, /step 200 .*val/);
    const second = await run("train", long, cwd);
    strictEqual(second.code, 2);
    match(second.stderr, /is in use by process/);
    interrupted.kill("SIGINT");
    strictEqual((await interrupted.status).code, 130);
    await interrupted.stdout.cancel();
    const manifest = JSON.parse(await Deno.readTextFile(`${cwd}/runs/toy_experiment/long/run.json`));
    strictEqual(manifest.status, "running");

    const killed = task("train", long, cwd);
    match(await until(killed, /goes on from step \d+[^]*step \d+ .*val/), /goes on from step [1-9]\d+/);
    killed.kill("SIGKILL");
    await killed.status;
    await killed.stdout.cancel();
    const third = task("train", long, cwd);
    match(await until(third, /goes on from step \d+/), /goes on from step [1-9]\d+/);
    third.kill("SIGKILL");
    await third.status;
    await third.stdout.cancel();
  });
});

Deno.test("an experiment's file is a command by itself", async () => {
  await withFolder(async (cwd) => {
    const args = ["run", "--no-npm", "-A", toy, "--batch-sise", "3"];
    const { code, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd, env: { NO_COLOR: "1" } })
      .output();
    strictEqual(code, 2);
    match(new TextDecoder().decode(stderr), /did you mean --batch-size/);
  });
});

Deno.test("CALA_CHECK_FINITE=1 names the first op that is not finite, in training and in evaluation", async () => {
  await withFolder(async (cwd) => {
    const culprit = String
      .raw`the first value that is not finite comes from linear \[\d+, 8\] \[8, 8\] \[8\]`;
    const args = [toy, "--lr", "1e30", "--steps", "40", "--eval-every"], env = { CALA_CHECK_FINITE: "1" };
    const trained = await run("train", [...args, "0"], cwd, env);
    strictEqual(trained.code, 2);
    match(trained.stderr, new RegExp(`^step 2: training step: ${culprit}`, "m"));
    match(trained.stderr, new RegExp(`\\n {2}where {2}steps 2 to 11; training step: ${culprit}`));
    const evaluated = await run("train", [...args, "5"], cwd, env);
    strictEqual(evaluated.code, 2);
    match(evaluated.stderr, new RegExp(`^encode composed queries: ${culprit}`, "m"));
  });
});

Deno.test("CALA_DEBUG=2 shows the training step's kernels by time, beside what the device can do", async () => {
  await withFolder(async (cwd) => {
    const { code, stderr } = await run("train", [toy, "--steps", "4"], cwd, { CALA_DEBUG: "2" });
    strictEqual(code, 0, stderr);
    match(stderr, /^training step: \d+ dispatches, \d+ pipelines, slabs /m);
    match(
      stderr,
      /^\d+ launches, [\d.]+ ms on the GPU; ceilings [\d.]+ GFLOP\/s, [\d.]+ GB\/s\nkernel .* of floor$/m,
    );
    match(stderr, /^adamw\.wgsl\/\w+ .*%$/m);
  });
});
