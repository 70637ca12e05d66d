/** Command-line flags from a table of typed defaults: the tasks and the experiments share this one parser. */
import { parseArgs } from "node:util";
import { ConfigError } from "./errors.ts";
import { nearestName, textTable } from "./format.ts";

/** One flag. The default gives its type. */
export interface FlagSpec<T extends string | number | boolean = string | number | boolean> {
  readonly default: T;
  readonly help: string;
  /** The only values allowed. */
  readonly choices?: readonly (string | number)[];
  /** Whole numbers only. */
  readonly integer?: boolean;
  readonly min?: number;
  readonly max?: number;
  /** Other names on the command line, without the dashes. */
  readonly also?: readonly string[];
  /** Flags, by their name in code, of what this one names: not taken here, but known, so that an error says where. */
  readonly holds?: readonly string[];
  /** Values of other flags that come with a value of this one, unless they are given themselves. */
  readonly sets?: Readonly<Record<string, Readonly<Record<string, string | number | boolean>>>>;
}

/** Flags by their name in code (`tacWeight`); the command line has them in kebab-case (`--tac-weight`). */
export type FlagSpecs = Readonly<Record<string, FlagSpec>>;

type Widen<T> = T extends number ? number : T extends boolean ? boolean : T extends string ? string : never;
/** The values of a table of flags: a flag with choices holds one of them, any other what its default is. */
export type FlagValues<S extends FlagSpecs> = {
  [K in keyof S]: S[K] extends { choices: readonly (infer C)[] } ? C : Widen<S[K]["default"]>;
};

/** What a command line says. */
export interface ParsedFlags<S extends FlagSpecs> {
  values: FlagValues<S>;
  /** What is no flag, in order. */
  positionals: string[];
  /** `--help` or `-h` was given. */
  help: boolean;
  /** The names, as in code, of the flags that the command line set. */
  given: Set<keyof S & string>;
}

type FlagOptions = Omit<FlagSpec, "default" | "help" | "choices">;

/**
 * One flag: its default, which gives its type, its help, and what else is allowed.
 *
 * @example Usage
 * ```ts
 * const config = { seed: flag(42, "seed of every random number", { integer: true, min: 0 }) };
 * const { values } = parseFlags(config, ["--seed", "7"]);
 * if (values.seed !== 7) throw new Error("--seed");
 * ```
 */
export function flag<const C extends string | number>(
  value: NoInfer<C>,
  help: string,
  options: { choices: readonly C[] } & Pick<FlagSpec, "also" | "sets">,
): FlagSpec<C> & { choices: readonly C[] };
/** A number, with its limits. */
export function flag(value: number, help: string, options?: FlagOptions): FlagSpec<number>;
/** A text. */
export function flag(
  value: string,
  help: string,
  options?: Pick<FlagSpec, "also" | "holds">,
): FlagSpec<string>;
/** A switch: `--name` or `--no-name`. */
export function flag(
  value: boolean,
  help: string,
  options?: Pick<FlagSpec, "also" | "sets">,
): FlagSpec<boolean>;
export function flag(
  value: string | number | boolean,
  help: string,
  options: FlagOptions & { choices?: readonly (string | number)[] } = {},
): FlagSpec {
  return { default: value, help, ...options };
}

/** `tacWeight` as `tac-weight`. */
export const kebabCase = (name: string): string => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

/** What a flag takes, for messages: `a whole number of at least 1`, `sum or artemis`. */
function describe(spec: FlagSpec): string {
  if (spec.choices) return spec.choices.join(" or ");
  if (typeof spec.default === "string") return "a text";
  if (typeof spec.default === "boolean") return "true or false";
  const kind = spec.integer ? "a whole number" : "a number";
  if (spec.min !== undefined && spec.max !== undefined) return `${kind} from ${spec.min} to ${spec.max}`;
  if (spec.min !== undefined) return `${kind} of at least ${spec.min}`;
  return spec.max !== undefined ? `${kind} of at most ${spec.max}` : kind;
}

const wrongValue = (name: string, spec: FlagSpec, value: unknown): ConfigError =>
  new ConfigError(`--${name}: expected ${describe(spec)}, got ${JSON.stringify(value)}`, { fix: spec.help });

