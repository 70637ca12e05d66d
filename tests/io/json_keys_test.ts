import assert from "node:assert/strict";
import { JsonKeyError, keyPlaces, valuePlaces } from "../../lib/io/json_keys.ts";

Deno.test("valuePlaces() finds every value, whatever stands in texts and keys", () => {
  const value = {
    'a "b": [1]': [{ "x,y": "}{][,:\\" }, [], {}, [[true, null]], -1.5e3],
    "": { "é\n": "" },
    last: [0],
  };
  for (const indent of [undefined, 2, "\t"]) {
    const text = JSON.stringify(value, null, indent), places = valuePlaces(text);
    const walk = (value: unknown, path: (string | number)[]): number => {
      const at = places.get(JSON.stringify(path)) ?? assert.fail(JSON.stringify(path));
      const begins = JSON.stringify(value)[0];
      assert.equal(text[at], begins, `${JSON.stringify(path)} at ${at}`);
      if (typeof value !== "object" || value === null) return 1;
      const children = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
      return children.reduce((n, [key, child]) => n + walk(child, [...path, key]), 1);
    };
    assert.equal(walk(value, []), places.size);
  }
});

Deno.test("keyPlaces() refuses a key that occurs twice, at any depth", () => {
  assert.throws(() => keyPlaces('{"a": [{"b": 1, "b": 2}]}'), JsonKeyError);
  assert.equal(keyPlaces('{"a": {"b": 1}, "c": {"b": 2}}').size, 2);
});
