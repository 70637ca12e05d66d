/** HTML as text: everything that is put into it is escaped, unless it is HTML already. */

/** A piece of HTML, as opposed to text that is still to be escaped. */
export class Html {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text;
  }
}

/** What may stand in a template; of a list the items stand one after another, and what is missing leaves nothing. */
export type HtmlValue = Html | string | number | undefined | readonly HtmlValue[];

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * A template of HTML. Values are escaped for element content and for quoted attributes; a script or style element is no
 * place for them.
 *
 * @example Usage
 * ```ts
 * const caption = `is "red" & <b>long</b>`;
 * const { text } = html`<p title="${caption}">${[1, html`<br>`]}</p>`;
 * if (text !== `<p title="is &quot;red&quot; &amp; &lt;b&gt;long&lt;/b&gt;">1<br></p>`) throw new Error(text);
 * ```
 */
export function html(parts: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(parts.map((part, i) => part + textOf(values[i])).join(""));
}

function textOf(value: HtmlValue): string {
  if (value === undefined) return "";
  if (value instanceof Html) return value.text;
  if (typeof value === "object") return value.map(textOf).join("");
  return String(value).replace(/[&<>"']/g, (sign) => ENTITIES[sign]);
}
