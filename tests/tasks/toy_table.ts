/** A table of the tiny experiment. */
import { fileURLToPath } from "node:url";
import type { ResultTable } from "../../mod.ts";

const table: ResultTable = {
  name: "toy",
  experiment: fileURLToPath(new URL("../train/toy_experiment.ts", import.meta.url)),
  rows: [
    { name: "baseline", label: "baseline", flags: { drop: 0 }, against: [] },
    { name: "dropout", label: "dropout", flags: {}, against: ["baseline"] },
    { name: "slow", label: "slow", flags: { lr: 0.001 }, against: ["baseline"], maxSeeds: 1 },
  ],
};
export default table;
