import assert from "node:assert/strict";
import { join } from "node:path";
import { ConfigError, DataError } from "../../lib/core/errors.ts";
import { buildDemo } from "../../lib/data/demo/build.ts";
import { openDemo } from "../../lib/data/demo/cache.ts";
import { credits } from "../../lib/data/demo/credits.ts";
import { readEmojiPackages } from "../../lib/data/demo/emoji.ts";
import { readDemo, writeDemo } from "../../lib/data/demo/store.ts";
import { splitDemo } from "../../lib/data/demo/split.ts";
import { SHARES } from "../../lib/data/demo/stratify.ts";
import type { SplitName } from "../../lib/data/triplet.ts";

const SIDES: SplitName[] = ["train", "val", "test"];
/** A few hundred real pictures with many kinds of change: enough to build a whole demo in a second or two. */
const someSubgroups = new Set([
  "time",
  "person-sport",
  "animal-mammal",
  "arrow",
  "face-smiling",
  "sky-weather",
  "geometric",
]);
const source = await readEmojiPackages();
const some = {
  ...source,
  emoji: source.emoji.filter((e) => someSubgroups.has(e.subgroup) && !/dark|medium/.test(e.label)),
};
const built = await buildDemo(some, { size: 32 });

/** A folder with the small demo in it. */
async function withCache(test: (cacheDir: string, folder: string) => Promise<void>) {
  const cacheDir = await Deno.makeTempDir();
  try {
    const folder = join(cacheDir, "demo-32");
    await writeDemo(folder, 32, built);
    await test(cacheDir, folder);
  } finally {
    await Deno.remove(cacheDir, { recursive: true });
  }
}

Deno.test("readEmojiPackages() finds the pictures of all four drawing styles, each name once a style", () => {
  const { emoji, versions } = source;
  assert.deepEqual(Object.keys(versions), [
    "openmoji",
    "@iconify-json/noto",
    "@iconify-json/fluent-emoji-flat",
  ]);
  const count = Object.fromEntries(
    [...Map.groupBy(emoji, (e) => e.drawing)].map(([d, list]) => [d, list.length]),
  );
  assert.deepEqual(count, { "openmoji": 4483, "openmoji-black": 2453, "noto": 3679, "fluent-flat": 3130 });
  assert.equal(new Set(emoji.map((e) => `${e.drawing}/${e.label}`)).size, emoji.length);
  assert.ok(
    emoji.some((e) => e.name === "fluent-flat/man-bald-dark" && e.label === "man: dark skin tone, bald"),
  );
});

Deno.test("splitDemo() of all pictures has every rule on every side, and no concept, picture or triplet on two", () => {
  const { emoji } = source; // equal pictures are still among them: this needs no drawing
  const splits = splitDemo(emoji, emoji.map(() => new Float32Array(192)));
  const sideOf = new Map(SIDES.flatMap((side) => splits[side].gallery.map((i) => [i, side] as const)));
  assert.equal(sideOf.size, emoji.length);
  for (const side of SIDES) {
    const { gallery, triplets } = splits[side];
    assert.ok(
      Math.abs(gallery.length / emoji.length - SHARES[side]) < 0.01,
      `${side} has ${gallery.length} pictures`,
    );
    assert.equal(new Set(triplets.map(({ rule }) => rule)).size, 17, side);
    for (const { reference, target } of triplets) {
      assert.ok(target !== null && sideOf.get(reference) === side && sideOf.get(target) === side);
    }
    assert.equal(new Set(triplets.map((t) => `${t.reference} ${t.captions[0]}`)).size, triplets.length);
  }
  // A role with its genders, skin tones and drawing styles.
  const cooks = emoji.flatMap((e, i) => e.person?.role === "cook" ? sideOf.get(i) ?? [] : []);
  assert.ok(cooks.length > 50 && new Set(cooks).size === 1);
});

Deno.test("buildDemo() draws distinct pictures, makes groups of six and the same triplets at both sizes", async () => {
  const large = await buildDemo(some, { size: 64 });
  assert.deepEqual(large.splits, built.splits);
  assert.deepEqual(large.images, built.images);
  assert.equal(built.pixels.length, built.images.length * 32 * 32 * 3);
  assert.ok(built.images.length > 300 && built.images.length < some.emoji.length);
  assert.equal(built.pixels[0], 255); // white ground
  let groups = 0;
  for (const side of ["val", "test"] as const) {
    const gallery = new Set(built.splits[side].gallery);
    for (const { group, reference, target } of built.splits[side].triplets) {
      if (!group) continue;
      groups++;
      assert.ok(target !== null && group.includes(reference) && group.includes(target));
      assert.ok(new Set(group).size === 6 && group.every((i) => gallery.has(i)));
    }
  }
  assert.ok(groups > 20);
});

