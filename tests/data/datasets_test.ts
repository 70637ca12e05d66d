import assert from "node:assert/strict";
import { DataError, formatUserError } from "../../lib/core/errors.ts";
import { AnnotationError } from "../../lib/data/annotations.ts";
import { openCirr } from "../../lib/data/cirr.ts";
import { openFashionIq } from "../../lib/data/fashioniq.ts";
import { openFolder } from "../../lib/data/folder.ts";
import { kindsIn, openDataset } from "../../lib/data/open.ts";
import type { Dataset } from "../../lib/data/triplet.ts";
import { withUnionGallery } from "../../lib/data/union_gallery.ts";
import { withFolder } from "../tasks/run_task.ts";
import { MINI_IMAGES, MINI_TRIPLETS, writeMiniCirr, writeMiniFashionIq, writeMiniFolder } from "./mini.ts";

type Json = Record<string, unknown>;
/** Changes a JSON file in place. */
async function edit<T = Json[]>(path: string, change: (value: T) => unknown): Promise<void> {
  const value = JSON.parse(await Deno.readTextFile(path));
  await Deno.writeTextFile(path, JSON.stringify(change(value) ?? value, null, 1));
}
const failure = (open: Promise<Dataset>): Promise<DataError> =>
  open.then(() => assert.fail("it was opened"), (error: unknown) => {
    assert.ok(error instanceof DataError, String(error));
    return error;
  });
const nameOf = ({ images }: Dataset, i: number | null) => images[i ?? -1]?.name;

Deno.test("openFashionIq() reads three categories as dress, toptee, shirt, each with its gallery", () =>
  withFolder(async (dir) => {
    await writeMiniFashionIq(dir);
    const dataset = await openFashionIq(dir);
    assert.equal(dataset.name, "FashionIQ");
    assert.ok(dataset.convertRgbFirst && dataset.keepsReference);
    const { train, val, test } = dataset.splits;
    const categories = ["dress", "toptee", "shirt"].flatMap((c) => Array(MINI_TRIPLETS).fill(c));
    for (const { triplets } of [train, val, test]) {
      assert.deepEqual(triplets.map((t) => t.category), categories);
    }
    assert.deepEqual(Object.keys(val.galleries ?? {}), ["dress", "toptee", "shirt"]);

    const captions = JSON.parse(await Deno.readTextFile(`${dir}/captions/cap.toptee.val.json`));
    const split = JSON.parse(await Deno.readTextFile(`${dir}/image_splits/split.toptee.val.json`));
    for (const [k, entry] of captions.entries()) {
      const triplet = val.triplets[MINI_TRIPLETS + k];
      assert.equal(nameOf(dataset, triplet.reference), entry.candidate);
      assert.equal(nameOf(dataset, triplet.target), entry.target);
      assert.deepEqual(triplet.captions, entry.captions);
    }
    assert.deepEqual(val.galleries?.toptee.map((i) => nameOf(dataset, i)), split);
    assert.ok(test.triplets.every(({ target }) => target === null));
    assert.equal(test.galleries?.dress.length, MINI_IMAGES);
    for (const { path = "" } of dataset.images) assert.ok((await Deno.stat(path)).size > 0);
  }));

Deno.test("openFashionIq() ranks among candidates and targets on request, and always so in train", () =>
  withFolder(async (dir) => {
    await writeMiniFashionIq(dir);
    const original = await openFashionIq(dir), union = await openFashionIq(dir, { gallery: "union" });
    assert.notEqual(original.hash, union.hash);
    assert.deepEqual([original.gallery, union.gallery], [
      undefined,
      "candidates and targets of the category",
    ]);
    assert.deepEqual(
      original.splits.train,
      (await openFashionIq(dir, { gallery: "union", splits: ["train"] })).splits.train,
    );
    const { toptee = [], shirt = [] } = original.splits.train.galleries ?? {};
    assert.deepEqual([toptee.length, shirt.length], [20, 20], "a shirt's reference is none of toptee's");
    for (const category of ["dress", "toptee", "shirt"]) {
      const used = new Set(
        union.splits.val.triplets.filter((t) => t.category === category).flatMap((
          t,
        ) => [t.reference, t.target]),
      );
      const gallery = union.splits.val.galleries?.[category] ?? [];
      assert.deepEqual(new Set(gallery), used);
      const order = original.splits.val.galleries?.[category].map((i) => nameOf(original, i)) ?? [];
      const places = gallery.map((i) => order.indexOf(nameOf(union, i)));
      assert.deepEqual(places, [...places].sort((a, b) => a - b), "in the order of the split file");
      assert.equal(union.splits.test.galleries?.[category].length, MINI_IMAGES, "no targets, no union");
    }
    // Cut before or after what is missing is left out: the images of a query that is gone stay in the union.
    const lost = original.splits.val.triplets.filter(({ category }) => category === "dress")[5]; // its reference has no other
    await Deno.remove(original.images[lost.target ?? 0].path ?? "");
    const before = await openFashionIq(dir, { gallery: "union", skipMissing: true });
    const after = withUnionGallery(await openFashionIq(dir, { skipMissing: true }));
    const names = (dataset: Dataset) => dataset.splits.val.galleries?.dress.map((i) => nameOf(dataset, i));
    assert.deepEqual(names(after), names(before));
  }));

