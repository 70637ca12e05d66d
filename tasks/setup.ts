/** Makes sure that there is a GPU adapter: where none is found it installs Mesa's software driver. */
import { note, parseCommand, runCommand } from "../lib/core/command.ts";
import { env } from "../lib/core/env.ts";
import { GpuError } from "../lib/core/errors.ts";
import { leaveOutOpenGl } from "../lib/gpu/device.ts";
import { decide, type Decision, type Machine, type Recipe, showStep, type Step } from "./software_driver.ts";

const spec = {
  name: "setup",
  summary:
    `Looks for a GPU adapter. Where there is none it installs Mesa's software Vulkan driver on Debian and Ubuntu,
as root or by sudo; elsewhere it prints what to install. With an adapter it does nothing.
CALA_NO_SETUP=1: print the commands, install nothing.`,
  flags: {},
};

async function setup(argv: readonly string[]): Promise<void> {
  if (!parseCommand(spec, argv)) return;
  if (!navigator.gpu) {
    const fix = "npx -y deno@2.9.6 task setup";
    throw new GpuError(`this Deno has no WebGPU: it is ${Deno.version.deno}, needed 2.9.6`, { fix });
  }
  leaveOutOpenGl(); // and for the probe, which inherits the variable
  if (await navigator.gpu.requestAdapter()) return;
  const decision = decide(await inspectMachine());
  if (decision.kind === "manual") {
    throw new GpuError(`no GPU adapter was found, and ${decision.why}`, { fix: decision.fix });
  }
  await install(decision);
}

async function install({ asksFirst, recipes }: Extract<Decision, { kind: "install" }>): Promise<void> {
  const commands = recipes[0].steps.map(showStep);
  const verb = asksFirst ? "This installs" : "Installing";
  note(`No GPU adapter was found. ${verb} Mesa's software Vulkan driver (CALA_NO_SETUP=1 prevents it):
  ${commands.join("\n  ")}`);
  if (asksFirst && !await agrees()) {
    throw new GpuError("no GPU adapter was found", { fix: commands.join("\n") });
  }
  const failures: string[] = [];
  let isDone = false;
  for (const recipe of recipes) {
    if (failures.length > 0) note(`That failed. Trying:\n  ${recipe.steps.map(showStep).join("\n  ")}`);
    isDone = await runRecipe(recipe, failures);
    if (isDone) break;
  }
  if (!isDone) {
    throw new GpuError("the software Vulkan driver could not be installed", {
      where: failures.join("\n"),
      fix: commands.join("\n"),
    });
  }
  const name = await probeInFreshProcess();
  if (!name) {
    throw new GpuError("the software Vulkan driver is installed, but there is still no GPU adapter", {
      fix:
        'run "deno task doctor"; VK_DRIVER_FILES, VK_ICD_FILENAMES and DENO_WEBGPU_BACKEND can hide a driver',
    });
  }
  note(`Found: ${name}`);
}

/** Asks on the terminal; Enter is yes. On stderr: stdout belongs to the command that setup prepares. */
async function agrees(): Promise<boolean> {
  Deno.stderr.writeSync(new TextEncoder().encode("Go ahead? [Y/n] "));
  const buffer = new Uint8Array(1024);
  const n = await Deno.stdin.read(buffer); // not readSync: Ctrl-C would not end it
  if (n === null) return false; // end of input is not Enter
  return /^(y|yes)?$/i.test(new TextDecoder().decode(buffer.subarray(0, n)).trim());
}

/** Runs the steps; after a failure takes them back, adds what was said to `failures`, and gives false. */
async function runRecipe({ steps, undo }: Recipe, failures: string[]): Promise<boolean> {
  for (const step of steps) {
    const failure = await runStep(step);
    if (failure === undefined) continue;
    failures.push(`${showStep(step)}\n${failure}`);
    for (const back of undo) await runStep(back);
    return false;
  }
  return true;
}

/** Runs a command; `undefined` where it worked, else the end of what it printed. */
async function runStep({ argv: [program, ...args], stdin }: Step): Promise<string | undefined> {
  try {
    const pipe = stdin === undefined ? "null" : "piped";
    const child = new Deno.Command(program, { args, stdin: pipe, stdout: "piped", stderr: "piped" }).spawn();
    if (stdin !== undefined) {
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(stdin));
      await writer.close();
    }
    const { success, stdout, stderr } = await child.output();
    const text = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("").trim();
    return success ? undefined : text.split("\n").slice(-12).join("\n");
  } catch (error) { // no such program, or a pipe closed early
    return String(error);
  }
}

/** The adapter that a new process finds: this one keeps the loader's first answer. */
async function probeInFreshProcess(): Promise<string | undefined> {
  const code =
    `const a = await navigator.gpu?.requestAdapter(); if (a) console.log(a.info.description || a.info.vendor || "?")`;
  const args = ["eval", "--no-config", code];
  const { stdout } = await new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "null" })
    .output();
  return new TextDecoder().decode(stdout).trim() || undefined;
}

async function inspectMachine(): Promise<Machine> {
  const isLinux = Deno.build.os === "linux";
  const isRoot = Deno.uid() === 0;
  return {
    os: Deno.build.os,
    osRelease: isLinux ? await readText("/etc/os-release") : "",
    aptSources: isLinux ? await readAptSources() : [],
    isRoot,
    canSudo: isLinux && !isRoot && await runStep({ argv: ["sudo", "-n", "true"] }) === undefined,
    isTerminal: Deno.stdin.isTerminal() && Deno.stderr.isTerminal(),
    noSetup: env("CALA_NO_SETUP") === 1,
  };
}

async function readAptSources(): Promise<string[]> {
  const paths = ["/etc/apt/sources.list"];
  try {
    for await (const { name } of Deno.readDir("/etc/apt/sources.list.d")) {
      if (/\.(list|sources)$/.test(name)) paths.push(`/etc/apt/sources.list.d/${name}`);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return await Promise.all(paths.sort().map(readText));
}

/** A file's text; empty where there is no such file. */
async function readText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

if (import.meta.main) await runCommand(setup);
