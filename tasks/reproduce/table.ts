/** What a table of results is made of: one experiment, its rows, and which rows are tested against which. */
import type { StoredConfig } from "../../lib/train/config.ts";

/** One method. */
export interface ResultRow {
  /** Begins the names of its runs: letters, digits, `-`. */
  readonly name: string;
  readonly label: string;
  /** The experiment's flags, as its code names them, where they are not at their defaults. */
  readonly flags: StoredConfig;
  /** Names of the rows that it is tested against. */
  readonly against: readonly string[];
  /** At most so many seeds. */
  readonly maxSeeds?: number;
  /** Trained only if `--ablate` names it. */
  readonly ablation?: string;
}

/** A table: `--table` takes the name of one in this folder, or a file that exports one by default. */
export interface ResultTable {
  readonly name: string;
  /** A name in `experiments/`, or the path of a file. */
  readonly experiment: string;
  readonly rows: readonly ResultRow[];
}
