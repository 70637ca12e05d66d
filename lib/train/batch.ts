/** From the loader's batches to a plan's inputs, and from the inputs in a trace to the batches that a frame takes. */
import { ConfigError } from "../core/errors.ts";
import { sizeOf } from "../core/shape.ts";
import type { ImageSource } from "../data/image_source.ts";
import type { QueryBatch as QueryRows, TextBatch as Texts, TextOptions, TrainBatch } from "../data/loader.ts";
import { Pixels, type Shift } from "../data/pixels.ts";
import type { Dataset } from "../data/triplet.ts";
import type { Protocol } from "../metrics/protocol.ts";
import type { ImageBatch, QueryBatch, TripletBatch } from "../nn/frame.ts";
import type { InputSpecs } from "../plan/compile.ts";
import type { Tensor, TensorData } from "../tensor/tensor.ts";
import type { LiveImages } from "./live_images.ts";

/** The data of an experiment: what it trains on, and how captions and pictures reach the model. */
export interface ExperimentData {
  readonly dataset: Dataset;
  readonly images: ImageSource;
  /** What training reads in their place, where a picture's features are not the same at every step. */
  readonly live?: LiveImages;
  readonly text: TextOptions;
  /** The text of a training triplet. Default: its one caption. */
  readonly trainCaption?: (captions: readonly string[], u: number) => string;
  /** The text of a query. Default: its one caption. */
  readonly evalCaption?: (captions: readonly string[]) => string;
  /** How the captions become one text, for the protocol. Default "single". */
  readonly captionJoin?: string;
  /** Largest shift of training pictures in pixels. Default 0. */
  readonly maxShift?: number;
  /** True: the reference stays in the ranking, as FashionIQ's protocol has it. */
  readonly keepsReference?: boolean;
  /** Features of texts that are stored, not computed: the model's batches have them beside the ids. */
  readonly textFeatures?: TextFeatures;
  /** The fields of an image that are read, where not all are: a map of CLIP's is 830 kB. */
  readonly fields?: FieldsRead;
  /** What else makes a Recall number another one: FashionIQ's gallery, the precision of stored features. */
  readonly protocol?: Partial<Protocol>;
}

/** Names of an image's fields; as default all of them. */
export interface FieldsRead {
  readonly train?: readonly string[];
  readonly evaluation?: readonly string[];
  /** Of targets and of gallery images, both in training and in evaluation. Default: as those of references. */
  readonly candidates?: readonly string[];
}

/** Stored features of texts. */
export interface TextFeatures {
  /** `D`. */
  readonly dim: number;
  /** @param into Those of the texts, one after another: `[texts.length, D]`. @throws {ConfigError} If a text is unknown. */
  read(texts: readonly string[], into: Float32Array): void;
}

/** What an image is in a batch. */
type Role = "reference" | "target" | "gallery";

/** Values by input name. */
export type Inputs = Record<string, TensorData>;

/** A batch for a plan: the shapes that choose the plan, and the values. */
export interface PlanInputs {
  readonly specs: InputSpecs;
  readonly values: Inputs;
}

const NO_SHIFT: Shift = { x: 0, y: 0 };

/** What batches are read from. */
type BatchSources = Pick<ExperimentData, "images" | "live" | "fields" | "textFeatures">;

/** Makes plan inputs of batches. The pictures' arrays are reused: a batch holds until the next one of its kind. */
export class BatchReader {
  readonly #images: ImageSource;
  readonly #references: readonly string[]; // names of fields
  readonly #candidates: readonly string[];
  readonly #textFeatures?: TextFeatures;
  readonly #arrays = new Map<string, Float32Array<ArrayBuffer>>();

  /**
   * @param use Which of the fields are read.
   * @throws {ConfigError} If the images have a field that no model reads: bytes other than the demo's pixels.
   */
  constructor({ images, live, fields, textFeatures }: BatchSources, use: "train" | "evaluation") {
    const bytes = Object.entries(images.fields).find(([, { dtype }]) => dtype === "u8");
    if (bytes && !(images instanceof Pixels)) {
      throw new ConfigError(`image field "${bytes[0]}" is u8, a model reads f32`);
    }
    this.#images = use === "train" && live ? live.images : images;
    this.#references = fields?.[use] ?? Object.keys(images.fields);
    this.#candidates = fields?.candidates ?? this.#references;
    this.#textFeatures = textFeatures;
  }

