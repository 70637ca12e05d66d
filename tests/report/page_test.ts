import { ok, rejects, strictEqual } from "node:assert/strict";
import { Pixels } from "../../lib/data/pixels.ts";
import type { ReportQuery } from "../../lib/report/choose.ts";
import { html } from "../../lib/report/html.ts";
import { type Report, reportPage, shownImages } from "../../lib/report/page.ts";
import { thumbnails } from "../../lib/report/thumbnails.ts";
import { checkPage } from "./page_structure.ts";

const names = ["a & b", "<script>alert(1)</script>", 'say "red"', "plain"];
const images = names.map((name) => ({ name, credit: "A. Painter, CC BY 4.0" }));
const pixels = new Pixels(Uint8Array.from({ length: 4 * 8 * 8 * 3 }, (_, i) => (i * 37) % 256), 8);
const queries: ReportQuery[] = [{
  reference: 0,
  target: 1,
  caption: `is <b>"red"</b>`,
  kind: "colour",
  composed: { rank: 1, top: [2, 1, 3] },
  image: { rank: 2, top: [0, 2, 1] },
}];

async function report(): Promise<Report> {
  const sections = [{ title: "Near misses", why: "Because.", total: 1, queries: [0] }];
  const shown = shownImages(sections, [{ queries }]);
  return {
    dataset: "toy",
    split: "val",
    runs: [{ name: "toy/1", config: { seed: 1 }, queries, curves: "<svg></svg>" }],
    tables: [{ title: "Recall", nameColumns: 1, header: ["", "R@10"], cells: [["composed", "50.00"]] }],
    sections,
    images,
    thumbnails: await thumbnails({ images, source: pixels }, shown, { maxBytes: 100_000 }),
  };
}

Deno.test("reportPage() holds each shown picture once, escapes texts, and asks nothing of the network", async () => {
  const text = reportPage(await report());
  strictEqual(text, reportPage(await report()), "equal reports give equal bytes");
  strictEqual(text.match(/<symbol /g)?.length, 4);
  ok(
    text.includes("is &lt;b&gt;&quot;red&quot;&lt;/b&gt;") && !text.includes("<script"),
    "texts are escaped",
  );
  ok(!/(?:src|href)="(?!#|data:)/.test(text), "only fragments and data URIs are referred to");
  ok(text.includes("target at 2") && text.includes("A. Painter, CC BY 4.0"));
});

Deno.test("reportPage() opens offline, and is for keyboards and screen readers too", async () => {
  const document = await checkPage(reportPage(await report()));
  strictEqual([...document.querySelectorAll("article")].length, 1);
});

Deno.test("thumbnails() counts pictures without a readable file, and refuses what cannot fit", async () => {
  const missing = await thumbnails(
    { images: [{ name: "gone", path: "/no/such/file.png" }, { name: "none" }] },
    [0, 1],
    {
      maxBytes: 1000,
    },
  );
  strictEqual(missing.missing, 2);
  await rejects(
    thumbnails({ images, source: pixels }, [0, 1, 2, 3], { maxBytes: 10 }),
    /4 pictures do not fit into 10 bytes/,
  );
});

Deno.test("html`` escapes in attributes too", () => {
  strictEqual(html`<p title="${'" onclick="x'}"></p>`.text, '<p title="&quot; onclick=&quot;x"></p>');
});