function isAllowed(spec: FlagSpec, value: unknown): boolean {
  if (spec.choices) return spec.choices.some((choice) => choice === value);
  if (typeof spec.default !== "number") return typeof value === typeof spec.default;
  return typeof value === "number" && Number.isFinite(value) &&
    (!spec.integer || Number.isSafeInteger(value)) &&
    value >= (spec.min ?? -Infinity) && value <= (spec.max ?? Infinity);
}

/**
 * A flag's value from text, as the command line reads it.
 *
 * @param name As on the command line.
 * @throws {ConfigError} If it is not a number, or not one of the choices.
 *
 * @example Usage
 * ```ts
 * const spec = flag("cirr", "data set", { choices: ["cirr", "fashioniq"] });
 * if (parseValue("dataset", spec, "FashionIQ") !== "fashioniq") throw new Error("choices may be written in any case");
 * ```
 */
export function parseValue(name: string, spec: FlagSpec, text: string): string | number {
  const isNumber = typeof spec.default === "number" && text.trim() !== "";
  // Choices may be written in any case: the released code's CIRR and fashionIQ are so.
  const choice = spec.choices?.find((c) => String(c).toLowerCase() === text.toLowerCase());
  const value = choice ?? (isNumber ? Number(text) : text);
  if (isAllowed(spec, value)) return value;
  throw wrongValue(name, spec, text);
}

/**
 * The values of flags with those that others bring along: `--preset paper` its learning rate.
 *
 * @param given Those that were chosen; all others are at their defaults.
 *
 * @example Usage
 * ```ts
 * const specs = {
 *   lr: flag(5e-6, "learning rate"),
 *   preset: flag("readme", "whose settings", { choices: ["readme", "paper"], sets: { paper: { lr: 1e-5 } } }),
 * };
 * if (withDefaults(specs, { preset: "paper" }).lr !== 1e-5) throw new Error("a preset");
 * if (withDefaults(specs, { preset: "paper", lr: 1 }).lr !== 1) throw new Error("what is given holds");
 * ```
 */
export function withDefaults(
  specs: FlagSpecs,
  given: Readonly<Record<string, string | number | boolean>>,
): Record<string, string | number | boolean> {
  const values = Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, spec.default]));
  for (const [name, { sets }] of Object.entries(specs)) {
    Object.assign(values, sets?.[String(given[name] ?? values[name])]);
  }
  for (const name of Object.keys(specs)) values[name] = given[name] ?? values[name];
  return values;
}

/**
 * Checks values that a file gives to flags, by the rules of a command line.
 *
 * @param values By the flags' names in code.
 * @throws {ConfigError} If a flag is unknown (it names the nearest), or its value is not allowed.
 *
 * @example Usage
 * ```ts
 * const specs = { frame: flag("sum", "how to combine", { choices: ["sum", "artemis"] }) };
 * checkFlagValues(specs, { frame: "artemis" });
 * try {
 *   checkFlagValues(specs, { frame: "artemsi" });
 * } catch (error) {
 *   if (!String(error).includes('--frame: expected sum or artemis, got "artemsi"')) throw error;
 * }
 * ```
 */
export function checkFlagValues(specs: FlagSpecs, values: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!Object.hasOwn(specs, name)) {
      throw unknownFlag(`--${kebabCase(name)}`, Object.keys(specs).map(kebabCase));
    }
    if (!isAllowed(specs[name], value)) throw wrongValue(kebabCase(name), specs[name], value);
  }
}

/**
 * Reads a command line. `--name VALUE` and `--name=VALUE`; a boolean is `--name` or `--no-name`; the last one
 * holds; after `--` nothing is a flag.
 *
 * @param specs The flags by their name in code.
 * @param argv The arguments, without the program.
 * @throws {ConfigError} If a flag is unknown (it names the nearest), lacks its value, or the value is not allowed.
 *
 * @example Usage
 * ```ts
 * const specs = { frame: flag("sum", "how to combine", { choices: ["sum", "artemis"] }), fresh: flag(false, "start anew") };
 * const { values, positionals, given } = parseFlags(specs, ["demo", "--frame", "artemis", "--fresh"]);
 * if (values.frame !== "artemis" || !values.fresh || positionals[0] !== "demo" || given.size !== 2) throw new Error();
 * ```
 */
