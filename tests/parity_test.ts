/** The committed cases: every operation against PyTorch. `deno task parity DIR...` runs any others. */
import assert from "node:assert/strict";
import { compare, OracleCase } from "../tasks/parity/case.ts";
import { runCase, runners, showOutcome } from "../tasks/parity/run.ts";
import { openDevice } from "../lib/gpu/device.ts";
import { encodeSafetensors, parseSafetensors } from "../lib/io/safetensors.ts";

const folder = new URL("oracle/", import.meta.url);
const files = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) =>
  name.endsWith(".safetensors")
);
/** Operations of the frozen vision backbones: other tests. */
const ELSEWHERE = new Set(["clip_resnet", "clip_vit"]);

Deno.test("every operation agrees with PyTorch", async (t) => {
  using gpu = await openDevice();
  const seen = new Set<string>();
  for (const file of files.sort()) {
    await t.step(file, async () => {
      const outcome = await runCase(gpu, new URL(file, folder).pathname, ELSEWHERE);
      seen.add(outcome.op);
      assert.notEqual(outcome.status, "FAIL", showOutcome(outcome));
    });
  }
  await t.step("and every operation has a case", () => {
    assert.deepEqual(Object.keys(runners).filter((op) => !seen.has(op)), []);
  });
});

/** A case with one output and one input, as a file would hold it. */
function tinyCase(config: object, tolerance = 1e-6): OracleCase {
  const one = (value: number) => ({ dtype: "F32" as const, shape: [1], data: new Float32Array([value]) });
  const bytes = encodeSafetensors({ "in.x": one(1), "out.y": one(2), "grad.in.x": one(3) }, {
    op: "gelu",
    config: JSON.stringify(config),
    objective: "sum(out.y * in.cotangent)",
    tolerances: JSON.stringify({ "out.y": { atol: tolerance }, "grad.in.x": { atol: tolerance } }),
  });
  return new OracleCase(parseSafetensors(bytes, "tiny.safetensors"));
}

const values = (entries: Record<string, number[]>) => ({
  values: new Map(Object.entries(entries).map(([key, data]) => [key, { shape: [data.length], data }])),
});

Deno.test("compare() accepts what is within the tolerances, and nothing else", () => {
  const verdict = (entries: Record<string, number[]>, config = {}) =>
    compare(tinyCase(config), values(entries));
  assert.ok(verdict({ "out.y": [2], "grad.in.x": [3] }).isOk);
  assert.ok(!verdict({ "out.y": [2.001], "grad.in.x": [3] }).isOk, "an error above the tolerance");
  assert.ok(!verdict({ "out.y": [NaN], "grad.in.x": [3] }).isOk, "NaN");
  assert.ok(!verdict({ "out.y": [2], "grad.in.x": [3, 3] }).isOk, "another shape");
  assert.deepEqual(verdict({ "out.y": [2] }).problems, ["grad.in.x is missing"]);
  assert.equal(verdict({ "out.y": [NaN], "grad.in.x": [3] }).worst, "out.y", "NaN is the worst");
});

Deno.test("compare() refuses a gradient of zeros where PyTorch has none", () => {
  const oracle = tinyCase({ no_grad: ["param.w"] });
  const right = { "out.y": [2], "grad.in.x": [3] };
  assert.ok(compare(oracle, values(right)).isOk);
  const { isOk, problems } = compare(oracle, values({ ...right, "grad.param.w": [0] }));
  assert.ok(!isOk);
  assert.match(problems[0], /param\.w has a gradient/);
});

Deno.test("an operation that is not known fails", async () => {
  using gpu = await openDevice();
  const path = await Deno.makeTempFile({ suffix: ".safetensors" });
  try {
    const metadata = { op: "nonsense", config: "{}", objective: "none", tolerances: "{}" };
    await Deno.writeFile(path, encodeSafetensors({}, metadata));
    const outcome = await runCase(gpu, path);
    assert.equal(outcome.status, "FAIL");
    assert.match(showOutcome(outcome), /unknown operation "nonsense"/);
    assert.equal((await runCase(gpu, path, new Set(["nonsense"]))).status, "skip");
  } finally {
    await Deno.remove(path);
  }
});
