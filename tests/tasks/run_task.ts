/** Runs tasks as a user does: each in its own process. */
/** A file of the project. */
export const path = (name: string) => new URL(`../../${name}`, import.meta.url).pathname;
/** The experiment that tests train. */
export const toy = path("tests/train/toy_experiment.ts");

/** A task in its own process, in a folder of its own. */
export function task(
  name: string,
  args: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-npm", "-A", path(`tasks/${name}.ts`), ...args],
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs a task to its end. */
export async function run(
  name: string,
  args: readonly string[],
  cwd: string,
  env?: Record<string, string>,
) {
  const { code, stdout, stderr } = await task(name, args, cwd, env).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

export const lastLine = (text: string): string => text.trimEnd().split("\n").at(-1) ?? "";

/** A working directory for a test. */
export async function withFolder(test: (cwd: string) => Promise<void>): Promise<void> {
  const cwd = await Deno.makeTempDir();
  try {
    await test(cwd);
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
}
