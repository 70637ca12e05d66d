/**
 * A report as one HTML file: no script, nothing loaded from elsewhere, so it opens offline and can be mailed. Each picture
 * is in the file once, as an SVG symbol, however often it is shown.
 */
import { formatCount } from "../core/format.ts";
import type { DatasetImage } from "../data/triplet.ts";
import type { Answer, ReportQuery, Section } from "./choose.ts";
import { Html, html } from "./html.ts";
import css from "./page.css" with { type: "text" };
import type { TableBlock } from "./table.ts";
import type { Thumbnails } from "./thumbnails.ts";

/** A run, as its report shows it. */
export interface ReportRun {
  /** Short: `demo/ffb0c6e1`. */
  readonly name: string;
  /** What its configuration was, as flags and values. */
  readonly config: Readonly<Record<string, string | number | boolean>>;
  /** Curves as SVG; nothing where they could not be drawn. */
  readonly curves?: string;
  /** Of the split that the report is about. */
  readonly queries: readonly ReportQuery[];
}

/** Everything that a report shows. */
export interface Report {
  readonly dataset: string;
  readonly split: string;
  readonly runs: readonly ReportRun[];
  readonly tables: readonly TableBlock[];
  readonly sections: readonly Section[];
  readonly images: readonly DatasetImage[];
  readonly thumbnails: Thumbnails;
}

const TOP = 10;

/** The images that a report shows, each once, ascending. */
export function shownImages(
  sections: readonly Section[],
  runs: readonly Pick<ReportRun, "queries">[],
): number[] {
  const shown = new Set<number>();
  for (const q of sections.flatMap(({ queries }) => queries)) {
    for (const { queries } of runs) {
      const { reference, target, composed, image, text } = queries[q];
      for (const id of [reference, target]) shown.add(id);
      for (const answer of [composed, image, text]) {
        for (const id of answer?.top.slice(0, TOP) ?? []) shown.add(id);
      }
    }
  }
  return [...shown].sort((a, b) => a - b);
}

