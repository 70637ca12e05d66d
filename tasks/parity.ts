/** `deno task parity DIR... [--skip a,b]`: compares every operation with values computed by PyTorch. */
import { type CommandSpec, parseCommand, runCommand } from "../lib/core/command.ts";
import { ConfigError } from "../lib/core/errors.ts";
import { flag } from "../lib/core/flags.ts";
import { openDevice } from "../lib/gpu/device.ts";
import { runCase, showOutcome } from "./parity/run.ts";

const flags = { skip: flag("", "operations to leave out, by name, separated by commas") };

const spec: CommandSpec<typeof flags> = {
  name: "parity",
  summary: "Compares every operation with values computed by PyTorch: one line a case, then the counts.\n" +
    "An operation that is not known, and a gradient where PyTorch has none, are failures. Exit 1 on any failure.",
  flags,
  positionals: { usage: "DIR...", min: 1 },
};

/** The case files under folders, sorted within each. @throws {ConfigError} If a folder is missing. */
async function caseFiles(folders: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const folder of folders) {
    const own: string[] = [];
    try {
      for await (const entry of Deno.readDir(folder)) {
        if (entry.isFile && entry.name.endsWith(".safetensors")) {
          own.push(`${folder.replace(/\/$/, "")}/${entry.name}`);
        } else if (entry.isDirectory) {
          own.push(...await caseFiles([`${folder.replace(/\/$/, "")}/${entry.name}`]));
        }
      }
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) throw new ConfigError(`no folder "${folder}"`, { cause });
      throw cause;
    }
    files.push(...own.sort());
  }
  return files;
}

async function main(argv: readonly string[], interrupted: AbortSignal): Promise<number> {
  const args = parseCommand(spec, argv);
  if (!args) return 0;
  const skip = new Set(args.values.skip.split(",").map((op) => op.trim()).filter(Boolean));
  const paths = await caseFiles(args.positionals);
  if (paths.length === 0) throw new ConfigError(`no *.safetensors under ${args.positionals.join(", ")}`);
  using gpu = await openDevice();
  const counts = { ok: 0, FAIL: 0, skip: 0 }, unused = new Set(skip);
  for (const path of paths) {
    interrupted.throwIfAborted();
    const outcome = await runCase(gpu, path, skip);
    counts[outcome.status]++;
    unused.delete(outcome.op);
    console.log(showOutcome(outcome));
  }
  if (unused.size > 0) console.error(`--skip: no case has the operation ${[...unused].join(", ")}`);
  console.log(`${counts.ok} passed, ${counts.FAIL} failed, ${counts.skip} skipped`);
  return counts.FAIL > 0 ? 1 : 0;
}

if (import.meta.main) await runCommand(main);
