/** Logging to Comet, against a server on this machine that records what it gets. */
import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { readJsonl } from "../../lib/io/jsonl.ts";
import { Comet, cometAccount, type CometOptions } from "../../lib/train/comet.ts";
import { lastLine, task, toy, withFolder } from "../tasks/run_task.ts";

interface Received {
  readonly path: string;
  readonly key: string | null;
  readonly body: Record<string, unknown>;
}

const KEY = "a-secret-key-0123";

/** A server that answers as Comet does, or as `answer` says. */
function recorder(answer?: (n: number) => Response | Promise<Response> | undefined) {
  const received: Received[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const path = new URL(request.url).pathname.replace("/api/rest/v2/write/experiment/", "");
    received.push({ path, key: request.headers.get("Authorization"), body: await request.json() });
    return await answer?.(received.length - 1) ??
      Response.json(path === "create" ? { experimentKey: "E1", link: "" } : { msg: "saved", code: 200 });
  });
  return { received, url: `http://127.0.0.1:${server.addr.port}`, stop: () => server.shutdown() };
}

const problems: string[] = [];
const cometAt = (url: string, options: Partial<CometOptions> = {}) => {
  problems.length = 0;
  return new Comet({
    apiKey: KEY,
    workspace: "lab",
    url,
    project: "cirr",
    experiment: "one",
    parameters: { seed: 42, frame: "sum" },
    retryMs: 5,
    onProblem: (text) => problems.push(text),
    ...options,
  });
};
const steps = (...list: number[]) =>
  list.map((step) => ({ step, epoch: 0, terms: { loss: 1 / step, tac: NaN }, isSkipped: false }));

Deno.test("Comet gets the experiment, its configuration, losses and validations, in order", async () => {
  const server = recorder();
  const created: string[] = [];
  const comet = cometAt(server.url, { onCreated: (key) => void created.push(key) });
  comet.steps(steps(1, 2));
  comet.epoch({ step: 2, epoch: 0 }, 0.75);
  comet.validation({ step: 2, epoch: 1 }, { recall_at1: 12.5 });
  strictEqual(await comet.close(), 0);
  await server.stop();
  ok(server.received.every(({ key }) => key === KEY));
  const known = { experimentKey: "E1" };
  deepStrictEqual(server.received.map(({ path, body: { timestamp: _, ...body } }) => [path, body]), [
    ["create", { workspaceName: "lab", projectName: "cirr", experimentName: "one" }],
    ["parameter", { ...known, parameterName: "seed", parameterValue: 42 }],
    ["parameter", { ...known, parameterName: "frame", parameterValue: "sum" }],
    ["metric", {
      ...known,
      metricName: "step_loss",
      metricValue: 0.5,
      step: 2,
      epoch: 0,
      context: "train",
    }],
    ["metric", {
      ...known,
      metricName: "epoch_loss",
      metricValue: 0.75,
      step: 2,
      epoch: 0,
      context: "train",
    }],
    ["metric", {
      ...known,
      metricName: "recall_at1",
      metricValue: 12.5,
      step: 2,
      epoch: 1,
      context: "validate",
    }],
  ]);
  deepStrictEqual([created, problems], [["E1"], []]);
});

Deno.test("a failure is told once and tried again; nothing is lost and nothing waits", async () => {
  const server = recorder((n) => n < 4 ? new Response("busy", { status: 503 }) : undefined);
  const comet = cometAt(server.url, { parameters: {} });
  const begin = performance.now();
  for (let step = 1; step <= 50; step++) comet.steps(steps(step));
  ok(performance.now() - begin < 100, "logging waited");
  while (server.received.length < 55) await new Promise((resolve) => setTimeout(resolve, 5));
  strictEqual(await comet.close(), 0);
  await server.stop();
  strictEqual(server.received.filter(({ path }) => path === "metric").length, 50);
  deepStrictEqual(problems, [`Comet at ${server.url} cannot be reached; the run goes on: 503`]);
});

Deno.test("a refused key ends the log, and is not repeated in the message", async () => {
  const server = recorder(() => new Response(`no such key ${KEY}`, { status: 401 }));
  const comet = cometAt(server.url);
  comet.steps(steps(1));
  await comet.close();
  comet.steps(steps(2));
  await comet.close();
  await server.stop();
  strictEqual(server.received.length, 1);
  deepStrictEqual(problems, [
    `Comet at ${server.url} refuses the log; the run goes on without it: 401 no such key ***`,
  ]);
});

