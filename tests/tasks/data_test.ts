import assert from "node:assert/strict";
import { imageNames } from "../../lib/data/named.ts";
import { readDataset } from "../../lib/data/open.ts";
import {
  captionFindings,
  publishedFindings,
  readAll,
  sharedImages,
} from "../../tasks/data/annotation_findings.ts";
import { lengthFindings, textLengths } from "../../tasks/data/caption_lengths.ts";
import type { Finding } from "../../tasks/data/finding.ts";
import { inspectImages } from "../../tasks/data/image_findings.ts";
import { contentOf, type Published } from "../../tasks/data/published.ts";
import { findingsText, summarise, summaryTable } from "../../tasks/data/summary.ts";
import { writeMiniCirr, writeMiniFashionIq, writeMiniFolder } from "../data/mini.ts";
import { lastLine, run, withFolder } from "./run_task.ts";

type Entry = Record<string, unknown> & { captions: string[] };
async function edit(path: string, change: (entries: Entry[]) => void): Promise<void> {
  const entries = JSON.parse(await Deno.readTextFile(path));
  change(entries);
  await Deno.writeTextFile(path, JSON.stringify(entries, null, 1));
}
const kindsOf = (findings: Iterable<Finding>) => [...findings].map(({ kind }) => kind).sort();

Deno.test("data finds each kind of broken image, and the queries that it costs", () =>
  withFolder(async (dir) => {
    await writeMiniCirr(dir);
    const named = await readDataset({ dataset: "cirr", root: dir });
    const paths = imageNames(named).map(named.pathOf);
    const reference = named.pathOf(named.splits.val.triplets[0].reference);
    const [png, empty, html, cut, flipped, jpeg, twin] = paths; // of train, which come first
    const whole = await Deno.readFile(png);
    await Deno.rename(reference, reference.replace(".png", ".PNG"));
    await Deno.writeFile(empty, new Uint8Array());
    await Deno.writeTextFile(html, "<!DOCTYPE html><title>404</title>");
    await Deno.writeFile(cut, whole.slice(0, whole.length - 20));
    const broken = whole.slice();
    for (let i = 60; i < 90; i++) broken[i] ^= 0x55;
    await Deno.writeFile(flipped, broken);
    const sharp = (await import("sharp")).default;
    await Deno.writeFile(jpeg, await sharp(whole).jpeg().toBuffer());
    await Deno.copyFile(png, twin);

    const quick = await inspectImages(named, { decode: false });
    const messageOf = (path: string) =>
      quick.findings.find((finding) => finding.path === path)?.message ?? "";
    assert.deepEqual(kindsOf(quick.findings), [
      "duplicate images",
      "empty file",
      "missing image",
      "other format",
      "unreadable image",
      "unreadable image",
    ]);
    assert.match(
      messageOf(reference),
      /: no such file, but there is dev-.*\.PNG; (a query needs|\d+ queries need) it$/,
    );
    const lost = quick.findings.find(({ path }) => path === reference);
    assert.ok(lost?.isFatal && lost.queries?.includes("cap.rc2.val.json, entry 0"));
    assert.match(messageOf(html), /not an image file: it starts with "<!DOCTYPE ht"/);
    assert.match(messageOf(cut), /the PNG cannot be decoded/);
    assert.match(messageOf(jpeg), /is JPEG, which is read as such$/);
    assert.ok(
      quick.findings.some(({ message }) => message.includes(twin) && message.includes("have the same bytes")),
    );
    const slow = await inspectImages(named, { decode: true, workers: 2 });
    assert.equal(slow.unreadable.size, quick.unreadable.size + 1, "what only decoding can find");
    assert.ok(slow.findings.some(({ path, kind }) => path === flipped && kind === "unreadable image"));

    const rows = summarise("cirr", named, {}, quick);
    assert.deepEqual(rows.map((row) => [row.split, row.missingImages, row.unreadableImages]), [
      ["train", 0, 3],
      ["val", 1, 0],
      ["test", 0, 0],
    ]);
    assert.ok((rows[1].affectedQueries ?? 0) >= 1);
    assert.match(summaryTable(rows), /^split +triplets +images +missing +unreadable/);
  }));

Deno.test("data lists every broken entry with its line, and goes on", () =>
  withFolder(async (dir) => {
    await writeMiniFashionIq(dir);
    await edit(`${dir}/captions/cap.shirt.val.json`, (entries) => {
      entries[2].captions = ["one"];
      delete entries[5].target;
      entries[7].target = "B0NOWHERE0";
    });
    await Deno.writeTextFile(`${dir}/captions/cap.dress.test.json`, "[{");
    const { named, findings } = await readAll("fashioniq", dir);
    assert.equal(named.splits.val.triplets.filter(({ category }) => category === "shirt").length, 10);
    assert.deepEqual(kindsOf(findings), ["annotation", "annotation", "annotation", "target not in gallery"]);
    assert.deepEqual(findings.map(({ place }) => place), [[2, "captions"], [5], undefined, [7]]);
    assert.ok(findings.every(({ isFatal, file }) => isFatal && file?.startsWith(dir)));
    const lines = (await Deno.readTextFile(`${dir}/captions/cap.shirt.val.json`)).split("\n");
    assert.match(lines[(findings[0].line ?? 0) - 1], /"captions"/);
    assert.match(
      findingsText(findings, 1),
      /^problem: annotation \(3\)\n.*\n {4}where .*\n {2}\.\.\. and 2 more: pass --all/,
    );
  }));

