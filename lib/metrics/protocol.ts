/** Under which rules a metric was measured. Two numbers may stand in one table only if their protocols are equal. */

/** The rules. Further fields (image size, feature precision) are free; all of them count when protocols are compared. */
export interface Protocol {
  dataset: string;
  split: string;
  /** Which images are ranked. */
  gallery: string;
  /** Whether the reference image is left out of the ranking. */
  referenceRemoved: boolean;
  /** How the captions of a query become one text. */
  captionJoin?: string;
  /** Tokens after which a text is cut. */
  textLength?: number;
  [field: string]: string | number | boolean | undefined;
}

/** The fields that are set, in the order of their names. */
const fieldsOf = (fields: Record<string, unknown>): [string, unknown][] =>
  Object.entries(fields).filter(([, value]) => value !== undefined).sort(([a], [b]) => a < b ? -1 : 1);

/** Equal for equal protocols, whatever the order of their fields; a field that is `undefined` is absent. */
export const protocolKey = (protocol: Protocol): string => JSON.stringify(fieldsOf(protocol));

/**
 * A protocol as a line of text: every field, the data set and its split first.
 *
 * @example Usage
 * ```ts
 * const text = protocolText({ split: "val", dataset: "demo", gallery: "2,273 images", referenceRemoved: true });
 * if (text !== "demo val, gallery: 2,273 images, reference removed") throw new Error(text);
 * ```
 */
export function protocolText(protocol: Protocol): string {
  const { dataset, split, ...others } = protocol;
  return [`${dataset} ${split}`, ...fieldsOf(others).map(([field, value]) => partText(field, value))].join(
    ", ",
  );
}

/** `textLength: 20` as `text length: 20`; `referenceRemoved: true` as `reference removed`. */
function partText(field: string, value: unknown): string {
  if (field === "referenceRemoved" && value === false) return "reference kept";
  const words = field.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return typeof value === "boolean" ? (value ? words : `not ${words}`) : `${words}: ${value}`;
}