/** The page. Equal reports give equal bytes. */
export function reportPage(report: Report): string {
  const { dataset, split, runs, tables, sections, thumbnails } = report;
  const title = `${runs.map(({ name }) => name).join(" and ")} on ${dataset} ${split}`;
  const shown = sections.reduce((sum, { queries }) => sum + queries.length, 0);
  const page = html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta http-equiv="Content-Security-Policy"
          content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
        <title>${title}</title>
        <style>${new Html(css)}:root{--side:min(${thumbnails.side}px,5rem)}</style>
      </head>
      <body>
    <a class="skip" href="#main">Skip to the results</a>
    <header>
    <h1>${title}</h1>
    <nav aria-label="Contents"><ul>
    <li><a href="#recall">Recall</a></li>
    <li><a href="#curves">Curves</a></li>
    ${sections.map((section, s) =>
      html`
        <li><a href="#s${s}">${section.title}</a></li>
      `
    )}<li><a href="#runs">${runs.length > 1 ? "Runs" : "Run"}</a></li>
    </ul></nav>
    </header>
    ${symbols(thumbnails)}
    <main id="main">
    <section aria-labelledby="recall">
    <h2 id="recall">Recall</h2>
    ${tables.map(table)}
    </section>
    <section aria-labelledby="curves">
    <h2 id="curves">Curves</h2>
    ${runs.map(({ name, curves }) =>
      curves === undefined ? html`<p>${name}: no curves were drawn.</p>` : html`
        <figure class="curves" role="img"
          aria-label="Loss terms and Recall over the steps of ${name}">${new Html(curves)}</figure>
      `
    )}
    </section>
    <section aria-labelledby="queries">
    <h2 id="queries">${shown} of ${formatCount(runs[0].queries.length)} queries</h2>
    <p>A query is a reference picture and a text. Below it the first ${TOP} of the ranking: of both together, and, so that
    shortcuts show, of the picture alone and the text alone. A blue frame and the word “target” mark the answer, a dashed
    frame the reference.${thumbnails.missing > 0
      ? ` ${thumbnails.missing} pictures have no readable file and stay grey.`
      : ""}</p>
    <p class="toggle"><input type="checkbox" id="no-alone"> <label for="no-alone">Show composed queries only</label></p>
    ${sections.map((section, s) => sectionOf(report, section, s))}
    </section>
    <section aria-labelledby="runs">
    <h2 id="runs">${runs.length > 1 ? "Runs" : "Run"}</h2>
    ${runs.map(({ name, config }) =>
      html`
        <h3>${name}</h3>
        <p><code>${Object.entries(config).map(([flag, value]) => `${flag}=${value}`).join(" ")}</code></p>
      `
    )}
    </section>
    </main>
    <footer>${credits(report)}</footer>
      </body>
    </html>
  `;
  return page.text;
}

const symbols = ({ uris, side }: Thumbnails): Html =>
  html`<svg width="0" height="0" aria-hidden="true" style="position:absolute">${
    [...uris].map(([id, uri]) =>
      html`
        <symbol id="i${id}" viewBox="0 0 ${side} ${side}">
          <image width="${side}" height="${side}" href="${uri}" />
        </symbol>
      `
    )
  }</svg>`;

const table = ({ title, nameColumns, header, cells }: TableBlock): Html =>
  html`
    <div class="scroll" tabindex="0" role="region" aria-label="${title}">
      <table>
        <caption>${title}</caption>
        <thead>
          <tr>${header.map((cell, i) =>
            html`
              <th scope="col" ${new Html(i < nameColumns ? ' class="name"' : "")}>${cell}</th>
            `
          )}</tr>
        </thead>
        <tbody>${cells.map((row) =>
          html`
            <tr>${row.map((cell, i) =>
              i < nameColumns ? html`<th scope="row">${cell}</th>` : html`<td>${cell}</td>`
            )}</tr>
          `
        )}</tbody>
      </table>
    </div>
  `;

function sectionOf(report: Report, { title, why, total, queries }: Section, s: number): Html {
  return html`
    <section aria-labelledby="s${s}">
    <h2 id="s${s}">${title}</h2>
    <p>${why} ${formatCount(total)} ${total === 1 ? "query is" : "queries are"} such, ${queries
      .length} shown.</p>
    ${queries.map((q) => queryOf(report, q))}
    </section>
  `;
}

function queryOf(report: Report, q: number): Html {
  const { runs } = report, { reference, target, caption, kind } = runs[0].queries[q];
  const several = runs.length > 1;
  const answers = runs.flatMap(({ name, queries }) =>
    ([["composed", "composed"], ["image", "picture alone"], ["text", "text alone"]] as const).map(
      ([way, label]) => {
        const answer = queries[q][way];
        return answer &&
          answerOf(report, answer, { label: several ? `${name}: ${label}` : label, way, reference, target });
      },
    )
  );
  return html`
    <article class="query" aria-labelledby="q${q}">
    <header>
    <div class="pair">
    <figure>${picture(report, reference)}<figcaption>reference</figcaption></figure>
    <figure>${picture(report, target)}<figcaption>target</figcaption></figure>
    </div>
    <div><h3 id="q${q}">“${caption}”</h3>
    <p>query ${q}${kind === undefined ? "" : `, ${kind}`}: ${nameOf(report, reference)} → ${nameOf(
      report,
      target,
    )}</p></div>
    </header>
    ${answers}
    </article>
  `;
}

interface AnswerContext {
  readonly label: string;
  readonly way: string;
  readonly reference: number;
  readonly target: number;
}

function answerOf(
  report: Report,
  { rank, top }: Answer,
  { label, way, reference, target }: AnswerContext,
): Html {
  const isAlone = way !== "composed";
  return html`
    <div class="answer${isAlone ? " alone" : ""}">
      <div><strong>${label}</strong><br>target at ${formatCount(rank + 1)}</div>
      <ol tabindex="0" aria-label="${label}, first ${Math.min(TOP, top.length)} of the ranking">${top.slice(
        0,
        TOP,
      ).map((id, place) => {
        const role = id === target ? "target" : id === reference ? "reference" : undefined;
        return html`<li class="${role ?? ""}">${picture(report, id, role)}${role ?? place + 1}</li>`;
      })}</ol>
    </div>
  `;
}

/** A picture with what it shows as its text. */
const picture = (report: Report, id: number, role?: string): Html => {
  const label = `${role ? `${role}: ` : ""}${nameOf(report, id)}`;
  return html`<svg class="picture" role="img" aria-label="${label}"><title>${label}</title>${
    report.thumbnails.uris.has(id)
      ? html`
        <use href="#i${id}" />
      `
      : undefined
  }</svg>`;
};

const nameOf = ({ images }: Report, id: number): string => images[id].label ?? images[id].name;

/** Whom the licences of the shown pictures ask to name. */
function credits({ images, thumbnails }: Report): Html {
  const names = new Set([...thumbnails.uris.keys()].flatMap((id) => images[id].credit ?? []));
  return names.size === 0 ? html`` : html`<p>Pictures: ${[...names].sort().join("; ")}</p>`;
}
