import { ok, strictEqual } from "node:assert/strict";
import {
  asRefusal,
  ConfigError,
  DataError,
  formatUserError,
  GpuError,
  isUserError,
  ShapeError,
} from "../../lib/core/errors.ts";

const classes = [ShapeError, ConfigError, DataError, GpuError];

Deno.test("the user's errors keep message, where, fix and cause, and are told from ours", () => {
  const bases = [TypeError, RangeError, SyntaxError, Error];
  classes.forEach((Class, i) => {
    const cause = new Error("below");
    const error = new Class("a message", { where: "a place", fix: "a way", cause });
    ok(error instanceof bases[i]);
    strictEqual(error.name, Class.name);
    strictEqual(error.cause, cause);
    strictEqual(formatUserError(error), "a message\n  where  a place\n  fix    a way");
    ok(isUserError(error));
  });
  for (const ours of [new TypeError("x"), new RangeError("x"), new Error("x"), "x", undefined, null]) {
    ok(!isUserError(ours));
  }
});

Deno.test("formatUserError() leaves out what there is not and aligns what has several lines", () => {
  strictEqual(formatUserError(new DataError("cut short")), "cut short");
  strictEqual(
    formatUserError(new DataError("cut short", { fix: "one\ntwo" })),
    "cut short\n  fix    one\n         two",
  );
});

Deno.test("asRefusal() takes what the operating system refuses and nothing else", async () => {
  const file = await Deno.makeTempFile();
  try {
    const refused = await Deno.mkdir(`${file}/runs`, { recursive: true }).catch(asRefusal);
    ok(refused instanceof ConfigError);
    ok(refused.message.includes(`${file}/runs`) && refused.fix?.includes("a part of the path is a file"));
    const long = await Deno.mkdir(`${file}-${"x".repeat(300)}`).catch(asRefusal);
    ok(long instanceof ConfigError && long.fix === "choose a shorter name");
  } finally {
    await Deno.remove(file);
  }
  for (const ours of [new TypeError("x"), new Deno.errors.BadResource("x"), "ENOSPC", undefined]) {
    strictEqual(asRefusal(ours), undefined);
  }
});
