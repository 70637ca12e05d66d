/**
 * CaLa on CIRR, with its ablations: `deno task reproduce --table cirr`, single rows by `--rows`.
 *
 * Needs   the feature stores stores/cirr-blip2 and stores/cirr-clip, and both published checkpoints
 * Time    not measured: 22 rows of three seeds, each 30 epochs
 * Result  not measured: the pictures are licence-gated
 */
import { releasedRows, type ResultTable } from "../../mod.ts";

const table: ResultTable = {
  name: "cirr",
  experiment: "cirr_blip2_sum",
  metrics: ["R@1", "R@5", "R_subset@1"],
  rows: releasedRows("cirr"),
};
export default table;
