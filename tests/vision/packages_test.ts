/** The two heavy packages stay out of everything but feature extraction. */
import { deepStrictEqual, match } from "node:assert/strict";
import { join } from "node:path";
import projectLock from "../../deno.json" with { type: "json" };
import manifest from "../../lib/vision/packages.json" with { type: "json" };
import lock from "../../lib/vision/packages_lock.json" with { type: "json" };

Deno.test("the packages are pinned in a lock file of their own, and the project's does not know them", async () => {
  deepStrictEqual(lock.workspace.dependencies, Object.values(manifest.imports).sort());
  for (const specifier of Object.values(manifest.imports)) match(specifier, /^npm:[a-z-]+@\d+\.\d+\.\d+$/);
  const text = await Deno.readTextFile(new URL("../../deno.lock", import.meta.url)) +
    JSON.stringify(projectLock);
  deepStrictEqual(Object.keys(manifest.imports).filter((name) => text.includes(name)), []);
});

/** What a process without packages, cache and registry says, with these permissions beside those for files. */
async function attempt(...permissions: string[]): Promise<{ message: string; fix: string }> {
  const folder = await Deno.makeTempDir();
  try {
    const script = join(folder, "script.ts");
    await Deno.writeTextFile(
      script,
      `import { importVisionPackages } from ${
        JSON.stringify(new URL("../../lib/vision/packages.ts", import.meta.url))
      };
const error = await importVisionPackages({ cacheDir: ${
        JSON.stringify(join(folder, "cache"))
      } }).catch((e) => e);
console.log(JSON.stringify({ name: error.name, message: error.message, fix: error.fix }));`,
    );
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-npm",
        "--no-prompt",
        "--allow-read",
        "--allow-write",
        "--allow-env",
        ...permissions,
        script,
      ],
      env: { DENO_DIR: join(folder, "deno"), NPM_CONFIG_REGISTRY: "http://127.0.0.1:9" },
    }).output();
    const text = new TextDecoder();
    return JSON.parse(text.decode(stdout) || JSON.stringify(text.decode(stderr)));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("where the packages cannot be installed, the error says how to do it by hand", async () => {
  const forbidden = await attempt();
  match(forbidden.message, /^onnxruntime-node@1.* are not installed, and this process may not run Deno/);
  match(forbidden.fix, /\(cd .*vision-packages-[0-9a-f]{8} && deno install --frozen\)/);
  const offline = await attempt("--allow-run");
  match(offline.message, /^onnxruntime-node@.* cannot be installed$/);
  match(offline.fix, /network.*deno install --frozen/);
});
