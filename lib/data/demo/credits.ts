/** Whom the demo's pictures come from, and what their licences ask to be said. */
import type { Drawing } from "./emoji.ts";

/** The source of pictures, and what its licence asks to be said. */
export interface Credit {
  readonly name: string;
  /** The line to print where the pictures are shown. */
  readonly text: string;
  /** SPDX identifier. */
  readonly licence: string;
  readonly url: string;
}

const OPENMOJI: Credit = {
  name: "OpenMoji",
  text: "OpenMoji, the open-source emoji and icon project, CC BY-SA 4.0",
  licence: "CC-BY-SA-4.0",
  url: "https://openmoji.org",
};
const NOTO: Credit = {
  name: "Noto Emoji",
  text: "Noto Emoji, Google Inc, Apache License 2.0",
  licence: "Apache-2.0",
  url: "https://github.com/googlefonts/noto-emoji",
};
const FLUENT: Credit = {
  name: "Fluent Emoji",
  text: "Fluent Emoji (flat), Microsoft Corporation, MIT License",
  licence: "MIT",
  url: "https://github.com/microsoft/fluentui-emoji",
};

/** The three sources of the demo's pictures. Show their `text` wherever the pictures are shown. */
export const credits = (): readonly Credit[] => [OPENMOJI, NOTO, FLUENT];

/** The source of a drawing style. */
export const CREDIT_OF: Readonly<Record<Drawing, Credit>> = {
  "openmoji": OPENMOJI,
  "openmoji-black": OPENMOJI,
  "noto": NOTO,
  "fluent-flat": FLUENT,
};
