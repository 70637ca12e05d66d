/** The rows of the released experiments' tables, as data: each backbone and frame without CaLa, with parts of it, and whole. */
import type { MethodRow } from "../train/result_table.ts";
import type { ReleasedDataset } from "./flags.ts";

/** CaLa's parts: what is left of the two weights, and what it is tested against. */
const PARTS = {
  baseline: { label: "baseline", flags: { baseline: true }, against: [] },
  tac: { label: "TAC only", flags: { hcaWeight: 0 }, against: ["baseline"] },
  hca: { label: "HCA only", flags: { tacWeight: 0 }, against: ["baseline"] },
  cala: { label: "CaLa", flags: {}, against: ["baseline"] },
} as const;
type Part = keyof typeof PARTS;

/** Encoders and frames, and which parts of CaLa have a row. */
const METHODS = [
  {
    name: "blip2-sum",
    label: "BLIP-2, sum",
    experiment: "blip2_sum",
    parts: ["baseline", "tac", "hca", "cala"],
  },
  {
    name: "blip2-artemis",
    label: "BLIP-2, ARTEMIS",
    experiment: "blip2_artemis",
    parts: ["baseline", "tac", "hca", "cala"],
  },
  {
    name: "blip2-multi-sum",
    label: "BLIP-2, visual frozen, sum",
    experiment: "blip2_sum",
    flags: { encoder: "multi" },
    parts: ["baseline", "cala"],
  },
  {
    name: "blip2-multi-artemis",
    label: "BLIP-2, visual frozen, ARTEMIS",
    experiment: "blip2_artemis",
    flags: { encoder: "multi" },
    parts: ["baseline", "cala"],
  },
  { name: "clip-sum", label: "CLIP, sum", experiment: "clip_sum", parts: ["baseline", "tac", "hca", "cala"] },
  {
    name: "clip-artemis",
    label: "CLIP, ARTEMIS",
    experiment: "clip_artemis",
    parts: ["baseline", "tac", "hca", "cala"],
  },
] as const satisfies readonly {
  name: string;
  label: string;
  experiment: string;
  flags?: MethodRow["flags"];
  parts: readonly Part[];
}[];

/**
 * The rows of a data set's table. Ablations differ from CaLa in one weight; the Combiner's rows go on from the runs of
 * CLIP's sum of the same seed.
 *
 * @example Usage
 * ```ts
 * const names = releasedRows("cirr").map(({ name }) => name);
 * if (!names.includes("blip2-sum-tac") || !names.includes("clip-combiner-cala")) throw new Error(names.join());
 * ```
 */
export function releasedRows(dataset: Exclude<ReleasedDataset, "folder">): MethodRow[] {
  const trained = METHODS.flatMap((method): MethodRow[] => {
    const own: MethodRow["flags"] = "flags" in method ? method.flags : {};
    return method.parts.map((part) => {
      const { label, flags, against } = PARTS[part];
      return {
        name: `${method.name}-${part}`,
        label: `${method.label}, ${label}`,
        experiment: `${dataset}_${method.experiment}`,
        flags: { ...own, ...flags },
        against: against.map((other) => `${method.name}-${other}`),
      };
    });
  });
  const combined = (["baseline", "cala"] as const).map((part): MethodRow => ({
    name: `clip-combiner-${part}`,
    label: `CLIP, Combiner, ${PARTS[part].label}`,
    experiment: `${dataset}_clip_combiner`,
    flags: part === "baseline" ? { baseline: true } : {},
    firstStage: `clip-sum-${part}`,
    against: PARTS[part].against.map((other) => `clip-combiner-${other}`),
  }));
  return [...trained, ...combined];
}
