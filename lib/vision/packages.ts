/**
 * The two npm packages of the frozen backbones: `onnxruntime-node` and `onnx-proto`.
 *
 * They are not in the project's `deno.json` or `deno.lock`: Deno installs everything that a lock file names as soon as
 * one package is needed, and these are 113 MB packed. So they have a folder, a manifest and a lock file of their own,
 * installed when features are first extracted. Deno runs no install scripts; that of onnxruntime-node would only fetch
 * CUDA's libraries.
 */
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import process from "node:process";
import { ConfigError } from "../core/errors.ts";
import { sha256Hex, writeFileAtomic } from "../io/atomic.ts";
import type { OnnxProto } from "./onnx.ts";
import type { OnnxRuntime } from "./runtime.ts";
import manifest from "./packages.json" with { type: "json" };
import lock from "./packages_lock.json" with { type: "json" };

/** Both packages, loaded, and where they are. */
export interface VisionPackages {
  readonly runtime: OnnxRuntime;
  readonly proto: OnnxProto;
  /** Where onnxruntime-node looks for libraries that it does not bundle. */
  readonly libraryFolder: string;
}

/** Where the packages are installed, and how. */
export interface PackagesOptions {
  /** Folder of what can be made again. */
  readonly cacheDir: string;
  /** Told before the download. */
  readonly onProgress?: (message: string) => void;
}

/**
 * Loads the packages; the first time, installs them into the cache folder.
 *
 * @throws {ConfigError} If they are not there and cannot be installed, or this platform has no onnxruntime.
 */
export async function importVisionPackages(options: PackagesOptions): Promise<VisionPackages> {
  const folder = await installed(options);
  const require = createRequire(join(folder, "deno.json"));
  try {
    return {
      proto: require("onnx-proto") as OnnxProto,
      runtime: require("onnxruntime-node") as OnnxRuntime,
      libraryFolder: join(
        folder,
        "node_modules/onnxruntime-node/bin/napi-v6",
        process.platform,
        process.arch,
      ),
    };
  } catch (cause) {
    throw new ConfigError("onnxruntime-node cannot be loaded", {
      where: `${folder}: ${firstLine(cause)}`,
      fix: cause instanceof Deno.errors.NotCapable
        ? "run with --allow-ffi: it is a shared library"
        : `it is built for Linux, macOS and Windows; if this is one of them, delete ${folder} and run again`,
      cause,
    });
  }
}

/** The folder, in which both packages are. */
async function installed({ cacheDir, onProgress }: PackagesOptions): Promise<string> {
  const lockText = JSON.stringify(lock, null, 2);
  const folder = resolve(cacheDir, `vision-packages-${sha256Hex(lockText).slice(0, 8)}`);
  const names = Object.keys(manifest.imports);
  // Deno links a package's name when the whole of it, and of what it needs, is there.
  if (names.every((name) => isThere(join(folder, "node_modules", name)))) return folder;

  const specifiers = Object.values(manifest.imports).map((specifier) => specifier.slice("npm:".length));
  const packages = specifiers.join(" and "), byHand = `(cd ${folder} && deno install --frozen)`;
  await Deno.mkdir(folder, { recursive: true });
  await writeFileAtomic(join(folder, "deno.json"), JSON.stringify(manifest, null, 2));
  await writeFileAtomic(join(folder, "deno.lock"), lockText);
  const deno = Deno.execPath();
  if (Deno.permissions.querySync({ name: "run", command: deno }).state !== "granted") {
    throw new ConfigError(
      `${packages} are not installed, and this process may not run Deno to install them`,
      {
        fix: `install them by hand: ${byHand}`,
      },
    );
  }
  onProgress?.(`installing ${packages} (113 MB, once) into ${folder}`);
  const { success, stderr } = await new Deno.Command(deno, {
    args: ["install", "--frozen"],
    cwd: folder,
    env: { NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return folder;
  throw new ConfigError(`${packages} cannot be installed`, {
    where: new TextDecoder().decode(stderr).trim().split("\n").at(-1),
    fix: `with a network that reaches the npm registry: ${byHand}`,
  });
}

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split("\n", 1)[0];
