/** The tasks have the permissions that they need, by explicit flags, and no other. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import config from "../../deno.json" with { type: "json" };
import { toy, withFolder } from "./run_task.ts";

/**
 * What each task may do besides reading files and variables. FFI is for npm packages with native code (sharp,
 * onnxruntime), `sys` for what the GPU's driver and the machine are called.
 */
const NEEDS: Record<string, readonly string[]> = {
  setup: ["sys=uid", "run"], // installs a driver by the system's package manager
  doctor: ["sys", "ffi"],
  train: ["write", "sys", "ffi", "run=git", "net=www.comet.com"], // the network with --workspace only
  eval: ["write", "sys", "ffi"],
  submit: ["write", "sys", "ffi"],
  embed: ["write", "sys", "ffi"],
  data: ["sys", "ffi"],
  tables: [],
  reproduce: ["write", "sys", "ffi", "run=git"],
  curves: ["write", "sys", "ffi"],
  report: ["write", "sys", "ffi"],
  bench: ["write", "sys", "ffi", "run"], // the backbones', with --vision only
  features: ["write", "sys", "ffi", "run"], // installs the frozen backbones' packages when first needed
  convert: ["write"],
  parity: ["write", "sys", "ffi", "run"], // the frozen backbones' packages are installed when first needed
  test: ["write", "sys", "ffi", "run", "net=127.0.0.1"],
};
/** Tasks that only call others. */
const COMPOSED = ["ok"];

Deno.test("deno.json gives each task what it needs by explicit flags, and nothing else", () => {
  const commands = Object.entries(config.tasks).filter(([name]) => !COMPOSED.includes(name));
  deepStrictEqual(commands.map(([name]) => name).sort(), Object.keys(NEEDS).sort());
  for (const [name, { command }] of commands) {
    ok(!/(^|\s)(-A|--allow-all)\b/.test(command), `${name}: all permissions`);
    match(command, /^(DENO_JOBS=2 )?deno (run|test) /);
    const given = [...command.matchAll(/--allow-([a-z]+)(=\S+)?/g)].map(([, kind, only = ""]) => kind + only);
    deepStrictEqual(given.sort(), ["read", "env", ...NEEDS[name]].sort(), name);
  }
});

Deno.test("what has no need of an npm package does not look for one", () => {
  const withoutNpm = Object.entries(config.tasks).flatMap(([name, { command }]) =>
    command.includes("--no-npm") ? [name] : []
  );
  deepStrictEqual(withoutNpm.sort(), ["bench", "convert", "setup"]);
});

Deno.test("training asks for no permission beyond files and our own variables", async () => {
  await withFolder(async (cwd) => {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-npm",
        "--no-prompt",
        "--allow-read",
        "--allow-write",
        "--allow-env=CALA_*",
        "--deny-net",
        "--deny-ffi",
        "--deny-run",
        "--deny-sys",
        toy,
      ],
      cwd,
      env: { NO_COLOR: "1" },
    }).output();
    strictEqual(code, 0, new TextDecoder().decode(stderr));
    ok((await Deno.stat(`${cwd}/runs/toy_experiment`)).isDirectory);
  });
});
