/** Tables in LaTeX, with the rules of the booktabs package. */
import type { TableBlock } from "./table.ts";

const ESCAPES: Readonly<Record<string, string>> = {
  "\\": "\\textbackslash{}",
  "~": "\\textasciitilde{}",
  "^": "\\textasciicircum{}",
  "±": "$\\pm$",
  "–": "--",
  "<": "$<$",
  ">": "$>$",
};

/**
 * A text as LaTeX prints it.
 *
 * @example Usage
 * ```ts
 * if (latexText("R_s@1 ± 5%") !== "R\\_s@1 $\\pm$ 5\\%") throw new Error(latexText("R_s@1 ± 5%"));
 * ```
 */
export const latexText = (text: string): string =>
  text.replace(/[\\~^±–<>&%$#_{}]/g, (character) => ESCAPES[character] ?? `\\${character}`);

/** Blocks in LaTeX: a `tabular` each, its title as a comment above it. */
export const latexBlocks = (blocks: readonly TableBlock[]): string =>
  blocks.map(({ title, nameColumns, header, cells }) => {
    const line = (row: readonly string[]) => `  ${row.map((cell) => latexText(cell)).join(" & ")} \\\\`;
    const columns = header.map((_, i) => i < nameColumns ? "l" : "r").join("");
    return [
      `% ${title}`,
      `\\begin{tabular}{${columns}}`,
      "  \\toprule",
      line(header),
      "  \\midrule",
      ...cells.map(line),
      "  \\bottomrule",
      "\\end{tabular}",
    ].join("\n");
  }).join("\n\n");
