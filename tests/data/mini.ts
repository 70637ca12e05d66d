/**
 * Miniature data sets in the real layouts and JSON schemas: FashionIQ, CIRR, and a folder of one's own. Every picture is
 * its own (colour, form, place), and captions say colour and form of the target, so a model can learn them.
 */
import { dirname } from "node:path";
import { Random } from "../../lib/core/random.ts";

const sharp = (await import("sharp")).default;

const COLOURS = {
  red: [200, 30, 40],
  green: [30, 160, 60],
  blue: [40, 60, 200],
  yellow: [220, 200, 40],
  white: [240, 240, 235],
  black: [20, 20, 25],
} as const;
const FORMS = ["square", "stripe", "disc", "cross"] as const;
const COLOUR_NAMES = Object.keys(COLOURS) as (keyof typeof COLOURS)[];
/** Pictures a split (or category) has: each colour in each form once. */
export const MINI_IMAGES = COLOUR_NAMES.length * FORMS.length;
/** Triplets a split (or category) has. */
export const MINI_TRIPLETS = 12;

const colourOf = (i: number) => COLOUR_NAMES[i % COLOUR_NAMES.length];
const formOf = (i: number) => FORMS[Math.floor(i / COLOUR_NAMES.length) % FORMS.length];

/** How a picture's file is stored; decoders see the mode that Pillow would see. */
type Stored = "jpeg" | "grey-jpeg" | "png" | "grey-png" | "palette-png" | "rgba-png";

/** Picture `i` of a split: a form of one colour at a place that only this picture has. */
async function writePicture(
  path: string,
  i: number,
  place: number,
  [width, height]: readonly [number, number],
  stored: Stored,
): Promise<void> {
  const colour = COLOURS[colourOf(i)], form = formOf(i), half = 8;
  const cx = half + place % (width - 2 * half);
  const cy = half + Math.floor(place / (width - 2 * half)) % (height - 2 * half);
  const isInside = (x: number, y: number): boolean => {
    if (form === "square") return Math.max(Math.abs(x), Math.abs(y)) <= half;
    if (form === "disc") return x * x + y * y <= half * half;
    if (form === "stripe") return Math.abs(x) <= half && Math.abs(y) <= half / 2;
    return Math.min(Math.abs(x), Math.abs(y)) <= half / 3;
  };
  const channels = stored === "rgba-png" ? 4 : 3;
  const data = new Uint8Array(width * height * channels).fill(128);
  for (let y = 0, o = 0; y < height; y++) {
    for (let x = 0; x < width; x++, o += channels) {
      const inside = isInside(x - cx, y - cy);
      if (inside) data.set(colour, o);
      if (channels === 4) data[o + 3] = inside ? 255 : 60; // the colour under the alpha counts: Pillow drops the alpha
    }
  }
  const image = sharp(data, { raw: { width, height, channels } });
  const file = stored === "jpeg"
    ? image.jpeg({ quality: 90 })
    : stored === "grey-jpeg"
    ? image.toColourspace("b-w").jpeg({ quality: 90 })
    : stored === "grey-png"
    ? image.toColourspace("b-w").png()
    : stored === "palette-png"
    ? image.png({ palette: true, colours: 8, dither: 0 })
    : image.png();
  await Deno.mkdir(dirname(path), { recursive: true });
  await Deno.writeFile(path, await file.toBuffer());
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await Deno.mkdir(dirname(path), { recursive: true });
  await Deno.writeTextFile(path, JSON.stringify(value, null, 2));
}

/** Reference and target of triplet `k`: 12 targets, 8 references (some twice), 4 pictures that no triplet names. */
const pairOf = (k: number): [reference: number, target: number] => [12 + k % 8, k];

/**
 * FashionIQ in small: 24 pictures and 12 triplets for each category and split, `images/`, `captions/`, `image_splits/` in
 * `dir`. Shirt and toptee of train share two pictures, as the real ones share some. Test has no targets.
 */
export async function writeMiniFashionIq(dir: string, { seed = 1 }: { seed?: number } = {}): Promise<void> {
  const random = new Random(seed, "mini fashioniq");
  const digits = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ";
  const newName = () =>
    "B0" + Array.from({ length: 8 }, () => digits[random.nextInt(digits.length)]).join("");
  const shared: string[] = [];
  const pictures: Promise<void>[] = [];
  for (const [c, category] of ["dress", "shirt", "toptee"].entries()) {
    for (const [s, split] of ["train", "val", "test"].entries()) {
      const names = Array.from({ length: MINI_IMAGES }, newName);
      if (category === "shirt" && split === "train") {
        names[22] = "9780306406157"; // some shirts are named like books
        shared.push(names[19], names[21]); // the first is a reference of shirt, of toptee neither is
      }
      if (category === "toptee" && split === "train") names.splice(20, 2, ...shared);
      for (const [i, name] of names.entries()) {
        if (category === "toptee" && shared.includes(name)) continue;
        const place = (c * 3 + s) * MINI_IMAGES + i;
        const stored = i % 11 === 10 ? "grey-jpeg" : "jpeg";
        pictures.push(writePicture(`${dir}/images/${name}.jpg`, i, place, [30 + i % 3, 44], stored));
      }
      const triplets = Array.from({ length: MINI_TRIPLETS }, (_, k) => {
        const [reference, target] = pairOf(k);
        const captions = [` is ${colourOf(target)}, not ${colourOf(reference)}.`, `Has a ${formOf(target)}`];
        if (split === "train" && k === 3) captions[0] = "is café-coloured";
        if (category === "toptee" && k === 5) captions[1] = split === "train" ? "" : " . ";
        return { ...(split !== "test" && { target: names[target] }), candidate: names[reference], captions };
      });
      await writeJson(`${dir}/captions/cap.${category}.${split}.json`, triplets);
      await writeJson(`${dir}/image_splits/split.${category}.${split}.json`, names);
    }
  }
  await Promise.all(pictures);
}

