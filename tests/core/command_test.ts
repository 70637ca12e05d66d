import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { flag } from "../../lib/core/flags.ts";
import { parseCommand } from "../../lib/core/command.ts";

const imports = ["lib/core/command.ts", "lib/core/errors.ts"].map((path) =>
  new URL(`../../${path}`, import.meta.url).href
);

/** A command in its own process, from the body of its `main`. */
function command(body: string, options = "{}", env: Record<string, string> = {}): Deno.ChildProcess {
  const code = `import { note, parseCommand, printJson, runCommand } from "${imports[0]}";
    import { ConfigError } from "${imports[1]}";
    await runCommand(async (argv, interrupted) => { ${body} }, ${options});`;
  const url = `data:application/javascript,${encodeURIComponent(code)}`;
  const args = ["run", "--no-npm", "--no-lock", "-A", url];
  return new Deno.Command(Deno.execPath(), {
    args,
    env: { NO_COLOR: "1", ...env },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function run(body: string, options?: string, env?: Record<string, string>) {
  const { code, stdout, stderr } = await command(body, options, env).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("runCommand() ends with 0 or with what the command returns; results on stdout, notes on stderr", async () => {
  deepStrictEqual(await run(`printJson({ a: [1] }); note("done");`), {
    code: 0,
    stdout: '{"a":[1]}\n',
    stderr: "done\n",
  });
  strictEqual((await run("return 1;")).code, 1);
});

Deno.test("runCommand() prints the user's errors without a stack and ends with 2", async () => {
  const { code, stdout, stderr } = await run(
    `throw new ConfigError("--seed: bad", { where: "here", fix: "pass --seed 1" });`,
  );
  deepStrictEqual([code, stdout, stderr], [2, "", "--seed: bad\n  where  here\n  fix    pass --seed 1\n"]);
});

Deno.test("runCommand() takes a refusal of the operating system for the user's", async () => {
  const { code, stderr } = await run(`await Deno.mkdir(Deno.execPath() + "/runs");`);
  strictEqual(code, 2);
  ok(/^Not a directory .*\/runs'\n {2}fix {4}a part of the path is a file/.test(stderr), stderr);
});

Deno.test("runCommand() looks at CALA_* before anything is begun", async () => {
  const { code, stdout, stderr } = await run(`console.log("begun");`, "{}", { CALA_DEBUG: "3" });
  deepStrictEqual([code, stdout], [2, ""]);
  ok(/^CALA_DEBUG: expected 0 or 1 or 2, got "3"\n/.test(stderr), stderr);
});

Deno.test("runCommand() prints our errors with stack and versions and ends with 70", async () => {
  for (
    const body of [
      `throw new TypeError("oops");`,
      `Promise.reject(new TypeError("oops")); await new Promise(() => setTimeout(() => {}, 9e3));`,
    ]
  ) {
    const { code, stdout, stderr } = await run(body);
    deepStrictEqual([code, stdout], [70, ""], stderr);
    ok(/TypeError: oops\n +at /.test(stderr), stderr);
    ok(stderr.includes(`Deno ${Deno.version.deno}, V8`), stderr);
  }
});

/** Waits for the child's first line, so that its signal listener stands. */
async function ready(child: Deno.ChildProcess): Promise<void> {
  const reader = child.stdout.getReader();
  await reader.read();
  reader.releaseLock();
}
const never = `console.log("ready"); setInterval(() => {}, 1000); await new Promise(() => {});`;

Deno.test({
  name: "runCommand() ends with 130 at Ctrl-C, at once where nothing is to be saved",
  ignore: Deno.build.os === "windows", // has no signals to send
  fn: async () => {
    await using child = command(never);
    await ready(child);
    child.kill("SIGINT");
    strictEqual((await child.status).code, 130);
    await child.stdout.cancel();
    await child.stderr.cancel();
  },
});

Deno.test({
  name: "runCommand() lets a command save; interrupts within a second count as one, a later one ends it",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const saving = `console.log("ready"); const timer = setInterval(() => {}, 1000);
      await new Promise((resolve) => interrupted.addEventListener("abort", () => setTimeout(resolve, 300)));
      clearInterval(timer); note("saved");`;
    await using child = command(saving, "{ savesOnInterrupt: true }");
    await ready(child);
    child.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 100));
    child.kill("SIGINT"); // npx sends it twice
    const [status, stderr] = await Promise.all([child.status, new Response(child.stderr).text()]);
    deepStrictEqual([status.code, stderr], [130, "saved\n"]);
    await child.stdout.cancel();

    await using stuck = command(never, "{ savesOnInterrupt: true }");
    await ready(stuck);
    stuck.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 1300));
    stuck.kill("SIGINT");
    strictEqual((await stuck.status).code, 130);
    await stuck.stdout.cancel();
    await stuck.stderr.cancel();
  },
});

Deno.test("parseCommand() prints help, made from the flags, and checks the number of arguments", () => {
  const flags = {
    fileName: flag("", "where it goes"),
    size: flag(32, "pixels", { integer: true, min: 1 }),
    json: flag(false, "for programs"),
  };
  const spec = { name: "bench", summary: "Measures.", flags, positionals: { usage: "DIR", min: 1, max: 1 } };
  const lines: string[] = [], log = console.log;
  console.log = (line: string) => lines.push(line);
  try {
    strictEqual(parseCommand(spec, ["--help", "--size", "8"]), undefined);
  } finally {
    console.log = log;
  }
  strictEqual(
    lines.join("\n"),
    `deno task bench DIR [--flags]

Measures.

  --file-name TEXT  where it goes
  --size N          pixels (default 32)
  --json            for programs (default off)
  --help            this text`,
  );
  strictEqual(parseCommand(spec, ["x", "--size", "8"])?.values.size, 8);
  throws(() => parseCommand(spec, []), { message: "bench: DIR is missing" });
  throws(() => parseCommand(spec, ["x", "y"]), { message: 'bench: unexpected argument "y"' });
  throws(() => parseCommand({ ...spec, positionals: undefined }, ["z"]), {
    message: 'bench: unexpected argument "z"',
  });
});