Deno.test("openCirr() reads groups and pair ids, and its test1 without targets", () =>
  withFolder(async (dir) => {
    await writeMiniCirr(dir);
    const dataset = await openCirr(dir);
    assert.ok(!dataset.convertRgbFirst && !dataset.keepsReference);
    const { train, val, test } = dataset.splits;
    assert.deepEqual(
      [train, val, test].map((s) => [s.triplets.length, s.gallery.length]),
      Array(3).fill([12, 24]),
    );
    const entries = JSON.parse(await Deno.readTextFile(`${dir}/cirr/captions/cap.rc2.val.json`));
    for (const [k, { pairid, reference, target_hard, caption, img_set }] of entries.entries()) {
      const triplet = val.triplets[k];
      assert.equal(triplet.pairId, pairid);
      assert.equal(nameOf(dataset, triplet.reference), reference);
      assert.equal(nameOf(dataset, triplet.target), target_hard);
      assert.deepEqual(triplet.captions, [caption], "as it is in the file");
      assert.deepEqual(triplet.group?.map((i) => nameOf(dataset, i)), img_set.members);
    }
    const split = JSON.parse(await Deno.readTextFile(`${dir}/cirr/image_splits/split.rc2.val.json`));
    assert.deepEqual(
      val.gallery.map((i) => nameOf(dataset, i)),
      Object.keys(split),
      "in the order of the file's keys",
    );
    assert.ok(test.triplets.every(({ target, group }) => target === null && group?.length === 6));
  }));

Deno.test("openFolder() reads several targets, groups, categories and ids", () =>
  withFolder(async (dir) => {
    await writeMiniFolder(dir);
    const dataset = await openFolder(dir);
    assert.equal(dataset.name, "mini");
    const [first] = dataset.splits.val.triplets;
    assert.equal(first.target, first.targets?.[0]);
    assert.equal(first.targets?.length, 2);
    assert.deepEqual([first.pairId, first.category, first.group?.length], ["val 0", "disc", 6]);
    assert.equal(dataset.splits.train.triplets[0].targets, undefined);

    await edit<{ splits: Record<string, Json> }>(`${dir}/triplets.json`, ({ splits }) => {
      delete splits.val.gallery;
      splits.test.triplets = [{ reference: "test/disc red.png", captions: ["in blue"] }];
    });
    const { splits: { val, test } } = await openFolder(dir);
    assert.equal(val.gallery.length, 3 * MINI_IMAGES, "without a gallery, every image of the folder");
    assert.equal(test.triplets[0].target, null);
    await Deno.remove(`${dir}/images/val/square red.png`);
    assert.match(
      (await failure(openFolder(dir))).message,
      /^mini: 1 of 72 images have no file; queries .* of val$/,
    );
  }));

