import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { env, type EnvName, envVars, parseEnv } from "../../lib/core/env.ts";
import { ConfigError } from "../../lib/core/errors.ts";

const names = Object.keys(envVars) as EnvName[];

Deno.test("docs/env_vars.md lists the variables of lib/core/env.ts, with values, default and meaning", async () => {
  const text = await Deno.readTextFile(new URL("../../docs/env_vars.md", import.meta.url));
  const rows = text.split("\n").filter((line) => line.startsWith("| `")).map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
  const expected = names.map((name) => {
    const spec: { default: number | string; choices?: readonly number[]; help: string } = envVars[name];
    return [`\`${name}\``, spec.choices?.join(", ") ?? "text", String(spec.default), spec.help];
  });
  deepStrictEqual(rows, expected);
});

Deno.test("parseEnv() takes what is allowed and names it otherwise", () => {
  for (const name of names) {
    strictEqual(parseEnv(name, undefined), envVars[name].default);
    strictEqual(parseEnv(name, ""), envVars[name].default);
  }
  const level: 0 | 1 | 2 = parseEnv("CALA_DEBUG", "2");
  strictEqual(level, 2);
  const text: string = parseEnv("CALA_ADAPTER", "llvm pipe");
  strictEqual(text, "llvm pipe");
  for (const wrong of ["3", "true", " 1", "01"]) {
    throws(() => parseEnv("CALA_DEBUG", wrong), (error) => {
      ok(error instanceof ConfigError);
      strictEqual(error.message, `CALA_DEBUG: expected 0 or 1 or 2, got "${wrong}"`);
      return true;
    });
  }
});

Deno.test("env() reads the variable", () => {
  const before = Deno.env.get("CALA_ADAPTER");
  try {
    Deno.env.set("CALA_ADAPTER", "some card");
    strictEqual(env("CALA_ADAPTER"), "some card");
    Deno.env.delete("CALA_ADAPTER");
    strictEqual(env("CALA_ADAPTER"), "");
  } finally {
    if (before !== undefined) Deno.env.set("CALA_ADAPTER", before);
  }
});

Deno.test({
  name: "env() gives the default, and does not ask, without permission",
  permissions: { env: false, read: true },
  fn: () => strictEqual(env("CALA_CACHE"), ".cache"),
});
