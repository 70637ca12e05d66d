/** What is in a file of weights, and what a model makes of it. */
import { formatBytes, formatCount, textTable } from "../lib/core/format.ts";
import { showShape, sizeOf } from "../lib/core/shape.ts";
import { sha256Hex } from "../lib/io/atomic.ts";
import { readAhead } from "../lib/io/read_ahead.ts";
import { bytesOfTensor } from "../lib/io/stored_tensor.ts";
import type { TensorSource, WeightsFile } from "../lib/io/weights_file.ts";
import { ClipText, RN50X4_TEXT } from "../lib/models/clip_text.ts";
import { BLIP2_CONFIG, QFormer } from "../lib/models/qformer.ts";
import { compareKeys } from "../lib/models/weights.ts";

/** Models that a file is compared with. Their zeros are never touched, so the memory behind them is never taken. */
export const MODELS: Readonly<Record<string, { readonly title: string; make(): object }>> = {
  blip2: { title: "BLIP-2's Q-Former", make: () => new QFormer(BLIP2_CONFIG) },
  clip: { title: "the text side of CLIP RN50x4", make: () => new ClipText(RN50X4_TEXT) },
};

/** One tensor of the file, or one that a model misses: then without dtype and hash. */
interface Row {
  readonly key: string;
  readonly shape: readonly number[];
  readonly dtype?: string;
  readonly sha256?: string;
  /** With a model: what it does with the key. */
  readonly status?: "used" | "left alone" | "missing" | "misshaped";
  /** Misshaped: the model's shape. */
  readonly wanted?: readonly number[];
}

/** A file, tensor by tensor. */
export interface Inspection {
  readonly path: string;
  readonly format: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly model?: string;
  readonly bytes: number;
  readonly rows: readonly Row[];
}

/**
 * Reads every tensor of a source once.
 *
 * @param file Where the source comes from.
 * @param model A key of `MODELS`, or `none`.
 */
export async function inspection(
  { name, format, metadata }: WeightsFile,
  source: TensorSource,
  model: string,
): Promise<Inspection> {
  const known = MODELS[model], report = known && compareKeys(source.tensors, known.make());
  const used = new Set(report?.used);
  let bytes = 0;
  const rows: Row[] = [];
  for await (const [key, tensor] of readAhead(source, source.tensors.keys())) {
    const { shape, dtype } = tensor, data = bytesOfTensor(tensor), wanted = report?.misshaped.get(key)?.model;
    bytes += data.length;
    const status = wanted ? "misshaped" : used.has(key) ? "used" : "left alone";
    rows.push({ key, shape, dtype, sha256: sha256Hex(data), ...(report ? { status, wanted } : {}) });
  }
  for (const [key, shape] of report?.missing ?? []) rows.push({ key, shape, status: "missing" });
  return { path: name, format, metadata, ...(known ? { model: known.title } : {}), bytes, rows };
}

/** A table, and a line or two about all of it. */
export function inspectionText({ path, format, metadata, model, bytes, rows }: Inspection): string {
  const header = ["key", "shape", "type", "SHA-256", ...(model ? ["model"] : [])];
  const lines = rows.map(({ key, shape, dtype = "", sha256 = "", status = "", wanted }) => [
    printable(key),
    showShape(shape),
    dtype,
    sha256.slice(0, 16), // enough to compare by eye; --json has all of it
    ...(model ? [wanted ? `${status}: ${showShape(wanted)} wanted` : status] : []),
  ]);
  const stored = rows.filter(({ dtype }) => dtype !== undefined);
  const elements = stored.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const count = (wanted: Row["status"]) => rows.filter(({ status }) => status === wanted).length;
  const notes = Object.entries(metadata).map(([key, value]) => printable(`${key}: ${value}`)).join(", ");
  return [
    textTable(lines, { header }),
    "",
    `${path} (${format}): ${stored.length} tensors, ${formatCount(elements)} elements, ${formatBytes(bytes)}`,
    ...(notes ? [`beside them: ${notes}`] : []),
    ...(model
      ? [
        `${model}: ${count("used")} keys used, ${count("left alone")} left alone, ` +
        `${count("missing")} missing, ${count("misshaped")} misshaped`,
      ]
      : []),
  ].join("\n");
}

/** A text of the file without what a terminal would obey, and not too long. */
function printable(text: string): string {
  const plain = text.replace(/\p{C}/gu, "?");
  return plain.length > 200 ? `${plain.slice(0, 200)}...` : plain;
}
