/** Curves over training steps as SVG, drawn by Observable Plot on linkedom's document; PNG through sharp. */
import { ConfigError } from "../core/errors.ts";

/** One curve: a name and its points, in the order of `x`. A `y` that is not finite leaves a gap. */
export interface Series {
  name: string;
  points: readonly (readonly [x: number, y: number])[];
}

/** One diagram; the panels of a picture stand below each other and share the range of `x`. */
export interface Panel {
  title: string;
  yLabel: string;
  series: readonly Series[];
}

/** Of records such as a log's lines: one curve a field, over `step`. Records without step or field are passed over. */
export const seriesOf = (records: readonly Record<string, unknown>[], fields: readonly string[]): Series[] =>
  fields.map((name) => ({
    name,
    points: records.flatMap(({ step, [name]: value }): [number, number][] =>
      typeof step === "number" && typeof value === "number" ? [[step, value]] : []
    ),
  }));

// Okabe and Ito's palette, which colour-blind readers can tell apart, without its black and yellow.
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";
const PANEL_HEIGHT = 250, TOP = 50, WIDTH = 720;

/**
 * Line plots below each other as one SVG file. Equal panels give equal bytes.
 *
 * @throws {ConfigError} If there is nothing to draw, a panel has more curves than colours (6), or the npm packages do
 * not load.
 */
export async function linePlots(panels: readonly Panel[], { xLabel = "step" } = {}): Promise<string> {
  const { Plot, DOMParser } = await loadPackages();
  const document = new DOMParser().parseFromString("<!doctype html><html><body></body></html>", "text/html");
  const xs = panels.flatMap((panel) => panel.series.flatMap(({ points }) => points.map(([x]) => x)));
  if (xs.length === 0) throw new ConfigError("a plot without points");
  const from = xs.reduce((a, b) => Math.min(a, b)), to = xs.reduce((a, b) => Math.max(a, b));

  const drawn = panels.map((panel, i) => {
    const { title, yLabel, series } = panel;
    if (series.length > COLORS.length) {
      throw new ConfigError(`plot "${title}": ${series.length} curves, there are ${COLORS.length} colours`);
    }
    const svg = Plot.plot({
      document,
      width: WIDTH,
      height: PANEL_HEIGHT,
      marginTop: TOP,
      marginLeft: 56,
      className: "panel", // Plot's own is a hash of its style; a fixed one outlives its versions
      x: {
        label: i === panels.length - 1 ? xLabel : null,
        domain: from === to ? [from - 1, to + 1] : [from, to],
      },
      y: { label: yLabel, labelAnchor: "center", labelArrow: "none", grid: true, nice: true },
      marks: [
        Plot.text([title], { frameAnchor: "top-left", dy: -TOP + 8, fontWeight: "bold", fontSize: 13 }),
        ...series.map(({ name }, s) =>
          Plot.text([`\u25ac ${name}`], {
            frameAnchor: "top-left",
            dx: legendOffset(series, s),
            dy: -22,
            fill: COLORS[s],
            fontSize: 12,
          })
        ),
        // Of long curves the first lies on top and is thinner: what runs right below it still shows.
        ...series.map(({ points }, s) =>
          Plot.lineY(points, {
            x: "0",
            y: "1",
            stroke: COLORS[s],
            strokeWidth: isShort(points) ? 2 : s === 0 ? 1.5 : 2.5,
          })
        ).reverse(),
        // A curve of few points shows where they are; one point alone has no line.
        ...series.flatMap(({ points }, s) =>
          isShort(points) ? [Plot.dot(points, { x: "0", y: "1", fill: COLORS[s], r: 3 })] : []
        ),
      ],
    });
    svg.setAttribute("y", String(i * PANEL_HEIGHT));
    return svg.outerHTML;
  });
  const height = PANEL_HEIGHT * panels.length;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">` +
    `<style>svg.panel{font-family:${FONT}}</style><rect width="100%" height="100%" fill="white"/>${
      drawn.join("")
    }</svg>\n`;
}

async function loadPackages() {
  try {
    const [Plot, { DOMParser }] = await Promise.all([import("@observablehq/plot"), import("linkedom")]);
    return { Plot, DOMParser };
  } catch (cause) {
    const [reason] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
    throw new ConfigError(`Observable Plot does not load: ${reason}`, {
      fix: "run without --no-npm, and once with a network",
      cause,
    });
  }
}

const isShort = (points: Series["points"]): boolean => points.length <= 40;

/** Where the name of curve `s` begins: after those before it, at about 7.5 pixels a character, sign and gap included. */
const legendOffset = (series: readonly Series[], s: number): number =>
  series.slice(0, s).reduce((sum, { name }) => sum + 7.5 * (name.length + 4), 0);

/**
 * An SVG as PNG, for a README. The letters depend on the machine's fonts, so the bytes do as well.
 *
 * @param scale Pixels an SVG unit.
 */
export async function svgToPng(svg: string, { scale = 2 } = {}): Promise<Uint8Array> {
  const { default: sharp } = await import("sharp");
  return await sharp(new TextEncoder().encode(svg), { density: 72 * scale }).png().toBuffer();
}
