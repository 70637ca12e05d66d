/** A run's folder: what was run, where, with what; one process at a time. */
import { isDeepStrictEqual } from "node:util";
import packageJson from "../../deno.json" with { type: "json" };
import { ConfigError, DataError } from "../core/errors.ts";
import { writeFileAtomic } from "../io/atomic.ts";
import { isJsonObject } from "../io/json_keys.ts";
import { type FolderLock, lockFolder } from "../io/lock.ts";
import type { KernelVariants } from "../ops/matmul_classes.ts";
import { configDifferences, configHash, type StoredConfig } from "./config.ts";

/** Everything that `run.json` says. */
export interface RunManifest {
  readonly format: 1;
  /** `running` until the table is written: such a run goes on where it was. So does a `failed` one. */
  readonly status: "running" | "done" | "failed";
  readonly experiment: string;
  /** The experiment's file, as it was called. */
  readonly source: string;
  readonly name: string;
  readonly config: StoredConfig;
  readonly configHash: string;
  readonly seed: number;
  readonly versions: { readonly cala: string; readonly deno: string; readonly v8: string };
  /** `git rev-parse HEAD`, with `+changes` where files differ from it; null without git. */
  readonly commit: string | null;
  readonly adapter: AdapterFacts;
  /** Which kernel runs which matrix product: that changes speed, not bits. */
  readonly kernelVariants: KernelVariants;
  readonly dataset: { readonly name: string; readonly hash: string };
  /** ISO 8601. */
  readonly started: string;
  readonly finished?: string;
  /** The first line of the error that ended a failed run. */
  readonly error?: string;
}

/** The GPU of a run, as its driver describes it. */
export interface AdapterFacts {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
}

/** Facts that are known once data and GPU are open. */
export type RunFacts = Pick<RunManifest, "source" | "adapter" | "kernelVariants" | "dataset"> & {
  /** The experiment's text, kept beside the results. */
  readonly sourceText: string;
};

/** Which run is meant. */
export interface RunRequest {
  /** Folder of all runs. */
  readonly out: string;
  readonly experiment: string;
  readonly config: StoredConfig;
  /** Empty: 8 hex digits of the configuration's hash. */
  readonly name: string;
  /** Take the next free number instead of a run that is there. */
  readonly isFresh: boolean;
}

/** An open run folder. Others are kept out until it is disposed. */
export class RunFolder implements Disposable {
  readonly path: string;
  readonly name: string;
  readonly experiment: string;
  readonly configHash: string;
  readonly #request: RunRequest;
  readonly #lock: FolderLock;
  #manifest?: RunManifest;

  private constructor(
    path: string,
    name: string,
    request: RunRequest,
    lock: FolderLock,
    manifest?: RunManifest,
  ) {
    this.path = path;
    this.name = name;
    this.experiment = request.experiment;
    this.configHash = configHash(request.experiment, request.config);
    this.#request = request;
    this.#lock = lock;
    this.#manifest = manifest;
  }

