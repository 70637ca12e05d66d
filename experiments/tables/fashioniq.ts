/**
 * CaLa on FashionIQ, with its ablations: `deno task reproduce --table fashioniq`, single rows by `--rows`.
 *
 * Needs   the feature stores stores/fashioniq-blip2 and stores/fashioniq-clip, and both published checkpoints
 * Time    not measured: 22 rows of three seeds, each 30 epochs
 * Result  not measured: the pictures are licence-gated
 */
import { releasedRows, type ResultTable } from "../../mod.ts";

const table: ResultTable = {
  name: "fashioniq",
  experiment: "fashioniq_blip2_sum",
  metrics: ["R@10", "R@50"],
  rows: releasedRows("fashioniq"),
};
export default table;
