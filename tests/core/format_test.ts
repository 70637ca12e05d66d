import { strictEqual } from "node:assert/strict";
import {
  editDistance,
  formatBytes,
  formatCount,
  formatDuration,
  nearestName,
  textTable,
} from "../../lib/core/format.ts";

const check = <T>(f: (x: T) => string, rows: [T, string][]) =>
  rows.forEach(([x, text]) => strictEqual(f(x), text));

Deno.test("formatBytes() changes its unit at 1024", () =>
  check(formatBytes, [
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [2 ** 20 - 1, "1 MiB"],
    [134217728, "128 MiB"],
    [2 ** 31 - 1, "2 GiB"],
    [5000 * 2 ** 40, "5000 TiB"],
  ]));

Deno.test("formatDuration() has about three digits and never 60 seconds or 60 minutes", () =>
  check(formatDuration, [
    [0, "0 ms"],
    [0.25, "0.25 ms"],
    [9.994, "9.99 ms"],
    [9.996, "10 ms"],
    [999.4, "999 ms"],
    [999.6, "1.0 s"],
    [59_940, "59.9 s"],
    [59_960, "1 min 00 s"],
    [245_000, "4 min 05 s"],
    [3_599_400, "59 min 59 s"],
    [3_599_600, "1 h 00 min"],
    [7_620_000, "2 h 07 min"],
    [7_199_000, "2 h 00 min"],
  ]));

Deno.test("formatCount() sets the thousands apart", () =>
  check(formatCount, [[999, "999"], [13_828, "13,828"], [-1234567, "-1,234,567"]]));

Deno.test("textTable() aligns by characters, not by UTF-16 units", () => {
  strictEqual(
    textTable([["😀", "1.5"], ["abc", "22.25"]], { header: ["name", "value"], align: "lr" }),
    "name  value\n----  -----\n😀       1.5\nabc   22.25",
  );
  strictEqual(textTable([["a", "b"], ["long"]]), "a     b\nlong");
  strictEqual(textTable([]), "");
});

Deno.test("editDistance() counts single changes", () => {
  strictEqual(editDistance("", "abc"), 3);
  strictEqual(editDistance("kitten", "sitting"), 3);
  strictEqual(editDistance("same", "same"), 0);
});

Deno.test("nearestName() finds typing errors and beginnings, and stays silent where nothing is near", () => {
  const names = ["seed", "tac-weight", "hca-weight", "batch-size", "epochs"];
  strictEqual(nearestName("sed", names), "seed");
  strictEqual(nearestName("tac-wieght", names), "tac-weight");
  strictEqual(nearestName("batch", names), "batch-size");
  strictEqual(nearestName("EPOCHS", names), "epochs");
  strictEqual(nearestName("verbose", names), undefined);
  strictEqual(nearestName("x", []), undefined);
});
