import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { flag, helpText, kebabCase, parseFlags } from "../../lib/core/flags.ts";

const specs = {
  seed: flag(42, "seed of every random number", { integer: true, min: 0 }),
  lr: flag(5e-6, "learning rate"),
  tacWeight: flag(0.45, "share of the TAC logits", { min: 0, max: 1 }),
  frame: flag("sum", "how to combine", { choices: ["sum", "artemis"] }),
  size: flag(32, "pixels", { choices: [32, 64] }),
  dataDir: flag("", "where the pictures are"),
  fresh: flag(false, "start anew"),
  dropout: flag(true, "with dropout"),
};
const values = (...argv: string[]) => parseFlags(specs, argv).values;
const failure = (...argv: string[]) => {
  let text = "";
  throws(() => parseFlags(specs, argv), (error) => {
    ok(error instanceof ConfigError, String(error));
    text = `${error.message}; ${error.fix}`;
    return true;
  });
  return text;
};

Deno.test("parseFlags() gives defaults, and knows what was given", () => {
  const parsed = parseFlags(specs, ["demo", "--seed", "42", "x"]);
  deepStrictEqual(parsed.values, {
    seed: 42,
    lr: 5e-6,
    tacWeight: 0.45,
    frame: "sum",
    size: 32,
    dataDir: "",
    fresh: false,
    dropout: true,
  });
  deepStrictEqual(parsed.positionals, ["demo", "x"]);
  deepStrictEqual([...parsed.given], ["seed"]);
  strictEqual(parsed.help, false);
});

Deno.test("parseFlags() reads each type, in both spellings", () => {
  const frame: "sum" | "artemis" = values("--frame", "artemis").frame;
  strictEqual(frame, "artemis");
  const size: 32 | 64 = values("--size=64").size;
  strictEqual(size, 64);
  strictEqual(values("--lr", "-1e-3").lr, -1e-3);
  strictEqual(values("--lr=2").lr, 2);
  strictEqual(values("--tac-weight", "0").tacWeight, 0);
  strictEqual(values("--data-dir=--odd").dataDir, "--odd");
  strictEqual(values("--fresh").fresh, true);
  strictEqual(values("--no-dropout").dropout, false);
  strictEqual(values("--fresh", "--no-fresh").fresh, false, "the last one holds");
  strictEqual(values("--seed", "1", "--seed", "2").seed, 2);
  deepStrictEqual(parseFlags(specs, ["--", "--seed"]).positionals, ["--seed"]);
});

Deno.test("parseFlags() names the nearest flag", () => {
  strictEqual(
    failure("--tac-wieght", "1"),
    "unknown flag --tac-wieght; did you mean --tac-weight? --help lists all flags",
  );
  strictEqual(
    failure("--tacWeight=1"),
    "unknown flag --tacWeight; did you mean --tac-weight? --help lists all flags",
  );
  strictEqual(failure("--quite-other"), "unknown flag --quite-other; --help lists all flags");
  ok(failure("-s", "1").startsWith("unknown flag -s"));
  ok(failure("--constructor").startsWith("unknown flag --constructor"));
});

Deno.test("parseFlags() says what is allowed", () => {
  const help = "seed of every random number";
  for (const wrong of ["1.5", "-1", "x", "", " ", "NaN", "Infinity", "1e400"]) {
    strictEqual(
      failure(`--seed=${wrong}`),
      `--seed: expected a whole number of at least 0, got "${wrong}"; ${help}`,
    );
  }
  ok(failure("--tac-weight", "1.01").startsWith('--tac-weight: expected a number from 0 to 1, got "1.01"'));
  ok(failure("--frame", "sun").startsWith('--frame: expected sum or artemis, got "sun"'));
  ok(failure("--size", "33").startsWith('--size: expected 32 or 64, got "33"'));
  ok(failure("--seed").startsWith("--seed: its value is missing: expected a whole number of at least 0"));
  ok(failure("--data-dir", "--fresh").startsWith("--data-dir: its value is missing: expected a text"));
  strictEqual(failure("--fresh=yes"), '--fresh takes no value, got "yes"; pass --fresh or --no-fresh');
  strictEqual(failure("--no-fresh=yes"), '--no-fresh takes no value, got "yes"; pass --fresh or --no-fresh');
});

Deno.test("parseFlags() sees --help and -h", () => {
  strictEqual(parseFlags(specs, ["--help"]).help, true);
  strictEqual(parseFlags(specs, ["-h", "--seed", "1"]).help, true);
});

Deno.test("helpText() has a line for each flag", () => {
  const lines = helpText(specs).split("\n");
  strictEqual(lines.length, Object.keys(specs).length + 1);
  ok(
    lines.some((line) => /^ {2}--frame sum\|artemis +how to combine \(default sum\)$/.test(line)),
    lines.join("\n"),
  );
  ok(lines.some((line) => /^ {2}--no-dropout +with dropout \(default on\)$/.test(line)));
  for (const name of Object.keys(specs)) ok(lines.some((line) => line.includes(kebabCase(name))), name);
});
