/** What is compiled once for each shape of its inputs. */
import { ConfigError } from "../core/errors.ts";
import { type DType, type Shape, showShape } from "../core/shape.ts";

/** Shape and dtype (default f32) of each input. */
export type InputSpecs = Readonly<Record<string, { readonly shape: Shape; readonly dtype?: DType }>>;

/** Signatures that one program compiles at most: text lengths are padded to few bucket lengths. */
const MAX_SIGNATURES = 4;

/** A plan, or whatever stands for one, for each input signature. Owns them. */
export class BySignature<P extends Disposable> implements Disposable {
  readonly #label: string;
  readonly #make: (specs: InputSpecs) => Promise<P>;
  readonly #plans = new Map<string, P>();

  /** @param make Compiles one signature. */
  constructor(label: string, make: (specs: InputSpecs) => Promise<P>) {
    this.#label = label;
    this.#make = make;
  }

  /**
   * The plan of a signature, compiled at its first use.
   *
   * @throws {ConfigError} At the fifth signature: the message names the input whose shape varies.
   */
  async plan(specs: InputSpecs): Promise<P> {
    const key = JSON.stringify(
      Object.entries(specs).map(([name, { shape, dtype = "f32" }]) => [name, shape, dtype]),
    );
    const known = this.#plans.get(key);
    if (known) return known;
    if (this.#plans.size === MAX_SIGNATURES) {
      const first = JSON.parse([...this.#plans.keys()][0]) as [string, number[], DType][];
      const other = first.find(([name, shape]) => showShape(specs[name]?.shape ?? []) !== showShape(shape));
      throw new ConfigError(
        `${this.#label}: a fifth input signature; "${other?.[0]}" varies: ${
          showShape(specs[other?.[0] ?? ""]?.shape ?? [])
        } after ${showShape(other?.[1] ?? [])}`,
        { fix: "pad to at most four bucket lengths" },
      );
    }
    const plan = await this.#make(specs);
    this.#plans.set(key, plan);
    return plan;
  }

  /** Disposes all plans. */
  [Symbol.dispose](): void {
    for (const plan of this.#plans.values()) plan[Symbol.dispose]();
    this.#plans.clear();
  }
}
