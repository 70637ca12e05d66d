/** What a run says while it works, on stderr: one line that changes on a terminal, plain lines elsewhere. */

/** Without a terminal a live line also appears after so long a silence: nobody should wonder whether it still works. */
const MAX_SILENCE_MS = 10_000;

/** Where progress goes. Results go to stdout, never here. */
export class Progress {
  readonly #isTerminal: boolean;
  readonly #write: (text: string) => void;
  readonly #maxSilenceMs: number;
  #hasLive = false;
  #lastMs = performance.now();

  constructor(
    { isTerminal = Deno.stderr.isTerminal(), write = writeToStderr, maxSilenceMs = MAX_SILENCE_MS }: {
      isTerminal?: boolean;
      write?: (text: string) => void;
      maxSilenceMs?: number;
    } = {},
  ) {
    this.#maxSilenceMs = maxSilenceMs;
    this.#isTerminal = isTerminal;
    this.#write = write;
  }

  /** A line that stays. */
  note(text: string): void {
    this.#clear();
    this.#write(`${text}\n`);
    this.#lastMs = performance.now();
  }

  /** A line that the next one replaces; one that `isMilestone` stays. Without a terminal others appear after a silence. */
  live(text: string, { isMilestone = false } = {}): void {
    if (isMilestone) return this.note(text);
    if (!this.#isTerminal) {
      if (performance.now() - this.#lastMs >= this.#maxSilenceMs) this.note(text);
      return;
    }
    this.#clear();
    this.#write(text.slice(0, columns() - 1)); // a line that wraps could not be taken back
    this.#hasLive = true;
  }

  /** Removes the changing line. */
  #clear(): void {
    if (this.#hasLive) this.#write("\r\x1b[2K");
    this.#hasLive = false;
  }

  [Symbol.dispose](): void {
    this.#clear();
  }
}

function writeToStderr(text: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(text));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error; // nobody listens any more: no reason to stop training
  }
}

/** Width of the terminal; some pseudo terminals say 0. */
function columns(): number {
  try {
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80; // stdout and stdin are no terminal, though stderr is
  }
}