export function parseFlags<S extends FlagSpecs>(specs: S, argv: readonly string[]): ParsedFlags<S> {
  const byFlag = new Map(
    Object.entries(specs).flatMap(([name, { also = [] }]) =>
      [kebabCase(name), ...also].map((text) => [text, name])
    ),
  );
  const options: Record<string, { type: "string" | "boolean"; short?: string }> = {
    help: { type: "boolean", short: "h" },
  };
  for (const [text, name] of byFlag) {
    const isBoolean = typeof specs[name].default === "boolean";
    options[text] = { type: isBoolean ? "boolean" : "string" };
    if (isBoolean) options[`no-${text}`] = { type: "boolean" };
  }
  // Not strict: its messages know neither our nearest name nor what is allowed, and it refuses "--lr -1".
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });

  const values: Record<string, string | number | boolean> = {};
  const parsed = {
    positionals: [] as string[],
    help: false,
    given: new Set<keyof S & string>(),
  };
  for (const token of tokens) {
    if (token.kind === "positional") parsed.positionals.push(token.value);
    if (token.kind !== "option") continue;
    if (!Object.hasOwn(options, token.name)) throw unknownFlag(token.rawName, Object.keys(options), specs);
    if (options[token.name].type === "boolean" && token.value !== undefined) {
      throw new ConfigError(`--${token.name} takes no value, got "${token.value}"`, {
        fix: token.name === "help"
          ? undefined
          : `pass --${token.name.replace(/^no-/, "")} or --no-${token.name.replace(/^no-/, "")}`,
      });
    }
    if (token.name === "help") {
      parsed.help = true;
      continue;
    }
    const isOff = !byFlag.has(token.name);
    const name = byFlag.get(isOff ? token.name.slice("no-".length) : token.name) as string; // every option but help has one
    const spec = specs[name];
    if (typeof spec.default === "boolean") values[name] = !isOff;
    else if (token.value === undefined || (!token.inlineValue && token.value.startsWith("--"))) {
      throw new ConfigError(`--${token.name}: its value is missing: expected ${describe(spec)}`, {
        fix: spec.help,
      });
    } else values[name] = parseValue(token.name, spec, token.value);
    parsed.given.add(name);
  }
  return { ...parsed, values: withDefaults(specs, values) as FlagValues<S> };
}

/** The value of one flag, where it decides which others there are. Those are not looked at. */
export function valueOf(name: string, spec: FlagSpec<string>, argv: readonly string[]): string {
  const flagName = kebabCase(name);
  const { tokens } = parseArgs({
    args: [...argv],
    options: { [flagName]: { type: "string" } },
    strict: false,
    tokens: true,
  });
  const own = tokens.flatMap((token) =>
    token.kind === "option" && token.name === flagName ? [`--${flagName}`, token.value ?? []].flat() : []
  );
  return parseFlags({ [name]: spec }, own).values[name];
}

function unknownFlag(rawName: string, known: readonly string[], specs: FlagSpecs = {}): ConfigError {
  const own = rawName.replace(/^-+(no-)?/, "");
  const holder = Object.keys(specs).find((name) =>
    specs[name].holds?.some((held) => kebabCase(held) === own)
  );
  const message = `${rawName} belongs to what --${kebabCase(holder ?? "")} names`;
  if (holder) return new ConfigError(message, { fix: specs[holder].help });
  const near = nearestName(rawName.replace(/^-+/, ""), known);
  return new ConfigError(`unknown flag ${rawName}`, {
    fix: near ? `did you mean --${near}? --help lists all flags` : "--help lists all flags",
  });
}

/** The flags as lines of help: name, what it takes, meaning, default. */
export function helpText(specs: FlagSpecs): string {
  const rows = Object.entries(specs).map(([name, spec]) => {
    const flagName = [kebabCase(name), ...spec.also ?? []].join(", --");
    if (typeof spec.default === "boolean") {
      return [
        `  --${spec.default ? "no-" : ""}${flagName}`,
        `${spec.help} (default ${spec.default ? "on" : "off"})`,
      ];
    }
    const takes = spec.choices ? spec.choices.join("|") : typeof spec.default === "string" ? "TEXT" : "N";
    return [
      `  --${flagName} ${takes}`,
      spec.default === "" ? spec.help : `${spec.help} (default ${spec.default})`,
    ];
  });
  return textTable([...rows, ["  --help", "this text"]]);
}