Deno.test("the folder may be the data set's or its parent, in each published layout", () =>
  withFolder(async (dir) => {
    const fashionIq = `${dir}/fashionIQ_dataset`, cirr = `${dir}/cirr_dataset`;
    await writeMiniFashionIq(fashionIq);
    await writeMiniCirr(cirr);
    const hashes = { fashioniq: (await openFashionIq(fashionIq)).hash, cirr: (await openCirr(cirr)).hash };
    const isSame = async (dataset: "fashioniq" | "cirr", root: string) => {
      const { hash, images } = await openDataset({ dataset, root });
      assert.equal(hash, hashes[dataset], root);
      assert.ok((await Deno.stat(images[0].path ?? "")).isFile);
    };
    await isSame("fashioniq", dir);
    await isSame("cirr", dir);
    assert.deepEqual(await kindsIn(fashionIq), ["fashioniq"]);
    assert.deepEqual(await kindsIn(cirr), ["cirr"]);
    assert.deepEqual(await kindsIn(dir), ["fashioniq", "cirr"]);

    await Deno.rename(`${fashionIq}/images`, `${fashionIq}/image_data`);
    await isSame("fashioniq", dir);
    await Deno.rename(cirr, `${dir}/cirr_datasets`);
    await isSame("cirr", dir);
    for (const folder of ["train", "dev", "test1"]) {
      await Deno.mkdir(`${dir}/cirr_datasets/cirr/img_raw`, { recursive: true });
      await Deno.rename(`${dir}/cirr_datasets/${folder}`, `${dir}/cirr_datasets/cirr/img_raw/${folder}`);
    }
    await isSame("cirr", dir);
    await isSame("cirr", `${dir}/cirr_datasets/cirr`);
  }));

Deno.test("a split that is not there is empty, a missing half of one is an error", () =>
  withFolder(async (dir) => {
    await writeMiniCirr(dir);
    for (const file of ["captions/cap", "image_splits/split"]) {
      await Deno.remove(`${dir}/cirr/${file}.rc2.test1.json`);
    }
    const { splits, images } = await openCirr(dir);
    assert.deepEqual(splits.test, { triplets: [], gallery: [] });
    assert.equal(images.length, 2 * MINI_IMAGES);
    await Deno.remove(`${dir}/cirr/image_splits/split.rc2.train.json`);
    assert.match((await failure(openCirr(dir))).message, /^split\.rc2\.train\.json: no such file/);
    assert.equal((await openCirr(dir, { splits: ["val"] })).images.length, MINI_IMAGES);
  }));

Deno.test("the hash is that of names, captions and order, whatever the layout of the JSON", () =>
  withFolder(async (dir) => {
    await writeMiniFashionIq(dir);
    const path = `${dir}/captions/cap.dress.val.json`, text = await Deno.readTextFile(path);
    const { hash } = await openFashionIq(dir);
    await Deno.writeTextFile(
      path,
      "\ufeff" + JSON.stringify(JSON.parse(text), null, "\t").replaceAll("\n", "\r\n"),
    );
    assert.equal((await openFashionIq(dir)).hash, hash, "white space and a byte order mark");
    await Deno.writeTextFile(path, text);
    await edit(path, (entries) => entries.reverse());
    assert.notEqual((await openFashionIq(dir)).hash, hash, "order of the triplets");
    await Deno.writeTextFile(path, text);
    await edit<{ captions: string[] }[]>(path, (entries) => void entries[0].captions.reverse());
    assert.notEqual((await openFashionIq(dir)).hash, hash, "order of the captions");
  }));

