/** The roofline: rate over arithmetic intensity, below what memory and arithmetic allow. Plain SVG, equal bytes for equal rows. */
import type { BenchRow } from "./measure.ts";

const WIDTH = 720, HEIGHT = 420, LEFT = 56, RIGHT = 16, TOP = 20, BOTTOM = 44;

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** Decades that hold all values. */
const decades = (values: readonly number[]): [number, number] => [
  Math.floor(Math.log10(Math.min(...values))),
  Math.ceil(Math.log10(Math.max(...values))),
];

/**
 * A dot a result with flops, at flops a byte and GFLOP/s, both logarithmic; a line for the ceilings. A dot above the
 * line worked in a cache: the ceiling of bytes is that of memory.
 *
 * @param ceilings Rates of the rows `multiply-add` and `copy`.
 */
export function roofline(
  rows: readonly BenchRow[],
  ceilings: { readonly gflops: number; readonly gbps: number },
): string {
  const dots = rows.filter(({ gflops, gbps }) => gflops > 0 && gbps > 0);
  const ridge = ceilings.gflops / ceilings.gbps;
  const intensity = (row: BenchRow) => row.gflops / row.gbps;
  const [x0, x1] = decades([ridge, ...dots.map(intensity)]);
  const [y0, y1] = decades([ceilings.gflops, ...dots.map(({ gflops }) => gflops)]);
  const x = (v: number) => LEFT + (WIDTH - LEFT - RIGHT) * (Math.log10(v) - x0) / (x1 - x0);
  const y = (v: number) => TOP + (HEIGHT - TOP - BOTTOM) * (y1 - Math.log10(v)) / (y1 - y0);
  const at = (vx: number, vy: number) => `${x(vx).toFixed(1)},${y(vy).toFixed(1)}`;
  const range = (a: number, b: number) => Array.from({ length: b - a + 1 }, (_, i) => 10 ** (a + i));
  const number = (v: number) => String(Number(v.toPrecision(3)));

  const grid = [
    ...range(x0, x1).map((v) =>
      `<path d="M${at(v, 10 ** y0)}L${at(v, 10 ** y1)}"/><text x="${x(v).toFixed(1)}" y="${
        HEIGHT - BOTTOM + 18
      }" text-anchor="middle">${number(v)}</text>`
    ),
    ...range(y0, y1).map((v) =>
      `<path d="M${at(10 ** x0, v)}L${at(10 ** x1, v)}"/><text x="${LEFT - 8}" y="${
        (y(v) + 4).toFixed(1)
      }" text-anchor="end">${number(v)}</text>`
    ),
  ];
  // From where the memory's line enters the picture to the ridge, then level.
  const start = Math.max(10 ** x0, 10 ** y0 / ceilings.gbps);
  const roof = `M${at(start, start * ceilings.gbps)}L${at(ridge, ceilings.gflops)}L${
    at(10 ** x1, ceilings.gflops)
  }`;
  const points = dots.map((row) =>
    `<circle cx="${x(intensity(row)).toFixed(1)}" cy="${y(row.gflops).toFixed(1)}" r="4"><title>${
      escape(`${row.kernel} ${row.shape.join(" x ")}: ${row.gflops} GFLOP/s`)
    }</title></circle>`
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
<g stroke="#ddd" fill="none">${grid.join("").replaceAll("<text", '<text stroke="none" fill="#555"')}</g>
<path d="${roof}" stroke="#d55e00" stroke-width="2" fill="none"/>
<g fill="#0072b2" fill-opacity="0.7">${points.join("")}</g>
<text x="${WIDTH / 2}" y="${HEIGHT - 8}" text-anchor="middle">flops a byte</text>
<text x="14" y="${HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 ${HEIGHT / 2})">GFLOP/s</text>
</svg>
`;
}
