/**
 * What all commands share: help, exit codes, Ctrl-C, and where text goes. Results go to stdout, all else to stderr.
 *
 * Exit codes: 0 done; 1 done, and what was checked is not in order; 2 the user's error; 70 ours; 130 interrupted.
 */
import config from "../../deno.json" with { type: "json" };
import { checkEnv } from "./env.ts";
import { asRefusal, ConfigError, formatUserError, isUserError } from "./errors.ts";
import { type FlagSpecs, helpText, type ParsedFlags, parseFlags } from "./flags.ts";

/** What a command takes, for `--help` and for checking. */
export interface CommandSpec<S extends FlagSpecs> {
  /** What follows `deno task`. */
  name: string;
  /** What it does, a sentence a line. */
  summary: string;
  flags: S;
  /** The arguments that are no flags, as help shows them, and how many there may be. Default: none. */
  positionals?: { usage: string; min?: number; max?: number };
}

/**
 * Reads a command's arguments. On `--help` it prints the help and returns `undefined`: the command is done.
 *
 * @throws {ConfigError} If a flag is wrong, or there are too few or too many arguments.
 */
export function parseCommand<S extends FlagSpecs>(
  spec: CommandSpec<S>,
  argv: readonly string[],
): ParsedFlags<S> | undefined {
  const args = parseFlags(spec.flags, argv);
  const { usage, min = 0, max = Infinity } = spec.positionals ?? { usage: "", max: 0 };
  const command = ["deno task", spec.name, usage, "[--flags]"].filter(Boolean).join(" ");
  if (args.help) {
    console.log(`${command}\n\n${spec.summary}\n\n${helpText(spec.flags)}`);
    return undefined;
  }
  const n = args.positionals.length;
  if (n < min) throw new ConfigError(`${spec.name}: ${usage} is missing`, { fix: command });
  if (n > max) {
    throw new ConfigError(`${spec.name}: unexpected argument "${args.positionals[max]}"`, { fix: command });
  }
  return args;
}

/** One object on one line of stdout, for programs. */
export const printJson = (value: unknown): void => console.log(JSON.stringify(value));

/** A line for people on stderr. */
export const note = (text: string): void => console.error(text);

/** How a command is run. */
export interface RunOptions {
  /**
   * The command watches its signal: the first Ctrl-C aborts the signal and the command saves and returns; another,
   * a second or more later, ends it at once. Without it the first one does. (Under `npx` one Ctrl-C arrives twice.)
   */
  savesOnInterrupt?: boolean;
}

/**
 * Runs a command and ends the process with its exit code: what `main` returns (default 0), or by the kind of error.
 *
 * @param main Gets the command line and a signal that is aborted by Ctrl-C.
 */
export async function runCommand(
  main: (argv: readonly string[], interrupted: AbortSignal) => number | void | Promise<number | void>,
  { savesOnInterrupt = false }: RunOptions = {},
): Promise<never> {
  const controller = new AbortController();
  let firstMs = 0;
  Deno.addSignalListener("SIGINT", () => {
    if (!savesOnInterrupt) Deno.exit(130);
    if (!controller.signal.aborted) {
      firstMs = performance.now();
      controller.abort(new DOMException("interrupted", "AbortError"));
    } else if (performance.now() - firstMs >= 1000) Deno.exit(130);
  });
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    Deno.exit(reportError(event.reason));
  });
  let code: number;
  try {
    checkEnv();
    code = await main(Deno.args, controller.signal) ?? 0;
    if (controller.signal.aborted) code = 130;
  } catch (error) {
    code = error === controller.signal.reason && controller.signal.aborted ? 130 : reportError(error);
  }
  Deno.exit(code);
}

/** Prints an error by its kind and gives its exit code: 2 for the user's, 70 for ours. */
function reportError(error: unknown): number {
  const users = isUserError(error) ? error : asRefusal(error);
  if (users) {
    note(formatUserError(users));
    return 2;
  }
  const { deno, v8 } = Deno.version;
  note(Deno.inspect(error));
  note(
    `\nThis is a fault of the CaLa Toolkit, not yours. Please open an issue where you found the toolkit, with the
text above, the command line and this line:
  cala ${config.version}, Deno ${deno}, V8 ${v8}, ${Deno.build.os} ${Deno.build.arch}`,
  );
  return 70;
}
