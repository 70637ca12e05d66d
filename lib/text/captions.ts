/** How a data set's captions become the one text that the model reads. */

/**
 * Both ends of a caption without full stops, question marks, commas and spaces; nothing else is removed.
 *
 * Source: Python's `strip(".?, ")` in the released code's caption generators.
 */
export const cleanCaption = (caption: string): string => caption.replace(/^[.?, ]+|[.?, ]+$/g, "");

/**
 * Python's `capitalize`: the first character to upper case and all the others to lower case. It differs where a letter has a
 * title case of its own (Georgian, ǆ, Greek with an iota below): no caption of FashionIQ begins with one.
 */
export function capitalize(text: string): string {
  const [first = ""] = text;
  const [head = "", ...tail] = first.toUpperCase(); // one character can become two: "ß" is "Ss"
  return head + tail.join("").toLowerCase() + text.slice(first.length).toLowerCase();
}

const join = (first: string, second: string): string =>
  `${capitalize(cleanCaption(first))} and ${cleanCaption(second)}`;

/**
 * FashionIQ's training text: both captions in either order, or one of them, a quarter each.
 *
 * Quirk Q25: `u` of exactly 0.25, 0.5 or 0.75 falls into the last branch. Kept.
 *
 * @param captions The two captions of the triplet.
 * @param u Uniform in [0, 1), drawn anew for each triplet and epoch.
 *
 * @example Usage
 * ```ts
 * const text = fashionIqTrainCaption(["is Red.", " has a Hood"], 0.1);
 * if (text !== "Is red and has a Hood") throw new Error(text);
 * ```
 */
export function fashionIqTrainCaption([first, second]: readonly string[], u: number): string {
  if (u < 0.25) return join(first, second);
  if (u > 0.25 && u < 0.5) return join(second, first);
  if (u > 0.5 && u < 0.75) return capitalize(cleanCaption(first));
  return capitalize(cleanCaption(second));
}

/** FashionIQ's text in validation and test: both captions, always in the file's order. */
export const fashionIqEvalCaption = ([first, second]: readonly string[]): string => join(first, second);

/** CIRR and the demo: the caption as it is, in training and in evaluation. */
export const singleCaption = ([caption]: readonly string[]): string => caption;

/**
 * Every text that a rule of this file makes of a triplet's captions, each once: what a store of token ids must hold.
 *
 * @example Usage
 * ```ts
 * const texts = captionTexts(["is Red.", "Has a hood"]);
 * if (texts.join("; ") !== "is Red.; Is red and Has a hood; Has a hood and is Red; Is red; Has a hood") throw new Error();
 * ```
 */
export function captionTexts(captions: readonly string[]): string[] {
  const texts = new Set(captions.slice(0, 1));
  if (captions.length >= 2) {
    texts.add(fashionIqEvalCaption(captions));
    for (const u of [0.1, 0.3, 0.6, 0.9]) texts.add(fashionIqTrainCaption(captions, u)); // one of each branch
  }
  return [...texts];
}