Deno.test("every error of an annotation file names file, entry, key, received value and line", () =>
  withFolder(async (dir) => {
    await writeMiniFashionIq(dir);
    const path = `${dir}/captions/cap.toptee.val.json`, text = await Deno.readTextFile(path);
    const cases: [change: (entry: Json) => void, expected: RegExp, fix?: RegExp][] = [
      [
        (e) => delete e.captions,
        /^cap\.toptee\.val\.json: entry 7 has no "captions"$/,
        /its keys: target, candidate/,
      ],
      [
        (e) => (e.caption = e.captions, delete e.captions),
        /entry 7 has no "captions"/,
        /"caption" may be meant/,
      ],
      [(e) => e.captions = ["red"], /entry 7, "captions" has 1 items, expected 2: \["red"\]/],
      [(e) => e.captions = "red", /entry 7, "captions" is "red", expected a list/],
      [(e) => e.captions = ["red", 3], /entry 7, "captions\[1\]" is 3, expected a text/],
      [(e) => delete e.target, /entry 7 has no "target"/],
      [(e) => e.candidate = "", /entry 7, "candidate" is "", expected a name/],
      [
        (e) => e.candidate = "../../x",
        /"candidate" is "\.\.\/\.\.\/x", expected a path below the images' folder/,
      ],
      [
        (e) => e.candidate = "B0NOWHERE0",
        /"candidate" is "B0NOWHERE0", which is not among the 24 images of split\.toptee/,
      ],
      [
        (e) => e.target = "B0NOWHERE0",
        /entry 7 has the target "B0NOWHERE0", which is not in the gallery of 24/,
        /split\.toptee\.val/,
      ],
    ];
    for (const [change, expected, fix = /./] of cases) {
      await Deno.writeTextFile(path, text);
      await edit(path, (entries) => void change(entries[7]));
      const error = await failure(openFashionIq(dir));
      assert.match(error.message, expected);
      assert.ok(error instanceof AnnotationError && error.file === path && error.place[0] === 7);
      const line = (await Deno.readTextFile(path)).split("\n")[error.line - 1];
      assert.ok(error.place.length === 1 ? line.trim() === "{" : /candidate|captions|3/.test(line), line);
      if (fix.source !== ".") assert.match(error.fix ?? "", fix);
      assert.match(formatUserError(error), /\n {2}where {2}.*cap\.toptee\.val\.json, line \d+/);
    }
    const files: [content: string | Uint8Array, expected: RegExp][] = [
      [text.slice(0, 300), /not JSON: .*position 300|not JSON: .*Unterminated|not JSON: /],
      ["", /not JSON/],
      ["{}", /is \{\}, expected a list/],
      ["[3]", /entry 0 is 3, expected an object/],
      [Uint8Array.of(0x5b, 0x22, 0xff, 0x22, 0x5d), /not UTF-8/],
    ];
    for (const [content, expected] of files) {
      await Deno.writeFile(path, typeof content === "string" ? new TextEncoder().encode(content) : content);
      assert.match((await failure(openFashionIq(dir))).message, expected);
    }
  }));

Deno.test("triplets.json is checked to its last key", () =>
  withFolder(async (dir) => {
    await writeMiniFolder(dir);
    const path = `${dir}/triplets.json`, text = await Deno.readTextFile(path);
    type Folder =
      & { splits: Record<string, { triplets: Json[]; gallery?: unknown; galleries?: unknown }> }
      & Json;
    const cases: [change: (folder: Folder) => void, expected: RegExp][] = [
      [(f) => f.title = "x", /triplets\.json: has an unknown key "title"/],
      [(f) => f.splits.validation = f.splits.val, /"splits" has an unknown key "validation"/],
      [
        (f) => f.splits.val.triplets[2].taget = "x",
        /"splits\.val\.triplets", entry 2 has an unknown key "taget"/,
      ],
      [(f) => f.splits.val.triplets[2].target = "a.png", /entry 2 has both "target" and "targets"/],
      [(f) => f.splits.val.triplets[2].targets = [], /entry 2, "targets" is empty/],
      [(f) => delete f.splits.train.triplets[2].target, /entry 2 has neither "target" nor "targets"/],
      [
        (f) => f.splits.val.triplets[2].captions = [],
        /entry 2, "captions" has 0 texts, expected one, or two/,
      ],
      [
        (f) => f.splits.val.triplets[2].captions = ["a", "b"],
        /has 2 texts, but triplets\.json, .*entry 0.* has 1/,
      ],
      [
        (f) => f.splits.val.gallery = ["a.png", "./a.png"],
        /"splits\.val\.gallery", entry 1 is "a\.png" a second time/,
      ],
      [(f) => f.splits.val.gallery = ["/etc/passwd"], /entry 0 is "\/etc\/passwd", expected a path below/],
      [(f) => {
        f.splits.val.galleries = { cross: f.splits.val.gallery, stripe: f.splits.val.gallery };
        delete f.splits.val.gallery;
      }, /entry 0 has the category "disc", but there are galleries for: cross, stripe$/],
      [(f) => f.splits.val.triplets[2].group = [], /entry 2, "group" lacks/],
    ];
    for (const [change, expected] of cases) {
      await Deno.writeTextFile(path, text);
      await edit<Folder>(path, (folder) => void change(folder));
      assert.match((await failure(openFolder(dir))).message, expected);
    }
    await Deno.writeTextFile(path, text.replace('"val": {', '"train": {'));
    assert.match((await failure(openFolder(dir))).message, /key "train" occurs twice/);
  }));

