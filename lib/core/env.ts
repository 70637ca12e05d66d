/** Every `CALA_*` environment variable, in one typed table. `docs/env_vars.md` is the same table for readers. */
import { ConfigError } from "./errors.ts";

interface EnvSpec {
  /** What holds where the variable is unset, empty, or may not be read. */
  readonly default: number | string;
  /** The allowed values of a number; a text has none and may be anything. */
  readonly choices?: readonly number[];
  readonly help: string;
}

/** Name, default, allowed values and meaning of each variable. */
export const envVars = {
  CALA_DEBUG: {
    default: 0,
    choices: [0, 1, 2],
    help:
      "1: a line for each plan (dispatches, pipelines, memory); 2: also time, GFLOP/s and GB/s of each kernel",
  },
  CALA_CHECK_FINITE: {
    default: 0,
    choices: [0, 1],
    help: "1: look for NaN and infinity after each operation and name the first one that makes any (slow)",
  },
  CALA_NO_SETUP: {
    default: 0,
    choices: [0, 1],
    help: "1: never install a driver; print the command instead",
  },
  CALA_CACHE: {
    default: ".cache",
    help:
      "folder of what can be made again (rendered pictures, feature stores), relative to the working directory",
  },
  CALA_COMET_API_KEY: {
    default: "",
    help: "key of Comet, for train --workspace; it is sent to Comet and written nowhere",
  },
  CALA_COMET_URL: {
    default: "https://www.comet.com",
    help: "address of Comet, where it is not the public one",
  },
  CALA_ADAPTER: {
    default: "",
    help: "part of the name of the GPU to prefer, in any case; empty: the fastest one",
  },
} as const satisfies Record<string, EnvSpec>;

export type EnvName = keyof typeof envVars;

/** What a variable holds: one of its choices, or a text. */
export type EnvValue<N extends EnvName> = (typeof envVars)[N] extends { choices: readonly (infer C)[] } ? C
  : string;

/**
 * The value that `text` gives to a variable: its default where `text` is empty or missing.
 *
 * @throws {ConfigError} If the text is none of the variable's choices.
 *
 * @example Usage
 * ```ts
 * if (parseEnv("CALA_DEBUG", "2") !== 2) throw new Error("CALA_DEBUG");
 * if (parseEnv("CALA_CACHE", undefined) !== ".cache") throw new Error("CALA_CACHE");
 * ```
 */
export function parseEnv<N extends EnvName>(name: N, text: string | undefined): EnvValue<N> {
  const spec: EnvSpec = envVars[name];
  if (!text) return spec.default as EnvValue<N>;
  if (!spec.choices) return text as EnvValue<N>;
  const value = spec.choices.find((choice) => String(choice) === text);
  if (value !== undefined) return value as EnvValue<N>;
  throw new ConfigError(`${name}: expected ${spec.choices.join(" or ")}, got "${text}"`, { fix: spec.help });
}

/**
 * The value of a variable. Without permission to read it, its default: a library must not make the runtime ask.
 *
 * @throws {ConfigError} If the variable holds a value that is not allowed.
 */
export function env<N extends EnvName>(name: N): EnvValue<N> {
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  return parseEnv(name, state === "granted" ? Deno.env.get(name) : undefined);
}

/** Looks at all variables before anything is begun. @throws {ConfigError} If one holds a value that is not allowed. */
export function checkEnv(): void {
  for (const name of Object.keys(envVars) as EnvName[]) env(name);
}
