/** What the documentation names exists, and what exists is named. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import config from "../deno.json" with { type: "json" };

const root = fileURLToPath(new URL("../", import.meta.url));
const pages = [
  "README.md",
  "THIRD_PARTY_NOTICES.md",
  "kernels/README.md",
  ...[...Deno.readDirSync(`${root}docs`)].flatMap(({ name }) => name.endsWith(".md") ? `docs/${name}` : []),
];
const read = (page: string) => Deno.readTextFileSync(join(root, page));

/** True for a path of the project; a last segment `*` stands for any. */
function exists(path: string): boolean {
  try {
    Deno.statSync(join(root, path.replace(/\/\*.*$/, "")));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

Deno.test("README.md names every task, and no page names one that is not there", () => {
  const tasks = Object.keys(config.tasks), readme = read("README.md");
  deepStrictEqual(tasks.filter((name) => !readme.includes(`\n| \`${name}\``)), []);
  for (const page of pages) {
    const named = [...read(page).matchAll(/deno(?:@[\d.]+)? task ([a-z]+)/g)].map((match) => match[1]);
    deepStrictEqual(named.filter((name) => !tasks.includes(name)), [], page);
  }
});

Deno.test("links and paths of the documentation lead somewhere", () => {
  for (const page of pages) {
    const text = read(page);
    const links = [...text.matchAll(/\]\(([^)#:]+)\)/g)].map((match) => join(dirname(page), match[1]));
    const paths = [...text.matchAll(/`((?:lib|tests|tasks|kernels|docs|experiments)\/[\w./*-]*)`/g)]
      .map((match) => match[1]);
    const missing = [...links, ...paths].filter((path) => !path.includes("NAME") && !exists(path));
    deepStrictEqual(missing, [], page);
  }
  ok(!exists("docs/nothing.md"), "the test can fail");
});
