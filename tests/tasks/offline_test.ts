import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { path, toy, withFolder } from "./run_task.ts";

/** A task as on a machine that can install nothing: Deno alone, its cache empty, no registry, no network, FFI or subprocess. */
async function run(name: string, args: readonly string[], cwd: string) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-npm",
      "--no-remote",
      "--no-prompt",
      "--allow-read",
      "--allow-write",
      "--allow-env",
      "--allow-sys",
      path(`tasks/${name}.ts`),
      ...args,
    ],
    cwd,
    env: { NO_COLOR: "1", DENO_DIR: `${cwd}/deno`, NPM_CONFIG_REGISTRY: "http://127.0.0.1:9" },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

Deno.test("train, eval, tables, parity and doctor need Deno alone", async () => {
  await withFolder(async (cwd) => {
    const trained = await run("train", [toy, "--name", "a", "--json"], cwd);
    strictEqual(trained.code, 0, trained.stderr);
    const evaluated = await run("eval", ["runs/toy_experiment/a", "--json"], cwd);
    strictEqual(evaluated.code, 0, evaluated.stderr);
    const lastOf = (text: string) => JSON.parse(text.trimEnd().split("\n").at(-1) ?? "");
    deepStrictEqual(lastOf(evaluated.stdout), lastOf(trained.stdout));

    const tables = await run("tables", ["runs/toy_experiment/a", "--json"], cwd);
    strictEqual(tables.code, 0, tables.stderr);
    strictEqual(lastOf(tables.stdout).rows.length, 8);

    await Deno.mkdir(`${cwd}/cases`);
    await Deno.copyFile(path("tests/oracle/softmax_plain.safetensors"), `${cwd}/cases/softmax.safetensors`);
    const parity = await run("parity", ["cases"], cwd);
    strictEqual(parity.code, 0, parity.stderr + parity.stdout);
    match(parity.stdout, /\n1 passed, 0 failed, 0 skipped\n$/);

    const doctor = await run("doctor", ["--json"], cwd);
    strictEqual(doctor.code, 0, doctor.stderr);
    strictEqual(lastOf(doctor.stdout).ok, true);
  });
});