  /** References, targets, texts. */
  async triplets(batch: TrainBatch): Promise<PlanInputs> {
    const images = await Promise.all([ // both begin at once
      this.#read("reference", batch.references, batch.shifts.reference),
      this.#read("target", batch.targets, batch.shifts.target),
    ]);
    return merge(...images, this.#texts(batch));
  }
  /** The shapes of `rows` triplets with texts of `length` tokens; reads nothing. */
  tripletSpecs(rows: number, length: number): InputSpecs {
    return {
      ...this.#specs("reference", rows),
      ...this.#specs("target", rows),
      ...this.#textSpecs(rows, length),
    };
  }
  /** References and texts. */
  async queries(batch: QueryRows): Promise<PlanInputs> {
    return merge(await this.#read("reference", batch.references), this.#texts(batch));
  }
  /** Gallery images. */
  gallery(ids: ArrayLike<number>): Promise<PlanInputs> {
    return this.#read("gallery", ids);
  }

  #fields(prefix: Role): readonly string[] {
    return prefix === "reference" ? this.#references : this.#candidates;
  }

  async #read(prefix: Role, ids: ArrayLike<number>, shift = NO_SHIFT): Promise<PlanInputs> {
    const specs = this.#specs(prefix, ids.length), into: Record<string, Float32Array<ArrayBuffer>> = {};
    for (const field of this.#fields(prefix)) {
      into[field] = this.#array(`${prefix}.${field}`, sizeOf(specs[`${prefix}.${field}`].shape));
    }
    if (this.#images instanceof Pixels) this.#images.readPixels(ids, shift, into.pixels);
    else await this.#images.read(ids, into);
    return {
      specs,
      values: Object.fromEntries(Object.entries(into).map(([field, array]) => [`${prefix}.${field}`, array])),
    };
  }

  #specs(prefix: Role, rows: number): InputSpecs {
    return Object.fromEntries(
      this.#fields(prefix).map((field) => [
        `${prefix}.${field}`,
        { shape: [rows, ...this.#images.fields[field].shape] },
      ]),
    );
  }

  #texts({ inputIds, attentionMask, paddedLength: L, length, captions }: Texts): PlanInputs {
    const B = captions.length,
      values: Inputs = { inputIds, attentionMask, longest: new Uint32Array([length]) };
    if (this.#textFeatures) {
      const features = this.#array("textFeatures", B * this.#textFeatures.dim);
      this.#textFeatures.read(captions, features);
      values.textFeatures = features;
    }
    return { specs: this.#textSpecs(B, L), values };
  }

  #textSpecs(rows: number, length: number): InputSpecs {
    return {
      inputIds: { shape: [rows, length], dtype: "u32" },
      attentionMask: { shape: [rows, length] },
      longest: { shape: [1], dtype: "u32" },
      ...(this.#textFeatures ? { textFeatures: { shape: [rows, this.#textFeatures.dim] } } : {}),
    };
  }

  #array(name: string, length: number): Float32Array<ArrayBuffer> {
    let array = this.#arrays.get(name);
    if (array?.length !== length) this.#arrays.set(name, array = new Float32Array(length));
    return array;
  }
}

const merge = (...parts: readonly PlanInputs[]): PlanInputs => ({
  specs: Object.assign({}, ...parts.map(({ specs }) => specs)),
  values: Object.assign({}, ...parts.map(({ values }) => values)),
});

/** In a trace: the fields of `prefix`. */
export const imageBatch = (
  inputs: Record<string, Tensor>,
  prefix: Role,
): ImageBatch =>
  Object.fromEntries(
    Object.entries(inputs).flatMap(([name, tensor]) =>
      name.startsWith(`${prefix}.`) ? [[name.slice(prefix.length + 1), tensor]] : []
    ),
  );

/** In a trace: the query's part of the inputs. */
export const queryBatch = (inputs: Record<string, Tensor>): QueryBatch => ({
  inputIds: inputs.inputIds,
  attentionMask: inputs.attentionMask,
  longest: inputs.longest,
  ...(inputs.textFeatures ? { features: inputs.textFeatures } : {}),
  reference: imageBatch(inputs, "reference"),
});

/** In a trace: the whole triplet. */
export const tripletBatch = (inputs: Record<string, Tensor>): TripletBatch => ({
  ...queryBatch(inputs),
  target: imageBatch(inputs, "target"),
});