/**
 * CIRR in small: 24 pictures, four groups of six and 12 triplets for each split; `cirr/captions/`, `cirr/image_splits/`,
 * `train/0/`, `train/1/`, `dev/`, `test1/` in `dir`. Pictures are RGB, grey, palette and RGBA. test1 has no targets.
 */
export async function writeMiniCirr(dir: string, { seed = 1 }: { seed?: number } = {}): Promise<void> {
  const random = new Random(seed, "mini cirr");
  const modes: Stored[] = ["png", "png", "palette-png", "png", "rgba-png", "grey-png"];
  const pictures: Promise<void>[] = [];
  let pairid = 100;
  for (const [s, split] of ["train", "val", "test1"].entries()) {
    const folder = split === "val" ? "dev" : split;
    const names = Array.from(
      { length: MINI_IMAGES },
      (_, i) => `${folder}-${s * 1000 + 7 * i + random.nextInt(7)}-${i % 4}-img${i % 2}`,
    );
    const paths = names.map((name, i) =>
      folder === "train" ? `./train/${i % 2}/${name}.png` : `./${folder}/${name}.png`
    );
    for (const [i, path] of paths.entries()) {
      pictures.push(
        writePicture(`${dir}/${path.slice(2)}`, i, s * MINI_IMAGES + i, [48, 34 + i % 3], modes[i % 6]),
      );
    }
    const groups = Array.from({ length: 4 }, (_, g) => [...random.permutation(6)].map((m) => 6 * g + m));
    const triplets = Array.from({ length: MINI_TRIPLETS }, (_, k) => {
      const group = groups[k % 4], reference = group[k % 6], target = group[(k + 1 + k % 3) % 6];
      let caption = `make it ${colourOf(target)} and a ${formOf(target)}.`;
      if (split === "val" && k === 2) caption = "the façade is  Red";
      if (split === "test1" && k === 4) caption = " "; // the real test1 has one such caption
      const members = group.map((m) => names[m]);
      const soft = { [names[target]]: 1.0, ...(k % 3 === 0 && { [names[group[(k + 5) % 6]]]: -1.0 }) };
      const hasTarget = split !== "test1";
      return {
        pairid: pairid += 1 + random.nextInt(3),
        reference: names[reference],
        ...(hasTarget && { target_hard: names[target], target_soft: soft }),
        caption,
        img_set: { id: k % 4, members, reference_rank: 2, ...(hasTarget && { target_rank: 3 }) },
      };
    });
    await writeJson(`${dir}/cirr/captions/cap.rc2.${split}.json`, triplets);
    await writeJson(
      `${dir}/cirr/image_splits/split.rc2.${split}.json`,
      Object.fromEntries(names.map((name, i) => [name, paths[i]])),
    );
  }
  await Promise.all(pictures);
}

/**
 * A data set of one's own: `triplets.json` and `images/` in `dir`. Three splits of 12 triplets over 24 pictures each; in
 * val every query has two targets (the same form in two colours), groups of six and a category.
 */
export async function writeMiniFolder(dir: string): Promise<void> {
  const splits: Record<string, unknown> = {};
  const pictures: Promise<void>[] = [];
  for (const [s, split] of ["train", "val", "test"].entries()) {
    const names = Array.from({ length: MINI_IMAGES }, (_, i) => `${split}/${formOf(i)} ${colourOf(i)}.png`);
    for (const [i, name] of names.entries()) {
      pictures.push(
        writePicture(`${dir}/images/${name}`, i, s * MINI_IMAGES + i, [36, 36], i % 5 ? "png" : "grey-png"),
      );
    }
    const triplets = Array.from({ length: MINI_TRIPLETS }, (_, k) => {
      const [reference, target] = pairOf(k);
      const caption = `now a ${colourOf(target)} ${formOf(target)}`;
      if (split !== "val") return { reference: names[reference], target: names[target], captions: [caption] };
      const other = k % 6 === 5 ? k - 5 : k + 1; // of the same form
      const group = [reference, target, other, 20, 21, 22].map((i) => names[i]);
      return {
        id: `val ${k}`,
        reference: names[reference],
        targets: [names[target], names[other]],
        captions: [`now a ${formOf(target)}`],
        group,
        category: formOf(reference),
      };
    });
    splits[split] = { triplets, gallery: names };
  }
  await writeJson(`${dir}/triplets.json`, { name: "mini", splits });
  await Promise.all(pictures);
}
