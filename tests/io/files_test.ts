import assert from "node:assert/strict";
import { ConfigError, DataError } from "../../lib/core/errors.ts";
import { sha256Hex, writeFileAtomic } from "../../lib/io/atomic.ts";
import { appendCsv, cutCsv, encodeCsv, parseCsv, readCsv } from "../../lib/io/csv.ts";
import { appendJsonl, cutAfter, cutJsonl, readJsonl } from "../../lib/io/jsonl.ts";

/** Runs `body` in a folder that is gone afterwards. */
async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
const names = (folder: string) => [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();

Deno.test("writeFileAtomic() writes texts, bytes and pieces", () =>
  inFolder(async (folder) => {
    async function* later() {
      yield "a";
      await Promise.resolve();
      yield new Uint8Array([98, 99]);
    }
    const big = new Uint8Array(3_000_000).map((_, i) => i % 251);
    await writeFileAtomic(`${folder}/text`, "grüß");
    await writeFileAtomic(`${folder}/bytes`, big);
    await writeFileAtomic(`${folder}/pieces`, ["x", new Uint8Array([121])]);
    await writeFileAtomic(`${folder}/later`, later());
    await writeFileAtomic(`${folder}/empty`, []);
    assert.equal(await Deno.readTextFile(`${folder}/text`), "grüß");
    assert.equal(sha256Hex(await Deno.readFile(`${folder}/bytes`)), sha256Hex(big));
    assert.equal(await Deno.readTextFile(`${folder}/pieces`), "xy");
    assert.equal(await Deno.readTextFile(`${folder}/later`), "abc");
    assert.equal(await Deno.readTextFile(`${folder}/empty`), "");
    assert.deepEqual(names(folder), ["bytes", "empty", "later", "pieces", "text"]);
  }));

Deno.test("writeFileAtomic() keeps the old file and no partial when writing fails", () =>
  inFolder(async (folder) => {
    function* failing() {
      yield "half";
      throw new Error("disk full");
    }
    await writeFileAtomic(`${folder}/a`, "old");
    await assert.rejects(writeFileAtomic(`${folder}/a`, failing()), /disk full/);
    assert.equal(await Deno.readTextFile(`${folder}/a`), "old");
    await Deno.mkdir(`${folder}/taken/full`, { recursive: true });
    await assert.rejects(writeFileAtomic(`${folder}/taken`, "x"), "a folder is in the way");
    await assert.rejects(writeFileAtomic(`${folder}/missing/a`, "x"), Deno.errors.NotFound);
    assert.deepEqual(names(folder), ["a", "taken"]);
  }));

Deno.test("writeFileAtomic() shows a reader the old file until the new one is whole", () =>
  inFolder(async (folder) => {
    const seen: string[] = [];
    async function* pieces() {
      for (let i = 0; i < 3; i++) {
        yield `${i}`;
        seen.push(await Deno.readTextFile(`${folder}/a`));
      }
    }
    await Deno.writeTextFile(`${folder}/a`, "old");
    await writeFileAtomic(`${folder}/a`, pieces());
    assert.deepEqual([...seen, await Deno.readTextFile(`${folder}/a`)], ["old", "old", "old", "012"]);
  }));

Deno.test("sha256Hex() gives the hashes of FIPS 180-2's examples", () => {
  assert.equal(sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert.equal(
    sha256Hex(new Uint8Array(0)),
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  );
});

Deno.test("a log is appended to, read, and cut back to a step", () =>
  inFolder(async (folder) => {
    const path = `${folder}/log.jsonl`;
    assert.deepEqual(await readJsonl(path), { records: [] });
    await appendJsonl(path, { event: "start" });
    await appendJsonl(path, { step: 1, loss: 0.1 }, { step: 2, loss: 0.2 }, { step: 3, text: "a\nb" });
    assert.deepEqual((await readJsonl(path)).records.map((r) => r.step), [undefined, 1, 2, 3]);
    assert.deepEqual(await cutJsonl(path, cutAfter(1)), { dropped: 2 });
    assert.equal(await Deno.readTextFile(path), '{"event":"start"}\n{"step":1,"loss":0.1}\n');
    assert.deepEqual(await cutJsonl(path, cutAfter(1)), { dropped: 0 });
  }));

Deno.test("a torn last line is reported, not appended to, and removed by the cut", () =>
  inFolder(async (folder) => {
    const path = `${folder}/log.jsonl`;
    await appendJsonl(path, { step: 1 });
    await Deno.writeTextFile(path, '{"step": 2, "lo', { append: true });
    assert.deepEqual(await readJsonl(path), { records: [{ step: 1 }], torn: '{"step": 2, "lo' });
    await assert.rejects(appendJsonl(path, { step: 2 }), DataError);
    assert.deepEqual(await cutJsonl(path, cutAfter(9)), { dropped: 0, torn: '{"step": 2, "lo' });
    await appendJsonl(path, { step: 2 });
    assert.deepEqual(await readJsonl(path), { records: [{ step: 1 }, { step: 2 }] });
  }));

Deno.test("readJsonl() names the line that is no object", () =>
  inFolder(async (folder) => {
    for (const bad of ["{oops}", "3", "[]", "null", ""]) {
      await Deno.writeTextFile(`${folder}/log.jsonl`, `{"a":1}\n${bad}\n{"a":2}\n`);
      await assert.rejects(readJsonl(`${folder}/log.jsonl`), (error) => {
        assert.ok(error instanceof DataError);
        assert.match(error.message, /line 2: not /);
        return true;
      });
    }
  }));

Deno.test("a CSV is appended to with one header, and cut", () =>
  inFolder(async (folder) => {
    const path = `${folder}/m.csv`;
    for (let epoch = 0; epoch < 3; epoch++) await appendCsv(path, { epoch, "mean(R@5+R_s@1)": epoch / 3 });
    assert.equal(
      await Deno.readTextFile(path),
      "epoch,mean(R@5+R_s@1)\n0,0\n1,0.3333333333333333\n2,0.6666666666666666\n",
    );
    await cutCsv(path, (row) => Number(row.epoch) <= 1);
    assert.deepEqual((await readCsv(path)).map((row) => row.epoch), ["0", "1"]);
    await assert.rejects(appendCsv(path, { epoch: 2, loss: 1 }), ConfigError);
    await cutCsv(path, () => false);
    assert.equal(await Deno.readTextFile(path), "");
    await appendCsv(path, { loss: 1 });
    assert.equal(await Deno.readTextFile(path), "loss\n1\n");
  }));

Deno.test("CSV cells with commas, quotes and newlines come back", () => {
  const rows = [{ a: 'x, "y"', b: "l1\nl2" }, { a: "", b: " " }];
  assert.deepEqual(parseCsv(encodeCsv(rows), "t"), rows);
  assert.deepEqual(parseCsv("a,b\r\n1,2\r\n3,", "t"), [{ a: "1", b: "2" }, { a: "3", b: "" }]);
  assert.deepEqual(parseCsv("", "t"), []);
  assert.throws(() => parseCsv("a,b\n1\n", "t"), /row 1 has 1 cells, the header 2/);
  for (const bad of ['a\n"x', 'a\nx"y\n', 'a\n"x"y\n']) {
    assert.throws(() => parseCsv(bad, "t"), DataError, bad);
  }
});
