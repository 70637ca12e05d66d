/** Annotation files: JSON in which every value knows its file, entry and key, so that an error can say where it is. */
import { basename } from "node:path";
import { DataError } from "../core/errors.ts";
import { nearestName } from "../core/format.ts";
import { isJsonObject, JsonKeyError, type JsonPath, keyPlaces, valuePlaces } from "../io/json_keys.ts";

/** What is wrong in an annotation file, and where. */
export class AnnotationError extends DataError {
  /**
   * @param file The file's path.
   * @param place Keys and positions that lead to the value.
   * @param line From 1.
   */
  constructor(
    message: string,
    readonly file: string,
    readonly place: JsonPath,
    readonly line: number,
    fix?: string,
  ) {
    super(message, { where: `${file}, line ${line}`, fix });
    this.name = "AnnotationError";
  }
}

/** `["splits", "val", 3, "group", 1]` as `"splits.val", entry 3, "group[1]"`. */
function placeText(place: JsonPath): string {
  const keys = (parts: JsonPath) =>
    parts.map((part, i) => typeof part === "number" ? `[${part}]` : `${i > 0 ? "." : ""}${part}`).join("");
  const quoted = (parts: JsonPath) => parts.length > 0 ? [`"${keys(parts)}"`] : [];
  const entry = place.findIndex((part) => typeof part === "number");
  if (entry < 0) return quoted(place).join("");
  return [...quoted(place.slice(0, entry)), `entry ${place[entry]}`, ...quoted(place.slice(entry + 1))].join(
    ", ",
  );
}

/** A value as an error shows it. */
function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

/** One JSON file. */
export class AnnotationFile {
  /** File name, as errors begin. */
  readonly name: string;
  readonly root: Annotation;
  #places?: ReadonlyMap<string, number>;

  private constructor(readonly path: string, readonly text: string, value: unknown) {
    this.name = basename(path);
    this.root = new Annotation(this, [], value);
  }

  /**
   * Reads a file.
   *
   * @throws {DataError} If it is not there, not UTF-8, not JSON, or an object in it has a key twice.
   */
  static async read(path: string): Promise<AnnotationFile> {
    const name = basename(path);
    const broken = (message: string, where = path, cause?: unknown) =>
      new DataError(`${name}: ${message}`, {
        where,
        fix: "the file looks cut short or edited: get it anew",
        cause,
      });
    let bytes: Uint8Array;
    try {
      bytes = await Deno.readFile(path);
    } catch (cause) {
      if (!(cause instanceof Deno.errors.NotFound)) throw cause;
      throw new DataError(`${name}: no such file`, {
        where: path,
        fix: "put it there, or take the other files of its split away",
        cause,
      });
    }
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch (cause) {
      throw broken("not UTF-8", path, cause);
    }
    try {
      const value: unknown = JSON.parse(text);
      if (isJsonObject(value)) keyPlaces(text); // a list's entries have known keys; an object's are data
      return new AnnotationFile(path, text, value);
    } catch (cause) {
      if (cause instanceof JsonKeyError) {
        throw broken(cause.message, `${path}, line ${lineAt(text, cause.index)}`, cause);
      }
      if (!(cause instanceof SyntaxError)) throw cause;
      throw broken(`not JSON: ${cause.message}`, path, cause);
    }
  }

  /** An error about the value at `place`. */
  error(place: JsonPath, message: string, fix?: string): AnnotationError {
    this.#places ??= valuePlaces(this.text);
    const line = lineAt(this.text, this.#places.get(JSON.stringify(place)) ?? 0);
    const at = placeText(place);
    return new AnnotationError(`${this.name}: ${at}${at ? " " : ""}${message}`, this.path, place, line, fix);
  }
}

function lineAt(text: string, index: number): number {
  let line = 1;
  for (let i = text.indexOf("\n"); i >= 0 && i < index; i = text.indexOf("\n", i + 1)) line++;
  return line;
}

/** A value of an annotation file. Each method checks what it gives, and throws an `AnnotationError` otherwise. */
export class Annotation {
  constructor(readonly file: AnnotationFile, readonly place: JsonPath, readonly value: unknown) {}

