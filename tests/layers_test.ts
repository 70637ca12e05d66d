/** The architecture as a test: who may import whom, no cycles, no npm package at load time, files of one subject. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";

/** For each folder of `lib/`, the folders (or the one file of a folder) that it may import beside itself. */
const layers: Record<string, readonly string[]> = {
  core: [],
  tensor: ["core"],
  gpu: ["core", "kernels"], // the preludes, which it appends to every kernel
  io: ["core"],
  text: ["core"],
  metrics: ["core"],
  ops: ["tensor", "core", "kernels"],
  data: ["text", "io", "core"],
  plan: ["tensor", "ops", "gpu", "io", "core", "kernels"], // where graph and GPU meet
  nn: ["ops", "tensor", "core"],
  models: ["nn", "ops", "tensor", "io", "core"],
  cala: ["models", "nn", "ops", "tensor", "core"],
  vision: ["models", "data", "io", "core", "gpu/device.ts"], // is there a GPU in hardware
  report: ["metrics", "data", "io", "core"],
  released: [
    "train",
    "cala",
    "models",
    "vision",
    "plan",
    "nn",
    "tensor",
    "metrics",
    "data",
    "text",
    "io",
    "core",
    "gpu/device.ts",
  ],
  train: ["plan", "ops", "tensor", "nn", "data", "metrics", "report", "io", "core", "gpu/device.ts"], // a run opens its device
};

/** For the other folders, what they may import beside themselves. */
const others: Record<string, readonly string[]> = {
  "mod.ts": ["lib"],
  tasks: ["lib", "kernels", "deno.json", "mod.ts"],
  experiments: ["mod.ts"],
};

const maxLines = 300;
/** Files of `lib/` that may be longer, and why. */
const longFiles: Record<string, string> = {};

/** An import of a file: as written, whether it happens when the file is loaded, and whether it is of types only. */
interface Import {
  specifier: string;
  isStatic: boolean;
  isType: boolean;
}

