/**
 * Comet, the experiment tracker of the released code, by its REST API. Training never waits for it: what is logged goes
 * into a queue of bounded length, and one request after another leaves it in the background.
 *
 * Source: Comet's documentation, REST API v2, write endpoints.
 */
import { ConfigError } from "../core/errors.ts";
import { isJsonObject } from "../io/json_keys.ts";
import type { Recalls } from "../metrics/recall.ts";
import type { LogMirror, StepRecord } from "./log.ts";

/** Where and as whom one logs. */
export interface CometAccount {
  /** Sent as the `Authorization` header and written nowhere. */
  readonly apiKey: string;
  readonly workspace: string;
  /** `https://www.comet.com`, or one's own installation. */
  readonly url: string;
}

/** Options of `Comet`. */
export interface CometOptions extends CometAccount {
  readonly project: string;
  readonly experiment: string;
  /** The configuration, logged once. */
  readonly parameters: Readonly<Record<string, string | number | boolean>>;
  /** A run that goes on: the key of its experiment. */
  readonly experimentKey?: string;
  /** A new experiment has this key. */
  onCreated?(experimentKey: string): void | Promise<void>;
  /** Says what went wrong, once each. */
  onProblem(text: string): void;
  /** First wait after a failure; each failure in a row doubles it up to a minute. */
  readonly retryMs?: number;
  /** Most requests that wait; beyond them the oldest are dropped. */
  readonly maxQueue?: number;
}

/** Errors that no second try mends: the key, the workspace, the request itself. */
const REFUSALS = new Set([400, 401, 403, 404]);
const TIMEOUT_MS = 10_000, MAX_RETRY_MS = 60_000;

interface Request {
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/**
 * What an account's flags and environment say; nothing if no one asked for Comet.
 *
 * @throws {ConfigError} If one of key and workspace is missing, the address is none, or the network is not permitted.
 */
export function cometAccount(
  { apiKey, workspace, url }: { apiKey: string; workspace: string; url: string },
): CometAccount | undefined {
  if (!workspace && !apiKey) return undefined;
  if (!workspace) {
    throw new ConfigError("--api-key without --workspace", { fix: "name Comet's workspace too" });
  }
  if (!apiKey) {
    throw new ConfigError("--workspace without a key of Comet", {
      fix: "set CALA_COMET_API_KEY, or pass --api-key (which other users of the machine can see)",
    });
  }
  const host = URL.canParse(url) ? new URL(url) : undefined;
  if (!host || !/^https?:$/.test(host.protocol)) {
    throw new ConfigError(`CALA_COMET_URL: expected an address, got "${url}"`, {
      fix: "https://www.comet.com is the default",
    });
  }
  if (Deno.permissions.querySync({ name: "net", host: host.host }).state !== "granted") {
    throw new ConfigError(`logging to Comet needs the network, which this command may not use`, {
      where: host.host,
      fix: `run it with --allow-net=${host.host}, or leave out --workspace`,
    });
  }
  return { apiKey, workspace, url: host.origin };
}

/** An experiment at Comet. */
export class Comet implements LogMirror {
  readonly #options: CometOptions;
  readonly #queue: Request[] = [];
  /** Ends waits between tries; the aborter ends requests too. */
  readonly #closing = new AbortController();
  readonly #aborter = new AbortController();
  #experimentKey?: string;
  #sending?: Promise<void>;
  #isRefused = false;
  #dropped = 0;

