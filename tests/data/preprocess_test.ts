import assert from "node:assert/strict";
import { ConfigError, DataError } from "../../lib/core/errors.ts";
import { imageDecoder } from "../../lib/data/decode.ts";
import { DecodePool } from "../../lib/data/decode_pool.ts";
import { padAndResize, preprocess, type PreprocessOptions } from "../../lib/data/preprocess.ts";
import { type Mode, type Raster, raster, toRgb } from "../../lib/data/raster.ts";
import { resize } from "../../lib/data/resample.ts";

const sharp = (await import("sharp")).default;

/** A picture with something going on in every band. */
function pattern(mode: Mode, width: number, height: number, bands: number): Raster {
  const data = Uint8Array.from({ length: width * height * bands }, (_, i) => (i * 37 + (i >> 3) * 11) % 256);
  return raster(mode, width, height, data);
}
const rgb = pattern("RGB", 24, 10, 3);
const encode = ({ data, width, height }: Raster, channels: 3 | 4 = 3) =>
  sharp(data, { raw: { width, height, channels } });

Deno.test("resize() gives Pillow's bytes", () => {
  const row = (...data: number[]): Raster => raster("L", data.length, 1, Uint8Array.from(data));
  const golden = row(0, 10, 50, 200, 255, 30, 60, 90);
  assert.deepEqual([...resize(golden, 3, 1).data], [22, 166, 71]);
  assert.deepEqual([...resize(golden, 5, 1).data], [0, 59, 231, 71, 75]);
  assert.deepEqual([...resize(golden, 13, 1).data], [0, 2, 11, 27, 85, 186, 251, 240, 80, 22, 59, 80, 92]);
  const column: Raster = { ...golden, width: 1, height: 8 };
  assert.deepEqual([...resize(column, 1, 3).data], [22, 166, 71], "columns as rows");
});

Deno.test("resize() keeps a transparent colour out of its neighbours", () => {
  const image = raster("RGBA", 2, 1, Uint8Array.of(255, 0, 0, 255, 0, 255, 0, 0)); // red, and invisible green
  for (let x = 0, { data } = resize(image, 6, 1); x < 6; x++) assert.equal(data[x * 4 + 1], 0);
});

Deno.test("resize() never mixes indices", () => {
  const image = { ...raster("P", 3, 1, Uint8Array.of(0, 9, 0)), palette: new Uint8Array(30) };
  assert.deepEqual([...resize(image, 7, 1).data], [0, 0, 9, 9, 9, 0, 0]);
});

Deno.test("padAndResize() pads the short side, by half of an even number", () => {
  const sizeOf = (width: number, height: number, options: Omit<PreprocessOptions, "convertRgbFirst">) => {
    const black = raster("L", width, height, new Uint8Array(width * height));
    const { width: w, height: h } = padAndResize(black, { ...options, convertRgbFirst: false });
    return [w, h];
  };
  assert.deepEqual(sizeOf(250, 50, { transform: "clip", dim: 56 }), [280, 56]);
  assert.deepEqual(sizeOf(250, 50, { transform: "targetpad", dim: 56 }), [70, 56]);
  assert.deepEqual(sizeOf(250, 50, { transform: "targetpad", dim: 56, targetRatio: 2 }), [112, 56]);
  assert.deepEqual(sizeOf(250, 50, { transform: "squarepad", dim: 56 }), [56, 56]);
  assert.deepEqual(sizeOf(2, 1, { transform: "squarepad", dim: 100 }), [200, 100], "half of 1 is 0");
  assert.deepEqual(sizeOf(124, 100, { transform: "targetpad", dim: 56 }), [69, 56], "under 1.25: as it is");
});

Deno.test("preprocess() of a palette PNG depends on when it becomes RGB", async () => {
  const decode = await imageDecoder();
  const png = await encode(rgb).png({ palette: true, colours: 16, dither: 0 }).toBuffer();
  const image = await decode(png, "palette.png");
  assert.equal(image.mode, "P");
  const options = { transform: "targetpad", dim: 8 } as const;
  const late = padAndResize(image, { ...options, convertRgbFirst: false });
  const colours = new Set<string>();
  for (let i = 0; i < image.data.length; i++) colours.add(toRgb(image).data.slice(3 * i, 3 * i + 3).join());
  colours.add((image.palette ?? []).slice(0, 3).join()); // the border
  for (let i = 0; i < late.data.length; i += 3) {
    assert.ok(colours.has(late.data.slice(i, i + 3).join()), "a colour that is not in the palette");
  }
  assert.notDeepEqual(late.data, padAndResize(image, { ...options, convertRgbFirst: true }).data);
});

