import { ok, strictEqual } from "node:assert/strict";
import { importSharp } from "../../lib/data/sharp.ts";
import { path, run, toy, withFolder } from "./run_task.ts";

/** With npm packages: a report shrinks pictures. */
async function report(args: readonly string[], cwd: string) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", path("deno.json"), path("tasks/report.ts"), ...args],
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

async function chromium(): Promise<string | undefined> {
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    try {
      if ((await new Deno.Command(name, { args: ["--version"] }).output()).success) return name;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}
const browser = await chromium();

Deno.test("report writes one page about a run, and one about two", async (t) => {
  await withFolder(async (cwd) => {
    for (const [name, lr] of [["s1", "0.01"], ["s2", "0.02"]]) {
      const { code, stderr } = await run("train", [toy, "--lr", lr, "--name", name], cwd);
      strictEqual(code, 0, stderr);
    }
    const runs = ["runs/toy_experiment/s1", "runs/toy_experiment/s2"];
    const one = await report([runs[0], "--queries", "12"], cwd);
    strictEqual(one.code, 0, one.stderr);
    const file = `${cwd}/${runs[0]}/report.html`, page = await Deno.readTextFile(file);
    ok(page.includes("toy_experiment/s1 on toy val") && page.includes("picture alone"), page.slice(0, 500));

    const two = await report([...runs, "--out", "both.html"], cwd);
    strictEqual(two.code, 0, two.stderr);
    const both = await Deno.readTextFile(`${cwd}/both.html`);
    ok(both.includes("toy_experiment/s2: composed") && both.includes("Gained"));

    await t.step({
      name: `a browser draws it${browser ? "" : " (skipped: no Chromium found)"}`,
      ignore: !browser,
      async fn() {
        const args = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,2000"];
        const { success, stderr } = await new Deno.Command(browser ?? "", {
          args: [...args, `--screenshot=${cwd}/page.png`, `file://${file}`],
        }).output();
        ok(success, new TextDecoder().decode(stderr));
        const sharp = await importSharp();
        const { channels, entropy } = await sharp(`${cwd}/page.png`).stats();
        ok(channels[0].stdev > 5 && entropy > 0.3, `an empty picture: entropy ${entropy}`);
      },
    });
  });
});

Deno.test("report says what is wrong with its arguments", async () => {
  await withFolder(async (cwd) => {
    const { code, stderr } = await report(["runs/none"], cwd);
    strictEqual(code, 2);
    ok(stderr.includes("runs/none") && !stderr.includes("    at "), stderr);
  });
});