  /**
   * Opens the folder of a run, and makes it if it is missing.
   *
   * @throws {ConfigError} If the run is there with another configuration (the differences are named), or in use.
   * @throws {DataError} If its `run.json` is broken.
   */
  static async open(request: RunRequest): Promise<RunFolder> {
    const base = request.name || configHash(request.experiment, request.config).slice(0, 8);
    if (!/^[\w.+@=-]+$/.test(base) || /^\.+$/.test(base)) {
      throw new ConfigError(`--name: expected letters, digits and . _ - + @ =, got "${base}"`);
    }
    if (!request.out) throw new ConfigError('--out: expected a folder, got ""');
    const parent = `${request.out}/${request.experiment}`;
    const name = request.isFresh ? await freeName(parent, base) : base;
    const path = `${parent}/${name}`;
    await Deno.mkdir(path, { recursive: true });
    const lock = await lockFolder(path);
    try {
      const manifest = await readManifestIfThere(path);
      const differences = manifest ? configDifferences(manifest.config, request.config) : [];
      if (differences.length > 0) {
        throw new ConfigError(`run "${name}" has another configuration: ${differences.join("; ")}`, {
          where: `${path}/run.json`,
          fix: `choose another --name, or pass --fresh to start "${await freeName(parent, base)}"`,
        });
      }
      return new RunFolder(path, name, request, lock, manifest);
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  /** What `run.json` says; nothing before `start`. */
  get manifest(): RunManifest | undefined {
    return this.#manifest;
  }

  /** A path inside the folder. */
  file(name: string): string {
    return `${this.path}/${name}`;
  }

  /**
   * Writes `run.json` and the experiment's source; for a run that goes on, checks that it has the same data.
   *
   * @returns What differs from when the run began: for the user.
   * @throws {ConfigError} If the run began with other data.
   */
  async start({ sourceText, ...facts }: RunFacts): Promise<string[]> {
    const was = this.#manifest;
    if (was && was.dataset.hash !== facts.dataset.hash) {
      throw new ConfigError(
        `run "${this.name}" began with the data ${was.dataset.name} ${was.dataset.hash.slice(0, 12)}, ` +
          `here it is ${facts.dataset.name} ${facts.dataset.hash.slice(0, 12)}`,
        { where: this.file("run.json"), fix: "pass --fresh to start a run with these data" },
      );
    }
    const copy = this.file(baseName(facts.source));
    const warnings: string[] = [];
    if (was) {
      if (was.adapter.description !== facts.adapter.description) {
        warnings.push(`began on ${was.adapter.description}, goes on on ${facts.adapter.description}`);
      }
      if (!isDeepStrictEqual(was.kernelVariants, facts.kernelVariants)) {
        warnings.push(
          "began with another table of kernels for matrix products, which changes speed, not bits",
        );
      }
      if (await readTextIfThere(copy) !== sourceText) {
        warnings.push(`${facts.source} has changed since the run began`);
      }
    } else await writeFileAtomic(copy, sourceText);
    await this.#write({
      ...(was ?? {
        format: 1,
        experiment: this.#request.experiment,
        name: this.name,
        config: this.#request.config,
        configHash: this.configHash,
        seed: Number(this.#request.config.seed),
        versions: { cala: packageJson.version, deno: Deno.version.deno, v8: Deno.version.v8 },
        commit: await gitCommit(),
        started: new Date().toISOString(),
        ...facts,
      }),
      status: "running",
      error: undefined,
    });
    return warnings;
  }

  /** Notes how the run ended. */
  async end(status: "done" | "failed", error?: string): Promise<void> {
    if (!this.#manifest) return; // failed before anything was begun: there is nothing to go on with
    await this.#write({ ...this.#manifest, status, finished: new Date().toISOString(), error });
  }

  async #write(manifest: RunManifest): Promise<void> {
    await writeFileAtomic(this.file("run.json"), JSON.stringify(manifest, null, 2) + "\n");
    this.#manifest = manifest;
  }

  [Symbol.dispose](): void {
    this.#lock[Symbol.dispose]();
  }
}

/**
 * What the `run.json` of a folder says.
 *
 * @throws {DataError} If it is missing or not of this form.
 */
export async function readManifest(path: string): Promise<RunManifest> {
  const manifest = await readManifestIfThere(path);
  if (!manifest) {
    throw new DataError(`${path}: no run.json`, { fix: "name a run's folder: runs/EXPERIMENT/NAME" });
  }
  return manifest;
}

async function readManifestIfThere(path: string): Promise<RunManifest | undefined> {
  const file = `${path}/run.json`;
  const text = await readTextIfThere(file);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DataError(`${file}: not JSON: ${cause instanceof Error ? cause.message : cause}`, {
      where: file,
      fix: "pass --fresh to start a new run",
      cause,
    });
  }
  const isManifest = isJsonObject(value) && value.format === 1 && typeof value.experiment === "string" &&
    typeof value.configHash === "string" && isJsonObject(value.config) && isJsonObject(value.dataset) &&
    isJsonObject(value.adapter) && ["running", "done", "failed"].includes(String(value.status));
  if (!isManifest) {
    throw new DataError(`${file}: not the manifest of a run`, {
      where: file,
      fix: "pass --fresh to start a new run",
    });
  }
  return value as unknown as RunManifest;
}

async function readTextIfThere(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** `base`, or with the first number from 2 whose run was never begun. */
async function freeName(parent: string, base: string): Promise<string> {
  for (let n = 1;; n++) {
    const name = n === 1 ? base : `${base}-${n}`;
    if (await readTextIfThere(`${parent}/${name}/run.json`) === undefined) return name;
  }
}

/** The last part of a path. */
const baseName = (path: string): string => path.split(/[/\\]/).at(-1) ?? path;

/** The commit of the working directory, with `+changes` where files differ; null where git may not be asked or knows none. */
export async function gitCommit(): Promise<string | null> {
  const git = async (...args: string[]) => {
    const { success, stdout } = await new Deno.Command("git", { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  };
  if (Deno.permissions.querySync({ name: "run", command: "git" }).state !== "granted") return null;
  try {
    const commit = await git("rev-parse", "HEAD");
    if (!commit) return null;
    return await git("status", "--porcelain", "--untracked-files=no") ? `${commit}+changes` : commit;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null; // git is not installed
    throw error;
  }
}
