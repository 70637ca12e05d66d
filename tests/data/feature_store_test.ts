import { deepStrictEqual, match, notStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { ConfigError, DataError, isUserError, ShapeError } from "../../lib/core/errors.ts";
import { COMPUTING, extractFeatures, type ExtractOptions } from "../../lib/data/extract.ts";
import { openFeatureStore } from "../../lib/data/feature_store.ts";
import { openFeatureWriter } from "../../lib/data/feature_writer.ts";
import { imageDecoder } from "../../lib/data/decode.ts";
import { preprocess } from "../../lib/data/preprocess.ts";
import { sha256Hex } from "../../lib/io/atomic.ts";
import type { Dataset } from "../../lib/data/triplet.ts";
import { Random } from "../../lib/core/random.ts";
import { meanBackbone } from "./mean_backbone.ts";

const sharp = (await import("sharp")).default;

/** One id a word: its length. */
const tokenizer = {
  size: 50,
  encode: (text: string, maxLength: number) => [
    40,
    ...text.split(" ").filter(Boolean).map((word) => word.length).slice(0, maxLength - 2),
    41,
  ],
};

async function writePicture(path: string, seed: number): Promise<void> {
  const data = Uint8Array.from({ length: 12 * 10 * 3 }, (_, i) => (seed * 53 + i * (seed + 7)) % 256);
  await sharp(data, { raw: { width: 12, height: 10, channels: 3 } }).png().toFile(path);
}

const triplet = (reference: number, target: number | null, ...captions: string[]) => ({
  reference,
  target,
  captions,
});

/** Seven images, of which the last two have equal bytes. */
async function writeDataset(folder: string): Promise<Dataset> {
  await Deno.mkdir(`${folder}/images`);
  const images = Array.from(
    { length: 7 },
    (_, i) => ({ name: `image ${i}`, path: `${folder}/images/${i}.png` }),
  );
  for (const [i, { path }] of images.entries()) await writePicture(path, Math.min(i, 5));
  return {
    name: "seven",
    images,
    splits: {
      train: {
        triplets: [triplet(0, 1, "is Red.", "has a Hood"), triplet(2, 3, "blue")],
        gallery: [0, 1, 2, 3],
      },
      val: { triplets: [triplet(4, 5, "a b c d e f")], gallery: [4, 5, 6] },
      test: { triplets: [{ ...triplet(6, null, "ünï"), pairId: 7, group: [4, 5, 6] }], gallery: [4, 5, 6] },
    },
    hash: "b".repeat(64),
  };
}

interface Place {
  readonly folder: string;
  readonly out: string;
  readonly dataset: Dataset;
  /** Extracts with the defaults of these tests. */
  extract(options?: Partial<ExtractOptions>): ReturnType<typeof extractFeatures>;
}

async function withDataset(test: (place: Place) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const dataset = await writeDataset(folder), out = `${folder}/store`;
    await test({
      folder,
      out,
      dataset,
      extract: (options = {}) =>
        extractFeatures({
          dataset,
          out,
          encoder: "blip2",
          backbone: meanBackbone(),
          preprocess: { transform: "targetpad", convertRgbFirst: true },
          dtype: "f32",
          tokenizer,
          maxLength: 10,
          batchSize: 2,
          workers: 1,
          ...options,
        }),
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const read = async (out: string, ids: readonly number[]) => {
  using store = await openFeatureStore(out);
  const means = new Float32Array(ids.length * 6), pooled = new Float32Array(ids.length * 3);
  store.images.read(ids, { means, pooled });
  return { means, pooled };
};
const ALL = [0, 1, 2, 3, 4, 5, 6];

/** What the store must hold: images decoded, preprocessed and run one by one. */
async function expected({ images }: Dataset, scale = 1): Promise<{ means: number[]; pooled: number[] }> {
  const decode = await imageDecoder(), backbone = meanBackbone({ scale });
  const all = { means: [] as number[], pooled: [] as number[] };
  for (const { path = "" } of images) {
    const image = await decode(await Deno.readFile(path), path);
    const pixels = preprocess(image, { transform: "targetpad", dim: 8, convertRgbFirst: true });
    const { means, pooled } = await backbone.run(pixels);
    all.means.push(...means);
    all.pooled.push(...pooled);
  }
  return all;
}

Deno.test("a store holds every image's features, each distinct image once, in batches of one size", async () => {
  await withDataset(async ({ out, dataset, extract }) => {
    const backbone = meanBackbone();
    const summary = await extract({ backbone, batchSize: 4 });
    deepStrictEqual(summary, {
      isDone: true,
      images: 7,
      distinct: 6,
      computed: 6,
      damaged: 0,
      bytes: 6 * 36,
      texts: 8,
      cut: [],
    });
    deepStrictEqual(backbone.calls, [4, 4]); // the second is filled up
    const { means, pooled } = await read(out, ALL), want = await expected(dataset);
    deepStrictEqual([...means], want.means);
    deepStrictEqual([...pooled], want.pooled);
    deepStrictEqual([...means.subarray(30, 36)], [...means.subarray(36, 42)]);
    const { pooled: some } = await read(out, [3, 0, 3]);
    deepStrictEqual([...some], [3, 0, 3].flatMap((i) => want.pooled.slice(3 * i, 3 * i + 3)));
  });
});

Deno.test("a store of f16 gives the nearest f16, in half the bytes", async () => {
  await withDataset(async ({ out, dataset, extract }) => {
    strictEqual((await extract({ dtype: "f16" })).bytes, 6 * 18);
    const { means } = await read(out, ALL);
    deepStrictEqual([...means], [...new Float16Array((await expected(dataset)).means)]);
    const large = meanBackbone({ scale: 1e7 });
    await rejects(extract({ dtype: "f16", backbone: large, out: `${out}2` }), (error) => {
      ok(error instanceof DataError);
      match(error.message, /^field "means": the backbone gives -?\d{5,}/);
      match(error.fix ?? "", /--store-dtype f32/);
      return true;
    });
    await rejects(extract({ backbone: meanBackbone({ scale: NaN }), out: `${out}3` }), /backbone gives NaN/);
    const short = {
      ...meanBackbone(),
      run: () => Promise.resolve({ means: new Float32Array(12), pooled: new Float32Array(4) }),
    };
    await rejects(extract({ backbone: short, out: `${out}4` }), /"pooled": 1 numbers of image 1, expected 3/);
    await rejects(
      extract({ backbone: { ...short, run: () => Promise.resolve({}) }, out: `${out}5` }),
      /"means": no numbers/,
    );
  });
});

Deno.test("a store holds the data set and the ids of every text, and opens with its key", async () => {
  await withDataset(async ({ out, dataset, extract }) => {
    const summary = await extract({ maxLength: 6 });
    deepStrictEqual(summary.cut, ["Is red and has a Hood", "Has a hood and is Red", "a b c d e f"]);
    using store = await openFeatureStore(out, { encoder: "blip2", backbone: "a".repeat(64), dtype: "f32" });
    deepStrictEqual(store.dataset, dataset);
    strictEqual(store.images.count, 7);
    deepStrictEqual(store.images.fields, meanBackbone().fields);
    strictEqual(store.tokenizer.size, 50);
    for (
      const text of ["Is red and has a Hood", "Has a hood and is Red", "Is red", "Has a hood", "blue", "ünï"]
    ) {
      for (const maxLength of [2, 4, 6]) {
        deepStrictEqual(store.tokenizer.encode(text, maxLength), tokenizer.encode(text, maxLength), text);
      }
    }
    deepStrictEqual(store.tokenizer.encode("a b c d e f", 9), [40, 1, 1, 1, 1, 41]);
    throws(() => store.tokenizer.encode("unheard of", 9), /text "unheard of" is not among the 8/);
  });
});

Deno.test("shards are no larger than asked, and a batch reads across them", async () => {
  await withDataset(async ({ out, dataset, extract }) => {
    await extract({ shardBytes: 100 });
    const sizes = [...Deno.readDirSync(out)].filter(({ name }) => name.startsWith("features-")).map((
      { name },
    ) => `${name} ${Deno.statSync(`${out}/${name}`).size}`);
    deepStrictEqual(sizes.sort(), [
      "features-00000.bin 72",
      "features-00001.bin 72",
      "features-00002.bin 72",
    ]);
    deepStrictEqual([...(await read(out, ALL)).means], (await expected(dataset)).means);
  });
});

Deno.test("an extraction that was interrupted goes on, and its store is read only when it is whole", async () => {
  await withDataset(async ({ out, dataset, extract }) => {
    const stop = new AbortController(), first = meanBackbone();
    const onProgress = ({ what, done }: { what: string; done: number }) => {
      if (what === COMPUTING && done === 4) stop.abort();
    };
    const { isDone, computed } = await extract({ backbone: first, signal: stop.signal, onProgress });
    deepStrictEqual([isDone, computed, first.calls], [false, 4, [2, 2]]);
    await rejects(openFeatureStore(out), /store is not finished/);
    const second = meanBackbone();
    deepStrictEqual([(await extract({ backbone: second })).computed, second.calls], [2, [2]]);
    deepStrictEqual([...(await read(out, ALL)).means], (await expected(dataset)).means);
    const third = meanBackbone(), before = await Deno.readTextFile(`${out}/store.json`);
    deepStrictEqual([(await extract({ backbone: third })).computed, third.calls], [0, []]);
    strictEqual(await Deno.readTextFile(`${out}/store.json`), before);
  });
});

Deno.test("what a crash tears is found and made anew, whichever file it tears", async () => {
  await withDataset(async ({ out, dataset, extract }) => {
    await extract({ shardBytes: 100 });
    const want = (await expected(dataset)).means,
      shard = `${out}/features-00001.bin`,
      index = `${out}/records.jsonl`;
    const intact = await Deno.readFile(shard), lines = await Deno.readTextFile(index);
    const damage: [
      what: string,
      harm: () => Promise<void>,
      computed: number,
      damaged: number,
      refusal: RegExp,
    ][] = [
      [
        "one byte",
        () => Deno.writeFile(shard, intact.with(40, intact[40] ^ 1)),
        1,
        1,
        /features of image 3 are not those/,
      ],
      [
        "a torn shard",
        () => Deno.truncate(shard, 50),
        1,
        1,
        /features-00001\.bin: has 50 bytes, at least 72 expected/,
      ],
      ["no shard", () => Deno.remove(shard), 2, 2, /features-00001\.bin: no such file/],
      [
        "a torn index",
        () => Deno.writeTextFile(index, lines.slice(0, -20)),
        1,
        0,
        /records\.jsonl: is not as it was/,
      ],
      [
        "a broken index",
        () => Deno.writeTextFile(index, lines.replace("slot", "solt")),
        1,
        1,
        /records\.jsonl: is not/,
      ],
      ["no index", () => Deno.remove(index), 6, 0, /records\.jsonl: no such file/],
      ["no data set", () => Deno.remove(`${out}/dataset.json`), 0, 0, /dataset\.json: no such file/],
      [
        "other texts",
        () => Deno.writeTextFile(`${out}/texts.json`, "{}"),
        0,
        0,
        /texts\.json: is not as it was/,
      ],
    ];
    for (const [what, harm, computed, damaged, refusal] of damage) {
      await harm();
      await rejects(read(out, ALL), (error) => {
        ok(error instanceof DataError && /run the command/.test(error.fix ?? ""), `${what}: ${error}`);
        match(error.message, refusal);
        return true;
      });
      const summary = await extract({ shardBytes: 100 });
      deepStrictEqual([summary.computed, summary.damaged], [computed, damaged], what);
      deepStrictEqual([...(await read(out, ALL)).means], want, what);
    }
  });
});

/** Ways to damage a file, and what is left of it; nothing where it is removed. */
function* damages(bytes: Uint8Array<ArrayBuffer>): Generator<[how: string, left?: Uint8Array<ArrayBuffer>]> {
  const random = new Random(3, "damage");
  yield ["removed"];
  yield ["emptied", new Uint8Array()];
  yield ["halved", bytes.slice(0, bytes.length >> 1)];
  yield ["without its last byte", bytes.slice(0, -1)];
  yield ["twice as long", new Uint8Array([...bytes, ...bytes])];
  yield ["of zeros", new Uint8Array(bytes.length)];
  yield [
    "other JSON",
    new TextEncoder().encode('{"format":"cala-features-1","__proto__":{"key":1},"images":[3]}\n'),
  ];
  for (let i = 0; i < 4; i++) {
    const at = random.nextInt(bytes.length), bit = random.nextInt(8);
    yield [`with bit ${bit} of byte ${at} turned`, bytes.with(at, bytes[at] ^ 1 << bit)];
  }
}

Deno.test("a store with any file damaged in any way gives the same values, or is refused and made whole again", async () => {
  await withDataset(async ({ out, extract }) => {
    await extract({ shardBytes: 144 });
    const want = await read(out, ALL),
      names = [...Deno.readDirSync(out)].map(({ name }) => name).filter((n) => n !== "lock");
    deepStrictEqual(names.length, 6, names.join());
    let refused = 0, cases = 0;
    for (const name of names.sort()) {
      const path = `${out}/${name}`, intact = await Deno.readFile(path);
      for (const [how, left] of damages(intact)) {
        const what = `${name} ${how}`;
        await (left ? Deno.writeFile(path, left) : Deno.remove(path));
        const got = await read(out, ALL).catch((error) => error);
        if (got instanceof Error) {
          ok(isUserError(got) && got.message.includes(out), `${what}: ${Deno.inspect(got)}`);
          refused++;
        } else deepStrictEqual(got, want, what);
        const healed = await extract({ shardBytes: 144 }).catch((error) => error);
        if (healed instanceof Error) { // nothing tells any more what made the features
          ok(isUserError(healed) && name === "store.json", `${what}: ${Deno.inspect(healed)}`);
          await Deno.writeFile(path, intact);
        }
        deepStrictEqual(await read(out, ALL), want, what);
        cases++;
      }
    }
    ok(cases === 66 && refused >= 58, `${refused} of ${cases} refused`);
  });
});

Deno.test("a changed image is noticed: it alone is made anew, in the place of the old one", async () => {
  await withDataset(async ({ out, dataset, extract }) => {
    await extract();
    await writePicture(dataset.images[2].path ?? "", 11);
    const { computed } = await extract();
    strictEqual(computed, 1);
    deepStrictEqual([...(await read(out, ALL)).means], (await expected(dataset)).means);
    strictEqual((await Deno.stat(`${out}/features-00000.bin`)).size, 6 * 36);
    const less: Dataset = { ...dataset, images: dataset.images.slice(0, 4) };
    deepStrictEqual((await extract({ dataset: less })).computed, 0);
    strictEqual((await openFeatureStore(out)).images[Symbol.dispose](), undefined);
  });
});

Deno.test("an image that changes while features are computed is never stored under its old content", async () => {
  await withDataset(async ({ out, dataset, extract }) => {
    let changed: Promise<void> | undefined; // three batches are decoded ahead: image 4 was not read yet
    const onProgress = ({ what }: { what: string }) => {
      if (what === COMPUTING) changed ??= writePicture(dataset.images[4].path ?? "", 12);
    };
    const slow = meanBackbone(), { run } = slow;
    const backbone = { ...slow, run: async (pixels: Float32Array) => (await changed, await run(pixels)) };
    await rejects(
      extract({ batchSize: 1, backbone, onProgress }),
      /images\/4\.png: the file was changed meanwhile/,
    );
    strictEqual((await extract()).isDone, true);
    deepStrictEqual([...(await read(out, ALL)).means], (await expected(dataset)).means);
  });
});

Deno.test("features of another checkpoint, transform or encoder are never taken for these", async () => {
  await withDataset(async ({ out, dataset, extract }) => {
    await extract();
    const other = meanBackbone({ hash: "c".repeat(64), scale: 2 });
    const cases: [options: Partial<ExtractOptions>, message: RegExp][] = [
      [{ backbone: other }, /the store's backbone is a{64}, not c{64}/],
      [
        { preprocess: { transform: "squarepad", convertRgbFirst: true } },
        /preprocessing is targetpad 1\.25, 8 px, RGB first, not squarepad, 8/,
      ],
      [
        { preprocess: { transform: "targetpad", convertRgbFirst: false } },
        /RGB first, not targetpad 1\.25, 8 px, RGB last/,
      ],
      [{ encoder: "clip" }, /the store's encoder is blip2, not clip/],
      [{ dtype: "f16" }, /the store's dtype is f32, not f16/],
    ];
    for (const [options, message] of cases) {
      await rejects(extract(options), (error) => {
        ok(error instanceof ConfigError && /--replace/.test(error.fix ?? ""), String(error));
        match(error.message, message);
        return true;
      });
    }
    await rejects(
      openFeatureStore(out, { backbone: "c".repeat(64) }),
      /the store's backbone is a{64}, not c{64}/,
    );
    deepStrictEqual([...(await read(out, ALL)).means], (await expected(dataset)).means);
    const { key } = await openAndClose(out);
    strictEqual((await extract({ backbone: other, replace: true })).computed, 6);
    deepStrictEqual([...(await read(out, ALL)).means], (await expected(dataset, 2)).means);
    notStrictEqual((await openAndClose(out)).key, key);
  });
});

Deno.test("a store is not another data set's of the same name, finished or not; a damaged store.json is replaced on demand", async () => {
  await withDataset(async ({ folder, out, dataset, extract }) => {
    const stop = new AbortController();
    await extract({ signal: stop.signal, onProgress: ({ what }) => what === COMPUTING && stop.abort() });
    await Deno.mkdir(`${folder}/others`);
    const images = await Promise.all(ALL.map(async (i) => {
      const path = `${folder}/others/${i}.png`;
      await writePicture(path, 20 + i);
      return { name: `image ${i}`, path };
    }));
    const refused = (stored: number) =>
      rejects(extract({ dataset: { ...dataset, images } }), (error) => {
        ok(error instanceof ConfigError && /--replace/.test(error.fix ?? ""), String(error));
        match(
          error.message,
          new RegExp(`features of ${stored} images, none of them among these 7: another data set's$`),
        );
        return true;
      });
    await refused(2);
    strictEqual((await extract()).computed, 4);
    await refused(6);
    strictEqual((await extract({ dataset: { ...dataset, images }, replace: true })).computed, 7);

    await Deno.writeTextFile(`${out}/store.json`, "{");
    await rejects(extract(), (error) => error instanceof DataError && /--replace/.test(error.fix ?? ""));
    strictEqual((await extract({ replace: true })).computed, 6);
    deepStrictEqual([...(await read(out, ALL)).means], (await expected(dataset)).means);
  });
});

async function openAndClose(out: string) {
  using store = await openFeatureStore(out);
  return store;
}

Deno.test("a store is not made in place of other files, nor by two at once, nor on a disk that is too small", async () => {
  await withDataset(async ({ folder, out, extract }) => {
    await Deno.mkdir(out);
    await Deno.writeTextFile(`${out}/dataset.json`, "mine");
    await rejects(extract(), /has dataset\.json and no store\.json: it is no feature store/);
    strictEqual(await Deno.readTextFile(`${out}/dataset.json`), "mine");
    await Deno.remove(`${out}/dataset.json`);

    const settings = {
      encoder: "blip2",
      backbone: "d".repeat(64),
      preprocess: { transform: "clip", dim: 8, convertRgbFirst: true } as const,
      dtype: "f32" as const,
      fields: { tokens: [2 ** 20, 2 ** 10] },
    };
    using writer = await openFeatureWriter(`${folder}/huge`, settings);
    await rejects(openFeatureWriter(`${folder}/huge`, settings), /huge is in use by process/);
    const images = Array.from({ length: 2 ** 15 }, (_, i) => sha256Hex(String(i)));
    await rejects(writer.missing(images), /huge: the features take 128 TiB more, its disk has .* free/);
  });
});

Deno.test("a missing or broken image stops the extraction by name, and what was made stays", async () => {
  await withDataset(async ({ dataset, extract }) => {
    await Deno.writeTextFile(dataset.images[4].path ?? "", "no image");
    await rejects(extract({ batchSize: 1 }), /images\/4\.png: not an image file/);
    await writePicture(dataset.images[4].path ?? "", 4);
    const { computed } = await extract({ batchSize: 1 });
    ok(computed >= 1 && computed < 6, `${computed} of 6`);
    await Deno.remove(dataset.images[3].path ?? "");
    await rejects(extract(), (error) => {
      ok(error instanceof DataError && /--skip-missing/.test(error.fix ?? ""));
      match(error.message, /images\/3\.png: no such file/);
      return true;
    });
  });
});

Deno.test("FeatureStore.read() refuses fields, lengths and positions that are not there", async () => {
  await withDataset(async ({ out, extract }) => {
    await extract();
    using store = await openFeatureStore(out);
    throws(() => store.images.read([0], { tokens: new Float32Array(3) }), ShapeError);
    throws(() => store.images.read([0, 1], { pooled: new Float32Array(3) }), /2 images take 6 f32/);
    throws(() => store.images.read([0], { pooled: new Uint8Array(3) }), /Uint8Array of 3/);
    throws(() => store.images.read([7], { pooled: new Float32Array(3) }), /image 7 of 7/);
    await rejects(openFeatureStore(`${out}/nowhere`), /nowhere: is no feature store/);
  });
});
