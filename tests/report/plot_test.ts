import assert from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import { linePlots, type Panel, seriesOf, svgToPng } from "../../lib/report/plot.ts";

const log = Array.from(
  { length: 60 },
  (_, i) => ({ step: 10 * i, loss: 4 / (1 + i), tac: i === 30 ? NaN : 1 }),
);
const panels: Panel[] = [
  { title: "Loss <terms> & more", yLabel: "loss", series: seriesOf(log, ["loss", "tac"]) },
  { title: "Recall", yLabel: "percent", series: [{ name: "R@10", points: [[0, 5], [300, 30], [590, 55]] }] },
];

Deno.test("seriesOf() takes what has a step and the field", () => {
  const records = [{ event: "start" }, { step: 1, loss: 2 }, { step: 2, loss: "?" }, { step: 3, recall: 5 }];
  assert.deepEqual(seriesOf(records, ["loss", "recall"]), [
    { name: "loss", points: [[1, 2]] },
    { name: "recall", points: [[3, 5]] },
  ]);
});

Deno.test("linePlots() gives the same bytes twice, every curve, and a gap at NaN", async () => {
  const svg = await linePlots(panels);
  assert.equal(await linePlots(panels), svg);
  assert.match(svg, /^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" width="720" height="500"/);
  for (const text of ["loss", "tac", "R@10", "step →", "Loss &lt;terms&gt; &amp; more"]) {
    assert.ok(svg.includes(text), text);
  }
  const curves = [...svg.matchAll(/<path d="(M[^"]*)"[^>]*>/g)].map((match) => match[1]).filter((d) =>
    d.split("L").length > 2
  );
  assert.deepEqual(
    curves.map((d) => d.split("M").length - 1),
    [2, 1, 1],
    "a panel's first curve is drawn last: two pieces around the NaN, one piece; one piece",
  );
  assert.equal([...svg.matchAll(/<circle/g)].length, 3, "dots on the short curve only");
});

Deno.test("linePlots() draws one point, equal values, and nothing but NaN", async () => {
  const one = await linePlots([{ title: "t", yLabel: "y", series: [{ name: "a", points: [[3, 7]] }] }]);
  assert.ok(one.includes("<circle") && !one.includes("NaN"));
  const flat = await linePlots([{
    title: "t",
    yLabel: "y",
    series: [{ name: "a", points: [[0, 2], [5, 2]] }],
  }]);
  assert.ok(!flat.includes("NaN"));
  const none = await linePlots([{
    title: "t",
    yLabel: "y",
    series: [{ name: "a", points: [[0, NaN], [5, NaN]] }],
  }]);
  assert.ok(!none.includes("<circle") && !none.includes("NaN"));
});

Deno.test("linePlots() refuses what it cannot draw", async () => {
  await assert.rejects(linePlots([]), ConfigError);
  await assert.rejects(linePlots([{ title: "t", yLabel: "y", series: [] }]), /without points/);
  const series = Array.from({ length: 7 }, (_, i) => ({ name: `${i}`, points: [[0, i]] as const }));
  await assert.rejects(linePlots([{ title: "t", yLabel: "y", series }]), /7 curves, there are 6 colours/);
});

Deno.test("svgToPng() renders the picture at the scale asked for", async () => {
  const png = await svgToPng(await linePlots(panels), { scale: 2 });
  const { default: sharp } = await import("sharp");
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  assert.deepEqual([info.width, info.height, info.channels], [1440, 1000, 3]);
  assert.deepEqual([...data.subarray(0, 3)], [255, 255, 255], "white, not transparent");
  let blue = 0;
  for (let i = 0; i < data.length; i += 3) {
    if (data[i] === 0 && data[i + 1] === 0x72 && data[i + 2] === 0xb2) blue++;
  }
  assert.ok(blue > 200, `${blue} pixels of the first curve's colour`);
});
