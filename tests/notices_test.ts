import { deepStrictEqual } from "node:assert/strict";
import config from "../deno.json" with { type: "json" };
import vision from "../lib/vision/packages.json" with { type: "json" };

Deno.test("THIRD_PARTY_NOTICES.md lists every npm package with its version", async () => {
  const text = await Deno.readTextFile(new URL("../THIRD_PARTY_NOTICES.md", import.meta.url));
  const packages = [...Object.values(config.imports), ...Object.values(vision.imports)].map((specifier) =>
    /^npm:(.+)@(.+)$/.exec(specifier) ?? []
  );
  const missing = packages.filter(([, name, version]) => !text.includes(`\`${name}\` ${version}`));
  deepStrictEqual(missing.map(([specifier]) => specifier), []);
});
