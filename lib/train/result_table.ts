/** What a table of results is made of: its rows, how each is trained, and which are tested against which. Data only. */
import type { StoredConfig } from "./config.ts";

/** One method. */
export interface MethodRow {
  /** Begins the names of its runs: letters, digits, `-`, `_`. */
  readonly name: string;
  readonly label: string;
  /** Where it is not the table's: a name in `experiments/`, or the path of a file. */
  readonly experiment?: string;
  /** The experiment's flags, as its code names them, where they are not at their defaults. */
  readonly flags: StoredConfig;
  /** Names of the rows that it is tested against. */
  readonly against: readonly string[];
  /** A row before it: the run of that row with the same seed becomes the flag `firstStage`. */
  readonly firstStage?: string;
  /** At most so many seeds. */
  readonly maxSeeds?: number;
}

/**
 * A table: `deno task reproduce --table NAME` trains its rows and writes it. The file `experiments/tables/NAME.ts`, or any
 * other that `--table` names, exports it by default.
 */
export interface ResultTable {
  /** Names the files that are written. */
  readonly name: string;
  /** A name in `experiments/`, or the path of a file. */
  readonly experiment: string;
  /**
   * What is compared, as a run's table names it: `R@1`, `R_subset@2`. Default `R@1` and `R@10`: more would be more tests of
   * the same thing.
   */
  readonly metrics?: readonly string[];
  readonly rows: readonly MethodRow[];
}
