import assert from "node:assert/strict";
import {
  capitalize,
  cleanCaption,
  fashionIqEvalCaption,
  fashionIqTrainCaption,
  singleCaption,
} from "../../lib/text/captions.ts";

const PAIR = ["is More Red.", "? has a HOOD, "];

Deno.test("cleanCaption() strips full stops, question marks, commas and spaces at both ends, and nothing else", () => {
  assert.equal(cleanCaption(" ,.?is red, and blue?. "), "is red, and blue");
  assert.equal(cleanCaption("\tred!"), "\tred!");
  assert.equal(cleanCaption(" .?"), "");
});

Deno.test("capitalize() is Python's: first character up, the rest down", () => {
  assert.equal(capitalize("is More RED"), "Is more red");
  assert.equal(capitalize("éa"), "Éa");
  assert.equal(capitalize("ßA"), "Ssa");
  assert.equal(capitalize(""), "");
});

Deno.test("fashionIqTrainCaption() joins or chooses by quarters; the second part keeps its case", () => {
  assert.equal(fashionIqTrainCaption(PAIR, 0), "Is more red and has a HOOD");
  assert.equal(fashionIqTrainCaption(PAIR, 0.26), "Has a hood and is More Red");
  assert.equal(fashionIqTrainCaption(PAIR, 0.51), "Is more red");
  assert.equal(fashionIqTrainCaption(PAIR, 0.76), "Has a hood");
});

Deno.test("fashionIqTrainCaption() takes the second caption at exactly 0.25, 0.5 and 0.75 (quirk Q25)", () => {
  for (const u of [0.25, 0.5, 0.75]) assert.equal(fashionIqTrainCaption(PAIR, u), "Has a hood");
});

Deno.test("fashionIqEvalCaption() joins in the file's order; an empty caption leaves its place", () => {
  assert.equal(fashionIqEvalCaption(PAIR), "Is more red and has a HOOD");
  assert.equal(fashionIqEvalCaption([".", "is red"]), " and is red");
});

Deno.test("singleCaption() leaves the caption as it is", () =>
  assert.equal(singleCaption([" Is RED. "]), " Is RED. "));
