import { strictEqual } from "node:assert/strict";
import { Progress } from "../../lib/train/progress.ts";

Deno.test("Progress replaces its live line on a terminal and keeps notes and milestones", () => {
  let text = "";
  const progress = new Progress({ isTerminal: true, write: (t) => text += t });
  progress.live("one");
  progress.live("two");
  progress.note("kept");
  progress.live("three");
  progress.live("step 50", { isMilestone: true });
  progress[Symbol.dispose]();
  strictEqual(text, "one\r\x1b[2Ktwo\r\x1b[2Kkept\nthree\r\x1b[2Kstep 50\n");
});

Deno.test("Progress writes plain lines elsewhere, and of live ones the milestones", () => {
  let text = "";
  const progress = new Progress({ isTerminal: false, write: (t) => text += t });
  progress.live("one");
  progress.live("two", { isMilestone: true });
  progress.note("three");
  progress[Symbol.dispose]();
  strictEqual(text, "two\nthree\n");
});

Deno.test("Progress breaks a long silence where there is no terminal", () => {
  let text = "";
  const progress = new Progress({ isTerminal: false, write: (t) => text += t, maxSilenceMs: 0 });
  progress.live("still working");
  strictEqual(text, "still working\n");
});