Deno.test("a missing image is an error that says which queries need it", () =>
  withFolder(async (dir) => {
    await writeMiniCirr(dir);
    const { images, splits } = await openCirr(dir);
    const { reference, target } = splits.val.triplets[3];
    for (const i of [reference, target ?? -1]) await Deno.remove(images[i].path ?? "");
    const needed = splits.val.triplets.filter((t) =>
      [t.reference, t.target].some((i) => i === reference || i === target)
    );
    const error = await failure(openCirr(dir));
    assert.equal(
      error.message,
      `CIRR: 2 of 72 images have no file; queries that need them: ${needed.length} of val`,
    );
    assert.match(error.where ?? "", /dev\/dev-.*\.png/);
    assert.match(error.fix ?? "", /--skip-missing/);
    for (const folder of ["train", "dev", "test1"]) {
      await Deno.remove(`${dir}/${folder}`, { recursive: true });
    }
    assert.match(
      (await failure(openCirr(dir, { skipMissing: true }))).where ?? "",
      /looked for images in\n.*\n.*img_raw/,
    );
    assert.equal((await openCirr(dir, { annotationsOnly: true })).images.length, 72);
  }));

Deno.test("skipMissing leaves out queries, gallery and group entries, and counts them", () =>
  withFolder(async (dir) => {
    await writeMiniFashionIq(dir);
    const whole = await openFashionIq(dir);
    const { reference, category = "" } = whole.splits.val.triplets[0];
    const lost = nameOf(whole, reference);
    await Deno.remove(whole.images[reference].path ?? "");
    const dataset = await openFashionIq(dir, { skipMissing: true });
    const affected = whole.splits.val.triplets.filter((t) =>
      t.reference === reference || t.target === reference
    );
    assert.equal(dataset.splits.val.triplets.length, whole.splits.val.triplets.length - affected.length);
    assert.deepEqual(dataset.splits.val.leftOut?.[category], { queries: affected.length, images: 1 });
    assert.equal(dataset.splits.val.galleries?.[category].length, MINI_IMAGES - 1);
    assert.equal(dataset.splits.train.leftOut, undefined);
    assert.deepEqual(dataset.missing?.images, [lost]);
    assert.equal(dataset.missing?.queries.length, affected.length);
    assert.equal(dataset.missing?.queries[0].where, "cap.dress.val.json, entry 0");
    assert.notEqual(dataset.hash, whole.hash);
    assert.ok(dataset.images.every(({ name }) => name !== lost));

    const cirrDir = `${dir}/cirr_dataset`;
    await writeMiniCirr(cirrDir);
    const cirr = await openCirr(cirrDir), { group = [], target, reference: r } = cirr.splits.val.triplets[0];
    const member = group.find((i) => i !== target && i !== r) ?? -1;
    await Deno.remove(cirr.images[member].path ?? "");
    const left = await openCirr(cirrDir, { skipMissing: true });
    assert.equal(left.splits.val.triplets[0].group?.length, 5);
    assert.equal(left.splits.val.triplets[0].groupLeftOut, 1);
    assert.equal(left.splits.val.leftOut?.[""].images, 1);
    await Deno.writeTextFile(cirr.images[r].path ?? "", "<html>");
    const fewer = await openCirr(cirrDir, { skipMissing: true });
    assert.equal(fewer.splits.val.leftOut?.[""].images, 2, "no image: counts as missing");
    assert.ok(fewer.missing?.queries.some(({ where }) => where === "cap.rc2.val.json, entry 0"));
  }));

// Known mistakes, replayed.

Deno.test("replay: a gallery that lacks targets is named, not scored", () =>
  withFolder(async (dir) => {
    await writeMiniCirr(dir);
    const entries: { reference: string; target_hard: string }[] = JSON.parse(
      await Deno.readTextFile(`${dir}/cirr/captions/cap.rc2.val.json`),
    );
    const references = new Set(entries.map(({ reference }) => reference));
    const target = entries.find(({ target_hard }) => !references.has(target_hard))?.target_hard ??
      assert.fail();
    await edit<Json>(`${dir}/cirr/image_splits/split.rc2.val.json`, (split) => void delete split[target]);
    const { message, fix } = await failure(openCirr(dir));
    assert.match(
      message,
      /cap\.rc2\.val\.json: entry \d+ has the (target|group member) ".*", which is not in the gallery of 23/,
    );
    assert.match(fix ?? "", /split\.rc2\.val\.json/);
  }));

