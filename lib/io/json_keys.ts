/** What `JSON.parse` does not tell: keys that occur twice, and where a key stands. */

/** A key that occurs twice in one object. */
export class JsonKeyError extends Error {
  /** @param index Character of the second occurrence. */
  constructor(readonly key: string, readonly index: number) {
    super(`key "${key}" occurs twice`);
  }
}

/** True for `{...}`, not for arrays and null. */
export const isJsonObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Where each key of the outermost object begins.
 *
 * @param text JSON that `JSON.parse` has accepted.
 * @throws {JsonKeyError} If any object in it, at whatever depth, has a key twice: `JSON.parse` keeps the last silently.
 *
 * @example Usage
 * ```ts
 * if (keyPlaces('{"a": {"b": 1}, "c": 2}').get("c") !== 16) throw new Error("keyPlaces");
 * ```
 */
export function keyPlaces(text: string): Map<string, number> {
  const outermost = new Map<string, number>();
  const open: (Map<string, number> | "array")[] = [];
  // Strings are matched whole, so a brace or colon inside one is not seen. A string before a colon is a key.
  for (const match of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g)) {
    const [token, colon] = match;
    if (token === "{") open.push(open.length === 0 ? outermost : new Map());
    else if (token === "[") open.push("array");
    else if (token === "}" || token === "]") open.pop();
    else if (colon !== undefined) {
      const key: string = JSON.parse(token.slice(0, token.length - colon.length));
      const keys = open.at(-1);
      if (!(keys instanceof Map)) throw new Error(`a key outside an object at character ${match.index}`);
      if (keys.has(key)) throw new JsonKeyError(key, match.index);
      keys.set(key, match.index);
    }
  }
  return outermost;
}

/** A path into JSON: keys and positions in lists, from the outside. */
export type JsonPath = readonly (string | number)[];

/**
 * Where every value begins.
 *
 * @param text JSON that `JSON.parse` has accepted.
 * @returns The character, by the value's path as JSON: `["a",2]`.
 *
 * @example Usage
 * ```ts
 * if (valuePlaces('{"a": [0, 1, {"b": 2}]}').get('["a",2,"b"]') !== 19) throw new Error("valuePlaces");
 * ```
 */
export function valuePlaces(text: string): Map<string, number> {
  const places = new Map<string, number>();
  const path: (string | number)[] = []; // of the value that comes next: one part an open container
  const add = (at: number) => places.set(JSON.stringify(path), at);
  for (
    const { 0: token, 1: colon, index } of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\],]|[^\s{}[\],":]+/g)
  ) {
    const last = path.length - 1, position = path[last];
    if (token === "{" || token === "[") {
      add(index);
      path.push(token === "[" ? 0 : "");
    } else if (token === "}" || token === "]") path.pop();
    else if (token === ",") {
      if (typeof position === "number") path[last] = position + 1;
    } else if (colon !== undefined) path[last] = JSON.parse(token.slice(0, token.length - colon.length));
    else add(index);
  }
  return places;
}
