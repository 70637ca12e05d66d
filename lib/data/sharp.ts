/** Loads sharp, the image library, where it is needed. */
import { DataError } from "../core/errors.ts";

/** @throws {DataError} If sharp is not installed. */
export async function importSharp() {
  try {
    return (await import("sharp")).default;
  } catch (cause) {
    throw new DataError('the npm package "sharp" cannot be loaded', {
      where: "sharp",
      fix: 'run "deno install" with a network, and without --no-npm',
      cause,
    });
  }
}
