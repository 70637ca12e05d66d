/** Where a long piece of work is, for whoever shows it. */

/** Called now and then, and at the end: `{ what: "drawing pictures", done: 250, total: 13035 }`. */
export type OnProgress = (progress: { what: string; done: number; total: number }) => void;