  constructor(options: CometOptions) {
    this.#options = options;
    this.#experimentKey = options.experimentKey;
    if (this.#experimentKey) return;
    for (const [name, value] of Object.entries(options.parameters)) {
      this.#add("parameter", { parameterName: name, parameterValue: value });
    }
  }

  /** The last of some steps: one point a second or so draws a curve. The released code's name of the loss. */
  steps(records: readonly StepRecord[]): void {
    const last = records.at(-1);
    if (!last) return;
    const { loss, ...others } = last.terms;
    this.#metrics({ step_loss: loss, ...others }, last, "train");
  }

  epoch(place: { step: number; epoch: number }, loss: number): void {
    this.#metrics({ epoch_loss: loss }, place, "train");
  }

  validation(place: { step: number; epoch: number }, metrics: Recalls): void {
    this.#metrics(metrics, place, "validate");
  }

  /**
   * Waits until all is sent, or so long at most.
   *
   * @returns How many requests were not sent.
   */
  async close(timeoutMs = TIMEOUT_MS): Promise<number> {
    this.#closing.abort();
    const timer = setTimeout(() => this.#aborter.abort(), timeoutMs);
    await this.#sending;
    clearTimeout(timer);
    return this.#dropped + this.#queue.length;
  }

  #metrics(values: Recalls, { step, epoch }: { step: number; epoch: number }, context: string): void {
    for (const [metricName, metricValue] of Object.entries(values)) {
      if (!Number.isFinite(metricValue)) continue; // JSON has no NaN
      this.#add("metric", { metricName, metricValue, step, epoch, context, timestamp: Date.now() });
    }
  }

  #add(path: string, body: Request["body"]): void {
    if (this.#isRefused) return;
    this.#queue.push({ path, body });
    if (this.#queue.length > (this.#options.maxQueue ?? 10_000)) {
      this.#queue.shift();
      this.#dropped++;
    }
    this.#sending ??= this.#send().finally(() => this.#sending = undefined);
  }

  /** Empties the queue, in order. */
  async #send(): Promise<void> {
    let waitMs = this.#options.retryMs ?? 1000;
    while (this.#queue.length > 0 && !this.#isRefused && !this.#aborter.signal.aborted) {
      const [next] = this.#queue;
      try {
        this.#experimentKey ??= await this.#create();
        await this.#post(next.path, { experimentKey: this.#experimentKey, ...next.body });
        if (this.#queue[0] === next) this.#queue.shift(); // else it was dropped meanwhile
        waitMs = this.#options.retryMs ?? 1000;
      } catch (error) {
        if (this.#isRefused || this.#aborter.signal.aborted) break;
        if (waitMs === (this.#options.retryMs ?? 1000)) this.#problem(error);
        if (this.#closing.signal.aborted) break; // one try is enough: the run is over
        await sleep(waitMs, this.#closing.signal);
        waitMs = Math.min(2 * waitMs, MAX_RETRY_MS);
      }
    }
  }

  async #create(): Promise<string> {
    const { workspace, project, experiment, onCreated } = this.#options;
    const { experimentKey } = await this.#post("create", {
      workspaceName: workspace,
      projectName: project,
      experimentName: experiment,
    });
    if (typeof experimentKey !== "string") throw new Error("the answer holds no experiment key");
    await onCreated?.(experimentKey);
    return experimentKey;
  }

  async #post(path: string, body: Request["body"]): Promise<Record<string, unknown>> {
    const { url, apiKey } = this.#options;
    const response = await fetch(`${url}/api/rest/v2/write/experiment/${path}`, {
      method: "POST",
      headers: { "Authorization": apiKey, "Content-Type": "application/json" },
      body: JSON.stringify(body),
      redirect: "error", // the key goes to this host and to no other
      signal: AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), this.#aborter.signal]),
    });
    const text = await response.text();
    if (!response.ok) {
      this.#isRefused = REFUSALS.has(response.status);
      if (this.#isRefused) this.#problem(`${response.status} ${text.slice(0, 200)}`);
      throw new Error(`${response.status}`);
    }
    const value: unknown = JSON.parse(text || "{}");
    return isJsonObject(value) ? value : {};
  }

  #problem(problem: unknown): void {
    const { url, apiKey, onProblem } = this.#options;
    const reason = problem instanceof Error ? problem.message : String(problem);
    const what = this.#isRefused
      ? "refuses the log; the run goes on without it"
      : "cannot be reached; the run goes on";
    onProblem(`Comet at ${url} ${what}: ${reason.replaceAll(apiKey, "***").split("\n")[0]}`);
  }
}

/** Ends early, without an error, when the signal is aborted. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done);
  });
}
