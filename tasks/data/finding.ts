/** What the dataset doctor finds. */
import type { DataError } from "../../lib/core/errors.ts";
import { AnnotationError } from "../../lib/data/annotations.ts";

/** Something that is not as it should be, or worth knowing. */
export interface Finding {
  /** The heading that it is listed under. */
  readonly kind: string;
  /** Training cannot run while it is so. */
  readonly isFatal: boolean;
  readonly message: string;
  readonly fix?: string;
  /** Annotation file. */
  readonly file?: string;
  /** Keys and positions that lead to the value in that file. */
  readonly place?: readonly (string | number)[];
  readonly line?: number;
  /** Image file. */
  readonly path?: string;
  /** The queries that cannot be used because of it, each as its file and entry. */
  readonly queries?: readonly string[];
}

/** An error of a reader as a finding. */
export function findingOf(kind: string, error: DataError): Finding {
  const { message, fix, where } = error;
  const at = error instanceof AnnotationError
    ? { file: error.file, place: error.place, line: error.line }
    : where === undefined
    ? {}
    : { file: where };
  return { kind, isFatal: true, message, ...fix !== undefined && { fix }, ...at };
}