Deno.test("replay: ids and images that occur twice are named with both places", () =>
  withFolder(async (dir) => {
    await writeMiniCirr(dir);
    const train = `${dir}/cirr/captions/cap.rc2.train.json`, text = await Deno.readTextFile(train);
    await edit(train, (entries) => void (entries[9].pairid = entries[4].pairid));
    assert.match(
      (await failure(openCirr(dir))).message,
      /entry 9, "pairid" is \d+ a second time, the first is entry 4, "pairid"/,
    );
    await Deno.writeTextFile(train, text);
    const doubleMember = ([first]: { img_set: { members: string[] } }[]) => {
      first.img_set.members[5] = first.img_set.members[4];
    };
    await edit(train, doubleMember);
    const { triplets } = (await openCirr(dir)).splits.train;
    assert.deepEqual(
      triplets.map(({ group }) => group !== undefined),
      triplets.map((_, k) => k > 0),
      "unused",
    );
    await Deno.writeTextFile(train, text);
    const val = `${dir}/cirr/captions/cap.rc2.val.json`, valText = await Deno.readTextFile(val);
    await edit(val, doubleMember);
    assert.match(
      (await failure(openCirr(dir))).message,
      /entry 0, "img_set\.members\[5\]" is ".*" a second time/,
    );
    await Deno.writeTextFile(val, valText);
    const split = `${dir}/cirr/image_splits/split.rc2.val.json`, names = await Deno.readTextFile(split);
    const [line] = names.split("\n").slice(1);
    await Deno.writeTextFile(split, names.replace("{", `{${line}`));
    const error = await failure(openCirr(dir));
    assert.match(error.message, /split\.rc2\.val\.json: key ".*" occurs twice/);
    assert.match(error.where ?? "", /line 2$/);

    await writeMiniFashionIq(dir);
    await edit<string[]>(`${dir}/image_splits/split.shirt.val.json`, (all) => [...all, all[3]]);
    assert.match(
      (await failure(openFashionIq(dir))).message,
      /entry 24 is ".*" a second time, the first is entry 3/,
    );
  }));

Deno.test("replay: the file of another split or category in place is refused", () =>
  withFolder(async (dir) => {
    await writeMiniFashionIq(dir);
    const splits = `${dir}/image_splits`, mine = await Deno.readTextFile(`${splits}/split.dress.val.json`);
    await Deno.copyFile(`${splits}/split.shirt.val.json`, `${splits}/split.dress.val.json`);
    assert.match(
      (await failure(openFashionIq(dir))).message,
      /cap\.dress\.val\.json: entry 0, "candidate" is .* not among the 24 images of split\.dress\.val/,
    );
    await Deno.writeTextFile(`${splits}/split.dress.val.json`, mine);
    await Deno.copyFile(`${dir}/captions/cap.dress.test.json`, `${dir}/captions/cap.dress.val.json`);
    assert.match(
      (await failure(openFashionIq(dir))).message,
      /cap\.dress\.val\.json: entry 0 has no "target"/,
    );

    const cirr = `${dir}/cirr_dataset`;
    await writeMiniCirr(cirr);
    const captions = `${cirr}/cirr/captions`;
    await Deno.copyFile(`${captions}/cap.rc2.val.json`, `${captions}/cap.rc2.train.json`);
    assert.match(
      (await failure(openCirr(dir))).message,
      /cap\.rc2\.train\.json: entry 0, "reference" is .* not among the 24 images of split\.rc2\.train/,
    );
    await Deno.copyFile(
      `${cirr}/cirr/image_splits/split.rc2.val.json`,
      `${cirr}/cirr/image_splits/split.rc2.train.json`,
    );
    assert.match(
      (await failure(openCirr(dir))).message,
      /split\.rc2\.val\.json: ".*" is also an image of another split/,
    );
  }));

Deno.test("replay: the images of another split in a split's folder are missing images", () =>
  withFolder(async (dir) => {
    await writeMiniCirr(dir);
    await Deno.remove(`${dir}/dev`, { recursive: true });
    await Deno.rename(`${dir}/test1`, `${dir}/dev`);
    assert.equal(
      (await failure(openCirr(dir))).message,
      "CIRR: 48 of 72 images have no file; queries that need them: 12 of val, 12 of test",
    );
  }));
