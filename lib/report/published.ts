/**
 * Recall that papers report. Every number comes from a table of another paper than the method's own, some through
 * machine-extracted text: it is quoted as reported there, and has to be checked against the original before it is cited.
 * Where such tables disagree in a digit, the row's note says so; where they disagree by points, the method is left out.
 */
import type { Protocol } from "../metrics/protocol.ts";
import type { Recalls } from "../metrics/recall.ts";

/** A row of another paper's table. */
export interface ReportedRow {
  readonly method: string;
  /** The paper and its table. */
  readonly source: string;
  readonly metrics: Recalls;
  /** Where another table prints another number. */
  readonly note?: string;
}

/** What is reported on one split, under one protocol. */
export interface ReportedSplit {
  readonly dataset: string;
  readonly split: string;
  /** What was measured, in words. */
  readonly about: string;
  /** Of the whole split; a run is compared only if it measured as many. */
  readonly queries: number;
  readonly referenceRemoved: boolean;
  readonly rows: readonly ReportedRow[];
}

const RECALL_A = "ReCALL, Table 1", RUNC_CIRR = "RUNC, Table 2", HUG_CIRR = "HUG, Table 2";
const CIRR_METRICS = [
  "R@1",
  "R@5",
  "R@10",
  "R@50",
  "R_subset@1",
  "R_subset@2",
  "R_subset@3",
  "mean(R@5+R_s@1)",
];

/** Numbers in the order of their names, with spaces between. */
const numbered = (names: readonly string[], values: string): Recalls =>
  Object.fromEntries(values.split(" ").map((value, i) => [names[i], Number(value)]));

const cirr = (method: string, source: string, values: string): ReportedRow => ({
  method,
  source,
  metrics: numbered(CIRR_METRICS, values),
});

const RECALL_F = "ReCALL, Table 2", RUNC_F = "RUNC, Table 1", HUG_F = "HUG";
const FASHION_IQ_METRICS = [
  ...["dress", "shirt", "toptee"].flatMap((category) => [`${category} R@10`, `${category} R@50`]),
  ...["R@10", "R@50", "average_recall"],
];
const fashionIq = (method: string, source: string, values: string): ReportedRow => ({
  method,
  source,
  metrics: numbered(FASHION_IQ_METRICS, values),
});

/** The method whose numbers a difference is taken to. */
export const OUR_METHOD = "CaLa";

/** All that is known. */
export const REPORTED: readonly ReportedSplit[] = [
  {
    dataset: "CIRR",
    split: "test",
    about: "CIRR test1, measured by its server",
    queries: 4148,
    referenceRemoved: true,
    rows: [
      cirr("CIRPLANT", RUNC_CIRR, "19.55 52.55 68.39 92.38 39.20 63.03 79.49 45.88"),
      cirr("ARTEMIS", RUNC_CIRR, "16.96 46.10 61.31 87.73 39.99 62.20 75.67 43.05"),
      cirr("CLIP4Cir (CVPR 2022)", RUNC_CIRR, "33.59 65.35 77.35 95.21 62.39 81.81 92.02 63.87"),
      cirr("CLIP4Cir v2 (CVPRW 2022)", HUG_CIRR, "38.53 69.98 81.86 95.93 68.19 85.64 94.17 69.09"),
      cirr("TG-CIR", RECALL_A, "45.25 78.29 87.16 97.30 72.84 89.25 95.13 75.57"),
      cirr("CASE (pre-trained on LaSCo.Ca)", HUG_CIRR, "49.35 80.02 88.75 97.47 76.48 90.37 95.71 78.25"),
      {
        ...cirr("CoVR-2", RECALL_A, "50.43 81.08 88.89 98.05 76.75 90.34 95.78 79.28"),
        note: "its mean is not that of its columns, which is 78.92",
      },
      cirr("SPRC", RECALL_A, "51.96 82.12 89.74 97.69 80.65 92.31 96.60 81.39"),
      cirr(OUR_METHOD, RECALL_A, "49.11 81.21 89.59 98.00 76.27 91.04 96.46 78.74"),
    ],
  },
  {
    dataset: "FashionIQ",
    split: "val",
    about: "FashionIQ val, original galleries, reference kept",
    queries: 6016,
    referenceRemoved: false,
    rows: [
      {
        ...fashionIq("ARTEMIS", RUNC_F, "27.16 52.40 21.78 43.64 29.20 54.83 26.05 50.29 38.17"),
        note: "ReCALL prints 25.68 / 51.05, 21.57 / 44.13, 28.59 / 55.06 by category",
      },
      fashionIq("CLIP4Cir (CVPR 2022)", RUNC_F, "31.63 56.67 36.36 58.00 38.19 62.42 35.39 59.03 47.21"),
      {
        ...fashionIq("CLIP4Cir v2", HUG_F, "33.81 59.40 39.99 60.45 41.41 65.37 38.40 61.74 50.07"),
        note: "a leaderboard mirror has mean 50.03",
      },
      fashionIq("BLIP4CIR+Bi", HUG_F, "42.09 67.33 41.76 64.28 46.61 70.32 43.49 67.31 55.40"),
      fashionIq("FAME-ViL", RECALL_F, "42.19 67.38 47.64 68.79 50.69 73.07 46.84 69.75 58.29"),
      {
        ...fashionIq("CASE", HUG_F, "48.48 70.23 47.44 69.36 50.18 72.24 48.70 70.61 59.66"),
        note: "a leaderboard mirror has R@10 48.79, mean 59.73",
      },
      {
        ...fashionIq("SPRC", RUNC_F, "49.18 72.43 55.64 73.89 59.35 78.58 54.92 74.97 64.85"),
        note: "its R@10 is not that of its columns, which is 54.72, as ReCALL prints",
      },
      {
        ...fashionIq(OUR_METHOD, RECALL_F, "42.38 66.08 46.76 68.16 50.93 73.42 46.69 69.22 57.96"),
        note:
          "HUG prints shirt R@50 67.28, toptee R@50 74.11, R@50 69.16, mean 57.92; RUNC prints mean 58.05",
      },
    ],
  },
];

/** What is reported on a data set. */
export const reportedOn = ({ dataset }: Protocol): ReportedSplit[] =>
  REPORTED.filter((reported) => reported.dataset === dataset);

/**
 * Whether a run's numbers may stand beside reported ones: the same split as a whole, ranked in the same way.
 *
 * @param queries Measured.
 */
export const isComparable = (reported: ReportedSplit, protocol: Protocol, queries: number): boolean =>
  protocol.dataset === reported.dataset && protocol.split === reported.split &&
  protocol.referenceRemoved === reported.referenceRemoved && queries === reported.queries &&
  protocol.gallery.startsWith("all images of the split") && protocol.droppedQueries === undefined &&
  protocol.missingImages === undefined;
