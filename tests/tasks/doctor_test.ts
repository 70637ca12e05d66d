import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { diagnose, isOlder, neededDeno, showReport } from "../../tasks/doctor.ts";
import type { Report } from "../../tasks/machine_report.ts";

const fit: Report = {
  versions: { toolkit: "1.0.0", deno: neededDeno, v8: "15.0", typescript: "6.0", system: "linux x86_64" },
  gpu: {
    adapter: "a card",
    vendor: "AMD",
    deviceClass: "gpu",
    limits: { maxBufferSize: 2 ** 31, maxBindGroups: 4 },
    features: ["shader-f16"],
    kernelFault: "",
  },
  drivers: ["/icd/a.json", "Mesa 25"],
  packages: { sharp: { version: "0.35.5" }, other: { notChecked: "run without --no-npm" } },
  cache: { path: "/c", isWritable: true, freeBytes: 2 ** 33 },
};

Deno.test("diagnose() finds nothing on a fit machine", () => deepStrictEqual(diagnose(fit), []));

Deno.test("diagnose() names each problem with its fix, and whether training can run", () => {
  const one = (change: Partial<Report>) => {
    const problems = diagnose({ ...fit, ...change });
    strictEqual(problems.length, 1, JSON.stringify(problems));
    ok(problems[0].fix.length > 0);
    return [problems[0].message, problems[0].isFatal];
  };
  const versions = { ...fit.versions, deno: "2.9.5" };
  deepStrictEqual(one({ versions }), [`Deno 2.9.5 is too old: needed ${neededDeno}`, true]);
  deepStrictEqual(one({ gpu: { error: "no GPU adapter was found", fix: "deno task setup" } }), [
    "no GPU adapter was found",
    true,
  ]);
  deepStrictEqual(one({ gpu: { ...fit.gpu, kernelFault: "element 0 is 1" } as Report["gpu"] }), [
    "the driver of a card computes wrongly: element 0 is 1",
    true,
  ]);
  deepStrictEqual(one({ packages: { sharp: { error: "not found" } } }), [
    "npm package sharp does not load: not found",
    true,
  ]);
  deepStrictEqual(one({ cache: { ...fit.cache, isWritable: false } }), [
    "the cache folder /c cannot be written",
    true,
  ]);
  deepStrictEqual(one({ cache: { ...fit.cache, freeBytes: 3 * 2 ** 20 } }), [
    "only 3 MiB are free at /c, caches may need 1 GiB",
    false,
  ]);
});

Deno.test("isOlder() compares numbers, not texts", () => {
  for (const [a, b] of [["2.9.5", "2.9.6"], ["2.9.6", "2.10.0"], ["1.99.9", "2.0.0"], ["2.9", "2.9.1"]]) {
    strictEqual(isOlder(a, b), true, `${a} ${b}`);
    strictEqual(isOlder(b, a), false, `${b} ${a}`);
  }
  strictEqual(isOlder("2.9.6", "2.9.6"), false);
  strictEqual(isOlder("2.9.6+abc1234", "2.9.6"), false);
});

Deno.test("showReport() lines up what was found, then problems, then the verdict", () => {
  strictEqual(
    showReport(fit, []),
    `toolkit        1.0.0
deno           ${neededDeno}, V8 15.0, TypeScript 6.0, linux x86_64
adapter        a card (AMD, gpu)
features       shader-f16
maxBufferSize  2147483648 (2 GiB)
maxBindGroups  4
test kernel    right
drivers        /icd/a.json
               Mesa 25
sharp          0.35.5
other          not checked: run without --no-npm
cache          /c, 8 GiB free

Training can run`,
  );
  const gpu = { error: "no GPU adapter was found", fix: "one\ntwo" };
  const text = showReport({ ...fit, gpu }, diagnose({ ...fit, gpu }));
  ok(
    text.endsWith("\nproblem: no GPU adapter was found\n  fix    one\n         two\n\nTraining cannot run"),
    text,
  );
});

/** The task in its own process: with Deno alone, no package and an empty cache of them. */
async function doctor(env: Record<string, string>, ...args: string[]) {
  const task = new URL("../../tasks/doctor.ts", import.meta.url).href;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-npm", "--no-lock", "-A", task, ...args],
    env: { NO_COLOR: "1", ...env },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

Deno.test("doctor runs without npm, tries a kernel, and says as JSON what it found", async () => {
  const { code, stdout, stderr } = await doctor({}, "--json");
  const report = JSON.parse(stdout);
  deepStrictEqual([code, stderr, report.ok], [0, "", true], stdout);
  strictEqual(report.gpu.kernelFault, "");
  ok(report.gpu.limits.maxBufferSize >= 2 ** 27);
  strictEqual(report.versions.deno, Deno.version.deno);
  ok("notChecked" in report.packages.sharp);
});

Deno.test({
  name: "doctor ends with 1 and a fix where there is no adapter",
  ignore: Deno.build.os !== "linux", // hides the adapter by the Vulkan loader's variable
  fn: async () => {
    const { code, stdout } = await doctor({ VK_DRIVER_FILES: "/none", DENO_WEBGPU_BACKEND: "vulkan" });
    strictEqual(code, 1);
    ok(/problem: no GPU adapter was found\n {2}fix {4}run "deno task setup"/.test(stdout), stdout);
    ok(stdout.includes("VK_DRIVER_FILES=/none"), "what hides the driver is shown");
  },
});