Deno.test("data notes empty and overlong captions, repeated queries and images in two splits", () =>
  withFolder(async (dir) => {
    await writeMiniCirr(dir);
    await edit(`${dir}/cirr/captions/cap.rc2.val.json`, (entries) => {
      entries[0].caption = "word ".repeat(80);
      entries.push({ ...entries[1], pairid: 99999 });
    });
    const named = await readDataset({ dataset: "cirr", root: dir });
    const lengthOf = await textLengths() ?? assert.fail("the tokenizers are not installed");
    assert.deepEqual(kindsOf(captionFindings(named)), ["duplicate query", "empty caption"]);
    const [long, ...others] = lengthFindings(named, lengthOf);
    assert.equal(others.length, 0);
    assert.match(
      long.message,
      /^cap\.rc2\.val\.json, entry 0: 82 CLIP tokens \(cut to 77\), 82 BERT pieces$/,
    );
    assert.equal(summarise("cirr", named, {}, undefined, lengthOf)[1].clipTokens, 82);

    await writeMiniFashionIq(dir);
    await Deno.copyFile(`${dir}/captions/cap.dress.val.json`, `${dir}/captions/cap.dress.train.json`);
    await Deno.copyFile(
      `${dir}/image_splits/split.dress.val.json`,
      `${dir}/image_splits/split.dress.train.json`,
    );
    const leaky = await readDataset({ dataset: "fashioniq", root: dir });
    assert.deepEqual([...sharedImages(leaky)].map(({ message }) => message), [
      "train dress and val dress share 24 images",
    ]);
  }));

Deno.test("replay: captions in the other order, or another split's file in place, are named by the published content", () =>
  withFolder(async (dir) => {
    await writeMiniFashionIq(dir);
    const { splits } = await readDataset({ dataset: "fashioniq", root: dir });
    const filesOf = (split: "train" | "val" | "test") =>
      Object.fromEntries(
        [...splits[split].galleries].map(([category, names]) => {
          const triplets = splits[split].triplets.filter((triplet) => triplet.category === category);
          const captions = contentOf.captions(triplets), gallery = contentOf.gallery(names);
          return [category, { triplets: triplets.length, images: names.length, captions, gallery }];
        }),
      );
    const published: Published = {
      fashioniq: { train: filesOf("train"), val: filesOf("val"), test: filesOf("test") },
    };
    const messages = async () => {
      const { named } = await readAll("fashioniq", dir);
      return [...publishedFindings("fashioniq", named, published)].map(({ message }) => message);
    };
    assert.deepEqual(await messages(), []);
    await edit(
      `${dir}/captions/cap.dress.val.json`,
      (entries) => entries.forEach(({ captions }) => captions.reverse()),
    );
    await edit(`${dir}/captions/cap.shirt.val.json`, (entries) => entries[3].captions[0] += "!");
    await Deno.copyFile(
      `${dir}/image_splits/split.toptee.test.json`,
      `${dir}/image_splits/split.toptee.val.json`,
    );
    const found = await messages();
    assert.match(found[0], /^cap\.dress\.val\.json has the two captions of each triplet in the other order/);
    assert.ok(found.includes("split.toptee.val.json holds what was published as that of toptee test"));
    assert.ok(found.includes("cap.shirt.val.json is not the published file"));
  }));

Deno.test("deno task data ends with 0 where training can run, with 1 where it cannot, with 2 where there is nothing", () =>
  withFolder(async (dir) => {
    await writeMiniFolder(dir);
    const good = await run("data", ["."], dir);
    assert.equal(good.code, 0, good.stderr);
    assert.match(
      good.stdout,
      /^mini in \., 72 images\n[^]*\ntrain +12 +24 +0 +0 +0 +0\n[^]*Training can run on it\n$/,
    );

    await Deno.remove(`${dir}/images/val/disc red.png`);
    const bad = await run("data", [".", "--json"], dir);
    assert.equal(bad.code, 1, bad.stderr);
    const { ok, rows, findings } = JSON.parse(lastLine(bad.stdout));
    assert.equal(ok, false);
    assert.equal(rows[1].missingImages, 1);
    assert.equal(findings[0].kind, "missing image");
    assert.match(findings[0].queries[0], /^triplets\.json, "splits\.val\.triplets", entry \d+$/);

    await Deno.writeTextFile(`${dir}/triplets.json`, "{");
    const broken = await run("data", ["."], dir);
    assert.equal(broken.code, 1, broken.stderr);
    assert.match(broken.stdout, /problem: annotation \(1\)\n {2}triplets\.json: not JSON/);

    const other = await run("data", [".", "--dataset", "cirr"], dir);
    assert.equal(other.code, 2);
    assert.match(other.stderr, /^no cirr in \.\n[^]*it holds folder: pass --dataset folder/);

    const none = await run("data", ["images"], dir);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /^no data set in images\n {2}where {2}looked for triplets\.json/);
  }));
