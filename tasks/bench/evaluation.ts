/** Ranking whole validation splits from stored embeddings: what `eval` does after the encoders. */
import { Artemis } from "../../lib/cala/frames/artemis.ts";
import { cosines } from "../../lib/cala/frames/frame.ts";
import { Random } from "../../lib/core/random.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import type { QueryKind } from "../../lib/nn/frame.ts";
import type { Cost } from "../../lib/tensor/op.ts";
import { rankGallery, type Stored } from "../../lib/train/score.ts";
import type { Search } from "../../lib/train/searches.ts";

/** A split: each gallery's queries and images. */
export interface EvaluationCase {
  readonly kernel: string;
  /** Queries, images, embedding size. */
  readonly shape: readonly number[];
  /** What it cannot do without: the products, and each byte once. */
  readonly cost: Cost;
  /** Ranks all galleries; milliseconds, without the making of the random embeddings. */
  run(gpu: Gpu): Promise<number>;
}

/** Queries and images of each gallery: spec of the published validation splits. */
const CIRR: readonly Size[] = [[4181, 2297]];
const FASHION_IQ: readonly Size[] = [[2017, 3817], [2038, 6346], [1961, 5373]];
type Size = readonly [queries: number, images: number];
const D = 768;

/** Frame sum: inner products. */
const sum = {
  products: 1,
  fields: ["feats"],
  kind: (): QueryKind => ({ encode: () => ({}), scores: (q, g) => cosines(q.feats, g.feats) }),
};
/** Frame artemis: two products a term, two terms. */
const artemis = {
  products: 4,
  fields: ["referenceFeats", "textFeats"],
  kind(): QueryKind {
    const module = new Artemis(D, { random: new Random(1, "artemis") });
    return {
      encode: () => ({}),
      scores: ({ referenceFeats, textFeats }, { feats }) =>
        module.scores({ referenceFeats, textFeats }, feats),
    };
  },
};

function evaluationCase(name: string, sizes: readonly Size[], frame: typeof sum): EvaluationCase {
  const total = (of: (size: Size) => number) => sizes.reduce((sum, size) => sum + of(size), 0);
  const pairs = total(([Q, N]) => Q * N), { products, fields } = frame;
  const queries = total(([Q]) => Q), images = total(([, N]) => N);
  return {
    kernel: `evaluation: ${name}`,
    shape: [queries, images, D],
    // Scores are written by the GPU and read by the CPU.
    cost: {
      flops: 2 * products * pairs * D,
      bytes: 4 * D * (fields.length * queries + images) + 8 * pairs,
    },
    async run(gpu) {
      let ms = 0;
      for (const [i, [Q, N]] of sizes.entries()) {
        const queries: Stored = Object.fromEntries(
          fields.map((field) => [field, embeddings(`${field}${i}`, Q)]),
        );
        const gallery = { feats: embeddings(`gallery${i}`, N) }, search = randomSearch(Q, N);
        const start = performance.now();
        await rankGallery(gpu, frame.kind(), { queries, gallery, search });
        ms += performance.now() - start;
      }
      return ms;
    },
  };
}

const embeddings = (name: string, rows: number): Stored[string] => ({
  shape: [D],
  data: new Random(1, name).normal(rows * D, 0, D ** -0.5),
});

function randomSearch(Q: number, N: number): Search {
  const random = new Random(1, "search");
  const targets = Uint32Array.from({ length: Q }, () => random.nextInt(N));
  return {
    gallery: Array.from({ length: N }, (_, g) => g),
    queries: Array.from({ length: Q }, (_, q) => q),
    targets,
    exclude: Int32Array.from(targets, (target) => (target + 1) % N),
    members: Array.from(targets, (target) => [0, 1, 2, 3, 4, 5].map((i) => (target + i) % N)),
  };
}

export const evaluationCases: readonly EvaluationCase[] = [
  evaluationCase("CIRR val, sum", CIRR, sum),
  evaluationCase("CIRR val, artemis", CIRR, artemis),
  evaluationCase("FashionIQ val, sum", FASHION_IQ, sum),
  evaluationCase("FashionIQ val, artemis", FASHION_IQ, artemis),
];
