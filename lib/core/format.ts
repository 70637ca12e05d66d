/** Numbers, tables and names as a person reads them. */

const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB"];

/**
 * Bytes in binary units: `1.5 GiB`.
 *
 * @example Usage
 * ```ts
 * if (formatBytes(134217728) !== "128 MiB") throw new Error(formatBytes(134217728));
 * ```
 */
export function formatBytes(bytes: number): string {
  let value = bytes, unit = 0;
  // 1023.95 would be shown as 1024
  while (Math.abs(value) >= 1023.95 && unit < byteUnits.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toFixed(1))} ${byteUnits[unit]}`;
}

/**
 * A time span by its size: `0.25 ms`, `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 07 min`.
 *
 * @example Usage
 * ```ts
 * if (formatDuration(245_000) !== "4 min 05 s") throw new Error(formatDuration(245_000));
 * ```
 */
export function formatDuration(ms: number): string {
  if (ms < 9.995) return `${Number(ms.toFixed(2))} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000), minutes = Math.round(ms / 60_000);
  const two = (n: number) => String(n).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** A whole number with its thousands apart, the same in every locale: `13,828`. */
export const formatCount = (n: number): string => Math.round(n).toLocaleString("en-US");

/** Rows of cells, and how they stand in their columns. */
export interface TextTableOptions {
  /** Column titles, with a rule below them. */
  header?: readonly string[];
  /** Where a column stands: `l` or `r` for each, `"lrr"`; missing letters are `l`. */
  align?: string;
}

/**
 * Rows as lines of aligned columns, two spaces apart, without spaces at the end.
 *
 * @example Usage
 * ```ts
 * const text = textTable([["softmax", "1.25"], ["matmul", "12.5"]], { align: "lr" });
 * if (text !== "softmax  1.25\nmatmul   12.5") throw new Error(text);
 * ```
 */
export function textTable(
  rows: readonly (readonly string[])[],
  { header, align = "" }: TextTableOptions = {},
): string {
  const width = (cell: string) => [...cell].length;
  const all = header ? [header, ...rows] : rows;
  const widths: number[] = [];
  for (const row of all) row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, width(cell)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => {
      const space = " ".repeat(widths[i] - width(cell));
      return align[i] === "r" ? space + cell : cell + space;
    }).join("  ").trimEnd();
  const lines = all.map(line);
  if (header) lines.splice(1, 0, widths.map((n) => "-".repeat(n)).join("  "));
  return lines.join("\n");
}

/** Fewest insertions, deletions and replacements of a character that turn `a` into `b` (Levenshtein). */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

/**
 * The name that was probably meant, or `undefined` where none is near: one that starts with what was typed,
 * or the one with the fewest wrong characters, at most a third of them.
 *
 * @example Usage
 * ```ts
 * if (nearestName("tacwieght", ["tac-weight", "hca-weight"]) !== "tac-weight") throw new Error("nearestName");
 * ```
 */
export function nearestName(name: string, names: Iterable<string>): string | undefined {
  const typed = name.toLowerCase();
  let best: string | undefined, least = Infinity;
  for (const candidate of names) {
    const other = candidate.toLowerCase();
    const isStart = typed.length >= 2 && other.startsWith(typed);
    const distance = isStart ? 0.5 : editDistance(typed, other);
    if (distance < least && distance <= Math.max(typed.length, other.length) / 3) {
      [best, least] = [candidate, distance];
    }
  }
  return best;
}
