/** What the plans of a step in micro-batches trace, and what passes from one to the next. */
import { ConfigError } from "../core/errors.ts";
import { showShape } from "../core/shape.ts";
import type { Embeddings } from "../nn/frame.ts";
import { accumulate } from "../ops/accumulate.ts";
import { grad, gradFrom } from "../ops/grad.ts";
import { type InputSpecs, inspect, type TraceFunction } from "../plan/compile.ts";
import type { Param, Tensor } from "../tensor/tensor.ts";
import { addEffect, reachable, type TraceOptions } from "../tensor/trace.ts";
import { presentTerms, type StepFunctions } from "./step.ts";

/** How a batch is cut. */
export interface GradCacheOptions {
  readonly batchSize: number;
  /** Rows of a micro-batch: divides the batch size. */
  readonly microBatch: number;
}

/** A plan of the step: what it traces, on which inputs. */
export interface Part {
  readonly fn: TraceFunction;
  readonly specs: InputSpecs;
  readonly options: TraceOptions;
}

/** The three passes of a signature, traced. */
export interface Passes {
  readonly embed: Part;
  readonly loss: Part;
  readonly backward: Part;
  /** Names of the embeddings, and of those among them that take a gradient. */
  readonly names: readonly string[];
  readonly seeded: readonly string[];
  readonly trained: ReadonlySet<Param>;
}

/** Traces the passes once, to find what leads from which to which. */
export function passesOf(
  { encode, loss, trainable }: StepFunctions,
  specs: InputSpecs,
  { batchSize, microBatch }: GradCacheOptions,
): Passes {
  const microSpecs = Object.fromEntries(
    Object.entries(specs).map((
      [name, spec],
    ) => [name, { ...spec, shape: rowsOf(spec.shape, batchSize, microBatch) }]),
  );
  const encoding = { isTraining: true, microBatch };
  const encoder = inspect((t) => ({ outputs: encode(t) }), microSpecs, encoding);
  const { outputs: embeddings = {} } = encoder.traced;
  const firstName = distinct(embeddings), all = [...new Set(firstName.values())];
  const wanted = new Set<Tensor>(trainable);
  const isTrained = (x: Tensor) =>
    reachable([x]).some((node) => node.inputs.some((from) => wanted.has(from)));

  const byLoss = new Set<Param>(), byEncoder = new Set<Param>();
  const lossPart: Part = {
    specs: Object.fromEntries(
      all.map((name) => [name, wholeOf(name, embeddings[name], batchSize, microBatch)]),
    ),
    options: { isTraining: true, firstSite: encoder.endSite },
    fn: (inputs) => {
      const encoded = Object.fromEntries([...firstName].map(([name, first]) => [name, inputs[first]]));
      const terms = loss(encoded), grads = grad(terms.loss, [...Object.values(inputs), ...trainable]);
      for (const param of trainable) {
        const value = grads.get(param);
        if (!value) continue;
        byLoss.add(param);
        addEffect({ kind: "assign", param, buffer: "grad", value });
      }
      const seeds = all.flatMap((name) => {
        const seed = grads.get(inputs[name]);
        return seed && isTrained(embeddings[name]) ? [[name, seed] as const] : [];
      });
      return { results: presentTerms(terms), outputs: Object.fromEntries(seeds) };
    },
  };
  const { lowered, traced } = inspect(lossPart.fn, lossPart.specs, lossPart.options);
  const names = all.filter((name) => lowered.inputs.has(name)), seeded = Object.keys(traced.outputs ?? {});
  const backwardPart: Part = {
    specs: {
      ...microSpecs,
      ...Object.fromEntries(seeded.map((name) => [seedOf(name), embeddings[name]])),
    },
    options: encoding,
    fn: (inputs) => {
      const encoded = encode(inputs);
      const seeds = new Map(seeded.map((name) => [encoded[name], inputs[seedOf(name)]]));
      gradFrom(seeds, trainable, (param, value) => {
        byEncoder.add(param);
        addEffect({ kind: "node", node: accumulate(param, value, { fromFirst: byLoss.has(param) }) });
      });
      return {};
    },
  };
  inspect(backwardPart.fn, backwardPart.specs, backwardPart.options);
  const embedPart: Part = {
    specs: microSpecs,
    options: encoding,
    fn: (inputs) => {
      const encoded = encode(inputs);
      return { outputs: Object.fromEntries(names.map((name) => [name, encoded[name]])) };
    },
  };
  const trained = new Set([...byLoss, ...byEncoder]);
  return { embed: embedPart, loss: lossPart, backward: backwardPart, names, seeded, trained };
}

/** The name of the input that takes an embedding's gradient. */
export const seedOf = (name: string) => `gradient of ${name}`;

/** By each name, the first name of the same tensor: what goes by two names is kept once. */
function distinct(embeddings: Embeddings): Map<string, string> {
  const first = new Map<Tensor, string>();
  return new Map(
    Object.entries(embeddings).map(([name, tensor]) => {
      if (!first.has(tensor)) first.set(tensor, name);
      return [name, first.get(tensor) ?? name];
    }),
  );
}

/** The spec of an embedding of the whole batch, from that of a micro-batch. @throws {ConfigError} If it has no rows. */
function wholeOf(name: string, { shape, dtype }: Tensor, batchSize: number, microBatch: number) {
  if (shape[0] === microBatch) return { shape: [batchSize, ...shape.slice(1)], dtype };
  throw new ConfigError(`embedding "${name}" of a micro-batch of ${microBatch} rows is ${showShape(shape)}`, {
    fix: "what `encode` gives must have the batch as first axis; or train with --memory recompute",
  });
}

/** A shape with the rows of a micro-batch, where the first axis is the batch. */
const rowsOf = (shape: readonly number[], batchSize: number, microBatch: number): readonly number[] =>
  shape[0] === batchSize ? [microBatch, ...shape.slice(1)] : shape;
