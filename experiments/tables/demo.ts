/** Does CaLa help on the demo set? `deno task reproduce --table demo`: 31 runs; it says before how long they will take. */
import type { ResultTable } from "../../mod.ts";

const baseline = { tacWeight: 0, hcaWeight: 0 }, tac = { hcaWeight: 0 }, hca = { tacWeight: 0 };
const artemis = { frame: "artemis" };

/**
 * The matching logits are multiplied by `1 - tacWeight`: with the default 0.45 the scale of 100 is effectively 55. Two rows
 * compare at equal effective scale: the baseline at 55, and CaLa at 100 (181.8 × 0.55).
 */
const table: ResultTable = {
  name: "demo",
  experiment: "demo",
  rows: [
    { name: "baseline", label: "baseline", flags: baseline, against: [] },
    { name: "tac", label: "TAC", flags: tac, against: ["baseline"] },
    { name: "hca", label: "HCA", flags: hca, against: ["baseline"] },
    { name: "cala", label: "CaLa", flags: {}, against: ["baseline", "baseline-scale55"] },
    {
      name: "baseline-scale55",
      label: "baseline, scale 55",
      flags: { ...baseline, matchScale: 55 },
      against: ["baseline"],
    },
    {
      name: "cala-scale182",
      label: "CaLa, scale 181.8",
      flags: { matchScale: 181.8 },
      against: ["baseline", "cala"],
    },
    {
      name: "cala-released",
      label: "CaLa, scales 100/10/10 as released",
      flags: { tacScale: 10, hcaScale: 10 },
      against: ["baseline", "cala"],
    },
    {
      name: "artemis-baseline",
      label: "ARTEMIS, baseline",
      flags: { ...artemis, ...baseline },
      against: ["baseline"],
      maxSeeds: 1,
    },
    {
      name: "artemis-tac",
      label: "ARTEMIS, TAC",
      flags: { ...artemis, ...tac },
      against: ["artemis-baseline"],
      maxSeeds: 1,
    },
    {
      name: "artemis-hca",
      label: "ARTEMIS, HCA",
      flags: { ...artemis, ...hca },
      against: ["artemis-baseline"],
      maxSeeds: 1,
    },
    {
      name: "artemis-cala",
      label: "ARTEMIS, CaLa",
      flags: artemis,
      against: ["artemis-baseline"],
      maxSeeds: 1,
    },
    {
      name: "baseline-scale55-long",
      label: "baseline, scale 55, 3,000 steps",
      flags: { ...baseline, matchScale: 55, steps: 3000 },
      against: ["baseline-scale55"],
    },
    {
      name: "cala-long",
      label: "CaLa, 3,000 steps",
      flags: { steps: 3000 },
      against: ["cala", "baseline-scale55-long"],
    },
  ],
};
export default table;