/** The imports of a TypeScript file as the formatter leaves it: static ones start a line. Comments do not count. */
function importsOf(text: string): Import[] {
  const code = text.replace(/^\s*\/\*[\s\S]*?\*\//gm, "").replace(/(^|\s)\/\/.*$/gm, "$1");
  const found: Import[] = [];
  for (const [, names, specifier] of code.matchAll(/^(?:import|export)\s([^;"']*?\sfrom\s)?\s*"([^"]+)"/gm)) {
    const listed = /^\{([^}]*)\}/.exec(names ?? "")?.[1].split(",").map((name) => name.trim()).filter(
      Boolean,
    );
    const isType = /^type\s/.test(names ?? "") ||
      (listed?.every((name) => name.startsWith("type ")) ?? false);
    found.push({ specifier, isStatic: true, isType });
  }
  for (const [, specifier] of code.matchAll(/\bimport\(\s*"([^"]+)"/g)) {
    found.push({ specifier, isStatic: false, isType: false });
  }
  return found;
}

/** The place of a path in the architecture: `lib/ops/softmax.ts` is of `lib/ops`, `tasks/cli.ts` of `tasks`. */
const placeOf = (path: string): string => path.split("/").slice(0, path.startsWith("lib/") ? 2 : 1).join("/");

/** What a set of files, by path, does against the rules; one line each. */
function violations(files: ReadonlyMap<string, string>): string[] {
  const found: string[] = [];
  for (const [path, text] of files) {
    const place = placeOf(path), isLib = place.startsWith("lib/");
    const allowed = isLib
      ? layers[place.slice("lib/".length)]?.map((name) => name === "kernels" ? name : `lib/${name}`)
      : others[place];
    if (!allowed) found.push(`${path}: the folder ${place} has no layer`);
    if (isLib && text.split("\n").length - 1 > maxLines && !(path in longFiles)) {
      found.push(`${path}: over ${maxLines} lines`);
    }
    for (const { specifier, isStatic } of importsOf(text)) {
      if (!specifier.startsWith(".")) {
        const isBuiltIn = specifier.startsWith("node:");
        if (isStatic && !isBuiltIn && place !== "tasks") {
          found.push(`${path}: imports ${specifier} when it is loaded`);
        }
        if (place === "experiments") found.push(`${path}: may not import ${specifier}`);
        continue;
      }
      const target = posix.normalize(posix.join(posix.dirname(path), specifier)), to = placeOf(target);
      // Every version that we print is the one of deno.json.
      const isAllowed = to === place || (isLib && target === "deno.json") ||
        allowed?.some((name) => to === name || target === name || (name === "lib" && to.startsWith("lib/")));
      if (!isAllowed) found.push(`${path}: may not import ${target}`);
    }
  }
  return [...found, ...cycles(files)];
}

/**
 * Import cycles, each once, from its first file. Types make none: they are gone when the code runs. Within `lib/ops`
 * they are in the nature of gradients: that of a sum expands, that of an expansion sums.
 */
function cycles(files: ReadonlyMap<string, string>): string[] {
  const found: string[] = [], state = new Map<string, "open" | "done">(), trail: string[] = [];
  const visit = (path: string) => {
    const text = files.get(path);
    if (text === undefined || state.get(path) === "done") return;
    if (state.get(path) === "open") {
      const cycle = [...trail.slice(trail.indexOf(path)), path];
      if (!cycle.every((file) => placeOf(file) === "lib/ops")) found.push(`cycle: ${cycle.join(" -> ")}`);
      return;
    }
    state.set(path, "open");
    trail.push(path);
    for (const { specifier, isType } of importsOf(text)) {
      if (!isType && specifier.startsWith(".")) {
        visit(posix.normalize(posix.join(posix.dirname(path), specifier)));
      }
    }
    trail.pop();
    state.set(path, "done");
  };
  for (const path of files.keys()) visit(path);
  return found;
}

/** All TypeScript files of a folder, by path from the project's root. */
async function readTree(root: string, folder: string, files: Map<string, string>): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(`${root}/${folder}`)) {
    const path = `${folder}/${name}`;
    if (isDirectory) await readTree(root, path, files);
    else if (name.endsWith(".ts")) files.set(path, await Deno.readTextFile(`${root}/${path}`));
  }
}

Deno.test("lib, tasks, experiments and mod.ts keep to the layers", async () => {
  const root = fileURLToPath(new URL("..", import.meta.url)).replace(/[/\\]$/, ""),
    files = new Map<string, string>();
  for (const folder of ["lib", "tasks", "experiments"]) await readTree(root, folder, files);
  files.set("mod.ts", await Deno.readTextFile(`${root}/mod.ts`));
  ok(files.has("lib/core/errors.ts") && files.has("tasks/doctor.ts"), "the tree was not read");
  deepStrictEqual(violations(files), []);
  const stale = Object.keys(longFiles).filter((path) =>
    (files.get(path) ?? "").split("\n").length - 1 <= maxLines
  );
  deepStrictEqual(stale, [], "these are no longer long");
});

Deno.test("the layers test finds each kind of violation", () => {
  const check = (files: Record<string, string>) => violations(new Map(Object.entries(files)));
  deepStrictEqual(check({ "lib/core/a.ts": 'import { x } from "../tensor/b.ts";' }), [
    "lib/core/a.ts: may not import lib/tensor/b.ts",
  ]);
  deepStrictEqual(check({ "lib/ops/a.ts": 'import {\n  type X,\n} from "../gpu/b.ts";\n' }), [
    "lib/ops/a.ts: may not import lib/gpu/b.ts",
  ]);
  deepStrictEqual(check({ "lib/data/a.ts": 'export * from "../metrics/b.ts";' }), [
    "lib/data/a.ts: may not import lib/metrics/b.ts",
  ]);
  deepStrictEqual(check({ "lib/train/a.ts": 'const m = await import("../models/b.ts");' }), [
    "lib/train/a.ts: may not import lib/models/b.ts",
  ]);
  deepStrictEqual(check({ "lib/train/a.ts": 'import { x } from "../gpu/kernel.ts";' }), [
    "lib/train/a.ts: may not import lib/gpu/kernel.ts",
  ]);
  deepStrictEqual(check({ "lib/io/a.ts": 'import "../../tasks/b.ts";' }), [
    "lib/io/a.ts: may not import tasks/b.ts",
  ]);
  deepStrictEqual(check({ "lib/data/a.ts": 'import sharp from "sharp";' }), [
    "lib/data/a.ts: imports sharp when it is loaded",
  ]);
  deepStrictEqual(check({ "lib/data/a.ts": 'import type { Sharp } from "npm:sharp@1";' }), [
    "lib/data/a.ts: imports npm:sharp@1 when it is loaded",
  ]);
  deepStrictEqual(
    check({ "experiments/a.ts": 'import { x } from "../lib/core/b.ts";\nimport y from "node:fs";' }),
    [
      "experiments/a.ts: may not import lib/core/b.ts",
      "experiments/a.ts: may not import node:fs",
    ],
  );
  deepStrictEqual(check({ "lib/utils/a.ts": "" }), ["lib/utils/a.ts: the folder lib/utils has no layer"]);
  deepStrictEqual(check({ "lib/io/a.ts": "\n".repeat(301) }), ["lib/io/a.ts: over 300 lines"]);
  deepStrictEqual(
    check({
      "lib/io/a.ts": 'import { b } from "./b.ts";',
      "lib/io/b.ts": 'import { c } from "./c.ts";',
      "lib/io/c.ts": 'export { b } from "./b.ts";',
    }),
    ["cycle: lib/io/b.ts -> lib/io/c.ts -> lib/io/b.ts"],
  );
});

Deno.test("the layers test lets pass what is allowed, and comments", () => {
  const files = {
    "lib/ops/a.ts": `/**
 * \`\`\`ts
 * import { x } from "../gpu/x.ts";
 * \`\`\`
 */
import wgsl from "../../kernels/a.wgsl" with { type: "text" };
import { join } from "node:path";
// import { y } from "../gpu/y.ts";
import { type Tensor } from "../tensor/tensor.ts";
export const url = "http://from.example"; // no "comment"
export const lazy = async () => (await import("sharp")).default;
`,
    "lib/core/version.ts": 'import config from "../../deno.json" with { type: "json" };',
    "experiments/a.ts": 'import { flag } from "../mod.ts";',
    "tasks/a.ts": 'import { x } from "../lib/gpu/x.ts";\nimport { y } from "./b.ts";',
    "mod.ts": 'export { x } from "./lib/core/x.ts";',
    "lib/io/a.ts": 'import { b } from "./b.ts";',
    "lib/io/b.ts": 'import type { A } from "./a.ts";\nimport { type B } from "./a.ts";',
    "lib/train/a.ts": 'import { openDevice } from "../gpu/device.ts";',
  };
  deepStrictEqual(violations(new Map(Object.entries(files))), []);
});