Deno.test("without a network the queue is bounded, and closing ends", async () => {
  const server = recorder();
  await server.stop(); // nobody listens there any more
  const comet = cometAt(server.url, { parameters: {}, maxQueue: 10, retryMs: 60_000 });
  for (let step = 1; step <= 100; step++) comet.steps(steps(step));
  const begin = performance.now();
  strictEqual(await comet.close(2000), 100);
  ok(performance.now() - begin < 1900);
  match(problems[0], /^Comet at http:\/\/127\.0\.0\.1:\d+ cannot be reached; the run goes on: /);
  strictEqual(problems.length, 1);
});

Deno.test("a server that never answers delays the end by the time that is allowed", async () => {
  const hang = Promise.withResolvers<Response>();
  const server = recorder(() => hang.promise);
  const comet = cometAt(server.url);
  comet.steps(steps(1));
  const begin = performance.now();
  strictEqual(await comet.close(200), 3); // two parameters and a loss
  ok(performance.now() - begin < 1500);
  hang.resolve(new Response());
  await server.stop();
});

Deno.test("cometAccount() wants a workspace, a key and the permission", () => {
  const url = "https://www.comet.com";
  strictEqual(cometAccount({ workspace: "", apiKey: "", url }), undefined);
  throws(() => cometAccount({ workspace: "", apiKey: KEY, url }), ConfigError);
  throws(() => cometAccount({ workspace: "lab", apiKey: "", url }), /--workspace without a key/);
  throws(() => cometAccount({ workspace: "lab", apiKey: KEY, url: "comet" }), /CALA_COMET_URL/);
});

/** A training of the toy as a process, with this much of the network. */
async function train(cwd: string, net: string | undefined, env: Record<string, string>, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-npm",
      "--allow-read",
      "--allow-write",
      "--allow-env=CALA_*",
      ...(net ? [`--allow-net=${net}`] : []),
      toy,
      "--workspace",
      "lab",
      ...args,
    ],
    cwd,
    env: { NO_COLOR: "1", ...env },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Every file of a folder. */
function* texts(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) yield* texts(`${folder}/${name}`);
    else yield Deno.readTextFileSync(`${folder}/${name}`);
  }
}

Deno.test("a run logs to Comet by flags, goes on as the same experiment, and keeps the key to itself", async () => {
  const server = recorder();
  await withFolder(async (cwd) => {
    const env = { CALA_COMET_API_KEY: KEY, CALA_COMET_URL: server.url };
    const host = new URL(server.url).host;
    const { code, stderr } = await train(cwd, host, env, "--name", "a");
    strictEqual(code, 0, stderr);
    match(stderr, new RegExp(`logged at ${server.url}/lab/toy_experiment/E1`));
    const names = new Set(server.received.map(({ body }) => body.metricName));
    ok(["step_loss", "epoch_loss", "recall_at10"].every((name) => names.has(name)), [...names].join());
    for (const text of texts(`${cwd}/runs`)) ok(!text.includes(KEY));
    ok(!stderr.includes(KEY));
    const { records } = await readJsonl(`${cwd}/runs/toy_experiment/a/log.jsonl`);
    strictEqual(records.filter(({ split }) => split === "val").length, 3); // after steps 5, 10 and 12

    // The same run, as if it had been stopped before its end.
    const path = `${cwd}/runs/toy_experiment/a/run.json`;
    const manifest = JSON.parse(await Deno.readTextFile(path));
    await Deno.writeTextFile(path, JSON.stringify({ ...manifest, status: "running" }));
    server.received.length = 0;
    const again = await train(cwd, host, env, "--name", "a");
    strictEqual(again.code, 0, again.stderr);
    ok(server.received.every(({ path }) => path !== "create"));

    const refused = await train(cwd, undefined, env, "--name", "b");
    strictEqual(refused.code, 2);
    match(refused.stderr, /needs the network[^]*--allow-net=127\.0\.0\.1/);
  });
  await server.stop();
});

Deno.test("training ends well where nothing listens at Comet's address", async () => {
  const server = recorder();
  await server.stop();
  await withFolder(async (cwd) => {
    const env = { CALA_COMET_API_KEY: KEY, CALA_COMET_URL: server.url };
    const child = task("train", [toy, "--workspace", "lab", "--json"], cwd, env);
    const { code, stdout, stderr } = await child.output();
    strictEqual(code, 0, new TextDecoder().decode(stderr));
    ok("metrics" in JSON.parse(lastLine(new TextDecoder().decode(stdout))));
    match(
      new TextDecoder().decode(stderr),
      /cannot be reached; the run goes on[^]*messages to Comet were not sent/,
    );
  });
});
