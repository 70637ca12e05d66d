/**
 * Opens files one after another and reads all tensors of each: a program of its own, so that a test can take every
 * permission from it and measure its memory. Prints a line of JSON a file, and one about the process.
 */
import { DataError } from "../../lib/core/errors.ts";
import { openWeights } from "../../lib/io/weights_file.ts";

for (const path of Deno.args) {
  const startMs = performance.now();
  let outcome = "read", message = "";
  try {
    using file = await openWeights(path);
    for (const key of file.tensors.keys()) file.read(key);
  } catch (error) {
    outcome = error instanceof DataError ? "refused" : "fault";
    message = error instanceof Error ? error.message : String(error);
  }
  console.log(
    JSON.stringify({ path, outcome, message, ms: performance.now() - startMs, rss: Deno.memoryUsage().rss }),
  );
}
const polluted = Object.keys(Object.prototype).length + Object.keys(Array.prototype).length +
  Object.keys(Map.prototype).length;
console.log(JSON.stringify({ polluted: polluted + Number("polluted" in {}) }));