Deno.test("the decoder gives each file in its own mode, and its bytes", async () => {
  const decode = await imageDecoder();
  const rgba = pattern("RGBA", 12, 9, 4);
  const open = (bytes: Uint8Array) => decode(bytes, "picture");
  assert.deepEqual(await open(await encode(rgb).png().toBuffer()), rgb);
  assert.deepEqual(await open(await encode(rgba, 4).png().toBuffer()), rgba);
  assert.deepEqual(await open(await encode(rgb).webp({ lossless: true }).toBuffer()), rgb);
  const grey = await open(await encode(rgb).toColourspace("b-w").png().toBuffer());
  assert.equal(grey.mode, "L");
  assert.equal(grey.data.length, 24 * 10);
  const turned = await open(await encode(rgb).withMetadata({ orientation: 6 }).jpeg().toBuffer());
  assert.deepEqual([turned.width, turned.height], [24, 10], "EXIF orientation is not applied");
  const indexed = await open(await encode(rgb).png({ palette: true, colours: 4 }).toBuffer());
  assert.equal(indexed.mode, "P");
  assert.ok(indexed.data.every((index) => index < (indexed.palette?.length ?? 0) / 3));
  const seen = await encode(rgb).png({ palette: true, colours: 4 }).toBuffer();
  assert.deepEqual(
    toRgb(indexed).data,
    new Uint8Array(await sharp(seen).raw().toBuffer()),
    "as sharp itself sees it",
  );
});

Deno.test("a bad file is an error that names it", async () => {
  const decode = await imageDecoder();
  const big = pattern("RGB", 200, 150, 3);
  const png = new Uint8Array(await encode(big).png().toBuffer());
  const jpeg = new Uint8Array(await encode(big).jpeg().toBuffer());
  const huge = png.slice();
  new DataView(huge.buffer).setUint32(16, 60_000); // width and height of the header
  new DataView(huge.buffer).setUint32(20, 60_000);
  new DataView(huge.buffer).setUint32(29, (await import("node:zlib")).crc32(huge.subarray(12, 29)));
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(), /^x\.jpg: the file is empty$/],
    [
      new TextEncoder().encode("<svg xmlns='http://www.w3.org/2000/svg'/>"),
      /not an image file: it starts with/,
    ],
    [png.subarray(0, 8), /no valid header/],
    [png.subarray(0, png.length >> 1), /PNG cannot be decoded/],
    [jpeg.subarray(0, jpeg.length >> 1), /JPEG cannot be decoded/],
    [jpeg.subarray(0, 3), /JPEG cannot be decoded/],
    [huge, /pixel limit/],
  ];
  for (const [bytes, message] of cases) {
    await assert.rejects(decode(bytes, "x.jpg"), (error) => {
      assert.ok(error instanceof DataError);
      assert.match(error.message, message);
      assert.match(error.message, /^x\.jpg: /);
      return true;
    });
  }
});

Deno.test("DecodePool gives what preprocess() gives, in the order asked for, and goes on after a bad file", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const options = { transform: "targetpad", dim: 16, convertRgbFirst: true } as const;
    const pictures = [pattern("RGB", 40, 30, 3), pattern("RGB", 20, 50, 3), pattern("RGB", 17, 17, 3)];
    for (const [i, picture] of pictures.entries()) await encode(picture).png().toFile(`${folder}/${i}.png`);
    await Deno.writeFile(`${folder}/bad.png`, new Uint8Array());
    using pool = new DecodePool(options, { workers: 2 });
    const bad = assert.rejects(pool.read(`${folder}/bad.png`), DataError);
    const missing = assert.rejects(pool.read(`${folder}/missing.png`), /missing\.png/);
    const read = await Promise.all([0, 1, 2, 0, 1, 2].map((i) => pool.read(`${folder}/${i}.png`)));
    await Promise.all([bad, missing]);
    for (const [i, pixels] of read.entries()) assert.deepEqual(pixels, preprocess(pictures[i % 3], options));
    pool[Symbol.dispose]();
    await assert.rejects(pool.read(`${folder}/0.png`), /closed/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("preprocess() and DecodePool refuse options without sense", () => {
  const options = { transform: "clip", dim: 8, convertRgbFirst: true } as const;
  assert.throws(() => preprocess(rgb, { ...options, dim: 0 }), ConfigError);
  assert.throws(() => preprocess(rgb, { ...options, transform: "targetpad", targetRatio: 0.5 }), ConfigError);
  assert.throws(() => new DecodePool(options, { workers: 0 }), ConfigError);
});