Deno.test("openDemo() opens what was written", () =>
  withCache(async (cacheDir) => {
    const { dataset, images } = await openDemo({ cacheDir, size: 32 });
    assert.deepEqual(dataset.splits, built.splits);
    assert.deepEqual(images.bytes, built.pixels);
    assert.equal(images.count, dataset.images.length);
    assert.ok(dataset.images.every(({ credit }) => credits().some(({ text }) => text === credit)));
    const { captions } = dataset.splits.train.triplets[0];
    assert.deepEqual(dataset.vocabulary.encode(captions[0], 10), built.vocabulary.encode(captions[0], 10));
    const trainIds = dataset.splits.train.triplets.flatMap((t) =>
      dataset.vocabulary.encode(t.captions[0], 50)
    );
    assert.ok(!trainIds.includes(1), "no training caption has an unknown piece");
  }));

Deno.test("openDemo() limits the training triplets to nested parts, each with its own hash", () =>
  withCache(async (cacheDir) => {
    const open = async (trainTriplets?: number) => (await openDemo({ cacheDir, trainTriplets })).dataset;
    const [all, many, few] = [await open(), await open(50), await open(20)];
    assert.equal(many.splits.train.triplets.length, 50);
    assert.deepEqual(few.splits.train.triplets, many.splits.train.triplets.slice(0, 20));
    assert.deepEqual(few.splits.val, all.splits.val);
    assert.equal(new Set([all.hash, many.hash, few.hash]).size, 3);
    assert.equal((await open(10 ** 6)).hash, all.hash);
  }));

Deno.test("openDemo() refuses unknown options", async () => {
  const cacheDir = "unused";
  await assert.rejects(openDemo({ cacheDir, size: 48 as 32 }), ConfigError);
  await assert.rejects(openDemo({ cacheDir, trainTriplets: 0 }), ConfigError);
  await assert.rejects(openDemo({ cacheDir, include: ["clock" as "flag"] }), ConfigError);
});

const DAMAGE: readonly [what: string, file: string, change: (bytes: Uint8Array) => Uint8Array | undefined][] =
  [
    ["bytes instead of", "pixels.u8", (bytes) => bytes.subarray(0, -1)],
    ["bytes instead of", "data.json", (bytes) => bytes.subarray(0, 100)],
    ["has changed", "pixels.u8", (bytes) => bytes.map((v, i) => i === 5000 ? v ^ 1 : v)],
    ["has changed", "data.json", (bytes) => bytes.map((v, i) => i === 5000 ? v ^ 1 : v)],
    ["is missing", "pixels.u8", () => undefined],
    ["is not JSON", "manifest.json", (bytes) => bytes.subarray(0, 50)],
    ["has format 0", "manifest.json", () => new TextEncoder().encode('{"format": 0}')],
    ["has format undefined", "manifest.json", () => new TextEncoder().encode("null")],
    [
      "and size 64 instead",
      "manifest.json",
      (bytes) => new TextEncoder().encode(new TextDecoder().decode(bytes).replace("32", "64")),
    ],
  ];

Deno.test("readDemo() names the file and what is wrong with it, and never returns a part", async (t) => {
  for (const [what, file, change] of DAMAGE) {
    await t.step(`${file}: ${what}`, () =>
      withCache(async (_, folder) => {
        const path = join(folder, file), changed = change(await Deno.readFile(path));
        if (changed) await Deno.writeFile(path, changed);
        else await Deno.remove(path);
        await assert.rejects(readDemo(folder, 32), (error) => {
          assert.ok(
            error instanceof DataError && error.message.includes(what) && error.where === path,
            String(error),
          );
          return true;
        });
      }));
  }
});

/** Opens a cache in a Deno that may use no npm package, and prints the hash or the error. */
async function openWithoutNpm(cacheDir: string) {
  const module = new URL("../../lib/data/demo/cache.ts", import.meta.url).href;
  const code = `import { openDemo } from ${JSON.stringify(module)};
    try { console.log((await openDemo({ cacheDir: ${JSON.stringify(cacheDir)} })).dataset.hash); }
    catch (e) { console.log(e.name, "|", e.message, "|", e.where, "|", e.fix); }`;
  const args = ["eval", "--no-npm", code];
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert.ok(out, err);
  return out.trim();
}

Deno.test("openDemo() needs no npm package for a whole cache, and reports a damaged one", () =>
  withCache(async (cacheDir, folder) => {
    assert.equal(await openWithoutNpm(cacheDir), (await openDemo({ cacheDir })).dataset.hash);
    await Deno.truncate(join(folder, "pixels.u8"), 1000);
    const report = await openWithoutNpm(cacheDir);
    assert.match(
      report,
      /^DataError \| pixels.u8 of the demo's cache has 1000 bytes instead of \d+ \| .*pixels.u8 \| /,
    );
  }));
