/** What a report must be for an offline reader, a keyboard and a screen reader, read from the page itself: no browser needed. */
import { deepStrictEqual, fail, ok, strictEqual } from "node:assert/strict";

/** What the checks read of an element. */
interface Element {
  readonly tagName: string;
  readonly outerHTML: string;
  readonly attributes: Iterable<{ readonly name: string }>;
  readonly textContent: string;
  getAttribute(name: string): string | null;
  querySelector(selector: string): Element | null;
}
interface Page {
  readonly documentElement: Element;
  querySelectorAll(selector: string): Iterable<Element>;
  querySelector(selector: string): Element | null;
  getElementById(id: string): Element | null;
}

/** What the Tab key stops at, in the order of the page. */
const FOCUSABLE = "a[href], input, button, select, textarea, summary, [tabindex]";

/** The message is made only where it is wanted: an element's text may be the whole page. */
function holds(condition: unknown, element: Element): void {
  if (!condition) fail(element.outerHTML.slice(0, 120));
}

/** Parses a page and checks it. Returns its document, for what only one test asks. */
export async function checkPage(text: string): Promise<Page> {
  const { DOMParser } = await import("linkedom");
  const document = new DOMParser().parseFromString(text, "text/html") as unknown as Page;
  const all = (selector: string) => [...document.querySelectorAll(selector)];
  const nameOf = (element: Element): string => {
    const by = element.getAttribute("aria-labelledby"), id = element.getAttribute("id");
    const label = id && document.querySelector(`label[for="${id}"]`);
    return (element.getAttribute("aria-label") ?? (by && document.getElementById(by)?.textContent) ??
      (label && label.textContent) ?? element.textContent).trim();
  };

  // One file: it asks nobody for anything, and says so to the browser.
  strictEqual(all("script, link, iframe, object, embed, base, img[srcset], video, audio").length, 0);
  for (const element of all("[src], [href], [data], [action], [poster]")) {
    for (const name of ["src", "href", "data", "action", "poster"]) {
      holds(/^(#|data:image\/)/.test(element.getAttribute(name) ?? "#"), element);
    }
  }
  for (const style of all("style")) ok(!/@import|url\(/.test(style.textContent), "styles load nothing");
  const names = new Set(all("*").flatMap(({ attributes }) => [...attributes].map(({ name }) => name)));
  deepStrictEqual([...names].filter((name) => name.startsWith("on")), [], "no handlers");
  const policy = document.querySelector('meta[http-equiv="Content-Security-Policy"]')?.getAttribute(
    "content",
  );
  ok(policy?.startsWith("default-src 'none'"), policy ?? "no policy");

  // Every reference has its target, every id is one.
  const ids = all("[id]").map((element) => element.getAttribute("id") ?? "");
  strictEqual(new Set(ids).size, ids.length, "ids are unique");
  const known = new Set(ids);
  for (const element of all('[href^="#"]')) {
    holds(known.has((element.getAttribute("href") ?? "").slice(1)), element);
  }
  for (const name of ["aria-labelledby", "aria-describedby", "for"]) {
    for (const element of all(`[${name}]`)) holds(known.has(element.getAttribute(name) ?? ""), element);
  }

  // Names for what has no text, headings without a gap, tables with headers, landmarks, a language.
  for (const picture of all("img")) holds(picture.getAttribute("alt") !== null, picture);
  for (const part of all('[role="img"], [role="region"], nav, section, article, ol[tabindex]')) {
    holds(nameOf(part), part);
  }
  const levels = all("h1, h2, h3, h4, h5, h6").map(({ tagName }) => Number(tagName[1]));
  deepStrictEqual(levels.filter((level) => level === 1), [1]);
  strictEqual(levels[0], 1);
  levels.forEach((level, i) =>
    ok(i === 0 || level <= levels[i - 1] + 1, `h${levels[i - 1]} is followed by h${level}`)
  );
  ok(
    all("th").every((th) => th.getAttribute("scope")) &&
      all("table").every((table) => table.querySelector("caption")),
  );
  for (const landmark of ["header", "nav", "main", "footer"]) ok(document.querySelector(landmark), landmark);
  strictEqual(document.documentElement.getAttribute("lang"), "en");
  ok(document.querySelector("title")?.textContent);

  // The Tab key goes through the page as it stands, first to what skips the contents; each stop has a name.
  const stops = all(FOCUSABLE);
  ok(
    stops.every((stop) => Number(stop.getAttribute("tabindex") ?? 0) <= 0),
    "the page's order is the keyboard's",
  );
  strictEqual(stops[0].getAttribute("href"), "#main");
  for (const stop of stops) holds(nameOf(stop), stop);
  return document;
}
