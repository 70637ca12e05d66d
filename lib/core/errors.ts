/** Errors by meaning. All four are the user's: printed without a stack, exit code 2. Any other error is ours. */

/** Where it went wrong and what to do about it: the second and third line of the message. */
export interface ErrorDetails {
  /** File and place, key, module path or kernel. */
  where?: string;
  /** What the user can do. */
  fix?: string;
  cause?: unknown;
}

/** Shapes or dtypes that do not fit together. The first line holds the received shapes. */
export class ShapeError extends TypeError {
  where?: string;
  fix?: string;
  constructor(message: string, { where, fix, cause }: ErrorDetails = {}) {
    super(message, { cause });
    this.name = "ShapeError";
    this.where = where;
    this.fix = fix;
  }
}

/** A value that is not allowed: a flag, an option, a size. */
export class ConfigError extends RangeError {
  where?: string;
  fix?: string;
  constructor(message: string, { where, fix, cause }: ErrorDetails = {}) {
    super(message, { cause });
    this.name = "ConfigError";
    this.where = where;
    this.fix = fix;
  }
}

/** A file that is corrupt, truncated, or of another format. */
export class DataError extends SyntaxError {
  where?: string;
  fix?: string;
  constructor(message: string, { where, fix, cause }: ErrorDetails = {}) {
    super(message, { cause });
    this.name = "DataError";
    this.where = where;
    this.fix = fix;
  }
}

/** The GPU or its driver: no adapter, limits, a kernel that does not compile, out of memory, device lost. */
export class GpuError extends Error {
  where?: string;
  fix?: string;
  constructor(message: string, { where, fix, cause }: ErrorDetails = {}) {
    super(message, { cause });
    this.name = "GpuError";
    this.where = where;
    this.fix = fix;
  }
}

/** The user's errors: those that are printed without a stack. */
export type UserError = ShapeError | ConfigError | DataError | GpuError;

/** True for the four classes of this file. */
export const isUserError = (error: unknown): error is UserError =>
  error instanceof ShapeError || error instanceof ConfigError || error instanceof DataError ||
  error instanceof GpuError;

/** What to do about a refusal of the operating system, by its code. */
const REFUSALS: Readonly<Record<string, string>> = {
  EACCES: "name a folder that you may use",
  EPERM: "name a folder that you may use",
  EROFS: "name a folder that can be written",
  ENOSPC: "free some space, or name a folder on another disk",
  EDQUOT: "free some space, or name a folder on another disk",
  EFBIG: "name a folder on a file system that takes larger files",
  ENOTDIR: "a part of the path is a file: name another",
  EISDIR: "the path is a folder where a file is expected: name another",
  ENAMETOOLONG: "choose a shorter name",
  ELOOP: "the path goes through links in a circle: name another",
  EMFILE: "allow more open files: ulimit -n",
  ENOENT: "it may have been moved or deleted while the command ran; start the command again",
  EIO: "the disk failed: look after it, then start the command again",
};

/**
 * A refusal of the operating system or of Deno's permissions as an error of the user's: a full or read-only disk, a path
 * that cannot be. Nothing for any other error.
 *
 * @example Usage
 * ```ts
 * const refusal = await Deno.readTextFile("no/such/file").then(() => undefined, asRefusal);
 * if (!refusal?.message.startsWith("No such file")) throw new Error("asRefusal");
 * ```
 */
export function asRefusal(error: unknown): UserError | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error instanceof Deno.errors.NotCapable) return new ConfigError(error.message, { cause: error });
  const fix = "code" in error && typeof error.code === "string" ? REFUSALS[error.code] : undefined;
  return fix === undefined ? undefined : new ConfigError(error.message, { fix, cause: error });
}

/**
 * An error as text: message, `where`, `fix`, aligned.
 *
 * @example Usage
 * ```ts
 * const text = formatUserError(new ConfigError("--seed: expected an integer, got \"x\"", { fix: "pass --seed 42" }));
 * if (text !== '--seed: expected an integer, got "x"\n  fix    pass --seed 42') throw new Error(text);
 * ```
 */
export function formatUserError(error: UserError): string {
  const lines = [error.message];
  const add = (label: string, text?: string) => {
    if (text) lines.push(`  ${label.padEnd(5)}  ${text.replaceAll("\n", "\n         ")}`);
  };
  add("where", error.where);
  add("fix", error.fix);
  return lines.join("\n");
}