  /** An error about this value: `message` follows its place. */
  error(message: string, fix?: string): AnnotationError {
    return this.file.error(this.place, message, fix);
  }
  /** File and entry. */
  get where(): string {
    return `${this.file.name}, ${placeText(this.place)}`;
  }
  #expected(what: string, fix?: string): AnnotationError {
    return this.error(`is ${shown(this.value)}, expected ${what}`, fix);
  }
  #object(): Record<string, unknown> {
    if (!isJsonObject(this.value)) throw this.#expected("an object {...}");
    return this.value;
  }

  /** The value of a key that must be there. */
  key(name: string): Annotation {
    const value = this.optional(name);
    if (value) return value;
    const keys = Object.keys(this.#object()), near = nearestName(name, keys);
    throw this.error(
      `has no "${name}"`,
      near ? `"${near}" may be meant` : `its keys: ${keys.join(", ") || "none"}`,
    );
  }
  /** The value of a key that may be missing. */
  optional(name: string): Annotation | undefined {
    const object = this.#object();
    return Object.hasOwn(object, name)
      ? new Annotation(this.file, [...this.place, name], object[name])
      : undefined;
  }
  /** Fails if there is another key. */
  allowKeys(names: readonly string[]): void {
    for (const key of Object.keys(this.#object())) {
      if (names.includes(key)) continue;
      const near = nearestName(key, names);
      throw this.error(
        `has an unknown key "${key}"`,
        near ? `did you mean "${near}"?` : `its keys: ${names.join(", ")}`,
      );
    }
  }
  /** The values of all keys, in the order of the file. `Annotation.lastKey` has the keys. */
  values(): Annotation[] {
    return Object.entries(this.#object()).map(([key, value]) =>
      new Annotation(this.file, [...this.place, key], value)
    );
  }
  /** The key under which this value stands, or its position. */
  get lastKey(): string {
    return String(this.place.at(-1));
  }
  /** The items of a list, of `length` items where that is fixed. */
  list({ length }: { length?: number } = {}): Annotation[] {
    if (!Array.isArray(this.value)) throw this.#expected("a list [...]");
    if (length !== undefined && this.value.length !== length) {
      throw this.error(`has ${this.value.length} items, expected ${length}: ${shown(this.value)}`);
    }
    return this.value.map((item, i) => new Annotation(this.file, [...this.place, i], item));
  }
  text(): string {
    if (typeof this.value !== "string") throw this.#expected("a text");
    return this.value;
  }
  /** A text that names something: not empty. */
  name(): string {
    if (typeof this.value !== "string" || this.value.trim() === "") throw this.#expected("a name");
    return this.value;
  }
  /** A relative path that stays below its folder, with `/` between the parts and without `./` before them. */
  path(): string {
    const path = this.name().replace(/^(\.\/)+/, "");
    const isBelow = path.split("/").every((part) => !["", ".", ".."].includes(part)) &&
      !/[\\\0]|^[a-z]:/i.test(path);
    if (!isBelow) throw this.#expected("a path below the images' folder, such as dev/a.png");
    return path;
  }
  integer(): number {
    if (!Number.isSafeInteger(this.value)) throw this.#expected("a whole number");
    return Number(this.value);
  }
}

/** What becomes of an error: whoever wants the first throws it, whoever wants all collects them. */
export type Report = (error: DataError) => void;

/** The default: the first error ends the reading. */
export const throwError: Report = (error) => {
  throw error;
};

/** What `read` makes of each of `itemsOf` a file: nothing if the file cannot be read, and that was reported. */
export async function readItems<T>(
  path: string,
  itemsOf: (root: Annotation) => readonly Annotation[],
  read: (item: Annotation) => T,
  report: Report,
): Promise<T[]> {
  try {
    return readEach(itemsOf((await AnnotationFile.read(path)).root), read, report);
  } catch (error) {
    return reported(error, report);
  }
}

/** What `read` makes of each item, without those whose errors were reported. */
export function readEach<T>(
  items: readonly Annotation[],
  read: (item: Annotation) => T,
  report: Report,
): T[] {
  return items.flatMap((item) => {
    try {
      return [read(item)];
    } catch (error) {
      return reported(error, report);
    }
  });
}

function reported(error: unknown, report: Report): [] {
  if (!(error instanceof DataError)) throw error;
  report(error);
  return [];
}

/** Ids that may occur once each, in however many files. */
export class UniqueIds {
  readonly #first = new Map<string | number, Annotation>();

  /** @throws {AnnotationError} If the id was there before; it names both places. */
  add(id: string | number, at: Annotation): void {
    const first = this.#first.get(id);
    if (first) {
      const file = first.file === at.file ? "" : `${first.file.name}, `;
      throw at.error(
        `is ${JSON.stringify(id)} a second time, the first is ${file}${placeText(first.place)}`,
        "each may occur once: get the annotations anew",
      );
    }
    this.#first.set(id, at);
  }
}
