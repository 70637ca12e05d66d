/** Cases that train a tiny model for some steps: encoders, heads, frame, loss, gradients, optimiser, schedule together. */
import { Artemis, artemisFrame } from "../../lib/cala/frames/artemis.ts";
import type { CalaFrame } from "../../lib/cala/frames/frame.ts";
import { sumFrame } from "../../lib/cala/frames/sum.ts";
import type { CalaHeads } from "../../lib/cala/heads.ts";
import { calaLoss } from "../../lib/cala/loss.ts";
import { ConfigError, DataError } from "../../lib/core/errors.ts";
import type { Shape } from "../../lib/core/shape.ts";
import { Blip2 } from "../../lib/models/blip2.ts";
import { Clip } from "../../lib/models/clip.ts";
import { ClipText } from "../../lib/models/clip_text.ts";
import type { Encoders, ParamGroup } from "../../lib/models/encoders.ts";
import type { TripletBatch } from "../../lib/nn/frame.ts";
import { named, params } from "../../lib/nn/module.ts";
import { grad } from "../../lib/ops/grad.ts";
import { compile, type InputSpecs, inspect } from "../../lib/plan/compile.ts";
import type { Param, Tensor, TensorData } from "../../lib/tensor/tensor.ts";
import { AdamW } from "../../lib/train/optimizer.ts";
import { cosineLr } from "../../lib/train/schedule.ts";
import { headsOf } from "./cala.ts";
import { type Actual, type OracleCase, record } from "./case.ts";
import { clipConfig, clipMask, qformerConfig } from "./encoders.ts";
import { rowOf } from "./optimizer.ts";
import { loadCase, type Runner } from "./runner.ts";

/** How a flavour's inputs become a batch. */
interface Flavour {
  readonly encoders: Encoders;
  /** Values of a step, by plan input. */
  values(step: number): Record<string, TensorData>;
  readonly specs: InputSpecs;
  batch(inputs: Record<string, Tensor>): TripletBatch;
  readonly featureDim?: number;
}

/** Results are read in this many steps. */
const READ_EVERY = 32;

function blip2(oracle: OracleCase): Flavour {
  const config = qformerConfig(oracle, oracle.record("encoder"));
  const [, B, L] = oracle.shape("in.input_ids"), images = oracle.shape("in.reference_visual_embeds").slice(1);
  const mask = oracle.i32("in.attention_mask").data;
  return {
    encoders: new Blip2({ config, hasRawTokens: true }),
    specs: {
      ids: { shape: [B, L], dtype: "u32" },
      mask: { shape: [B, L] },
      longest: { shape: [1], dtype: "u32" },
      reference: { shape: images },
      target: { shape: images },
    },
    values: (step) => ({
      ids: idsOf(oracle, step),
      mask: Float32Array.from(mask.subarray(step * B * L, (step + 1) * B * L)),
      longest: new Uint32Array([L]),
      reference: rowOf(oracle, "in.reference_visual_embeds", step),
      target: rowOf(oracle, "in.target_visual_embeds", step),
    }),
    batch: ({ ids, mask, longest, reference, target }) => ({
      inputIds: ids,
      attentionMask: mask,
      longest,
      reference: { tokens: reference },
      target: { tokens: target },
    }),
  };
}

function clip(oracle: OracleCase): Flavour {
  const [, B, L] = oracle.shape("in.input_ids");
  const spec = (key: string) => ({ shape: oracle.shape(key).slice(1) });
  return {
    encoders: new Clip(new ClipText(clipConfig(oracle, oracle.record("encoder")))),
    featureDim: oracle.shape("in.reference_embeds")[2],
    specs: {
      ids: { shape: [B, L], dtype: "u32" },
      mask: { shape: [B, L] },
      longest: { shape: [1], dtype: "u32" },
      clsToken: spec("in.cls_token"),
      referencePooled: spec("in.reference_feats"),
      referenceMap: spec("in.reference_embeds"),
      targetPooled: spec("in.target_feats"),
      targetMap: spec("in.target_embeds"),
    },
    values: (step) => ({
      ids: idsOf(oracle, step),
      mask: clipMask(idsOf(oracle, step), L),
      longest: new Uint32Array([L]),
      clsToken: rowOf(oracle, "in.cls_token", step),
      referencePooled: rowOf(oracle, "in.reference_feats", step),
      referenceMap: rowOf(oracle, "in.reference_embeds", step),
      targetPooled: rowOf(oracle, "in.target_feats", step),
      targetMap: rowOf(oracle, "in.target_embeds", step),
    }),
    batch: ({ ids, mask, longest, referencePooled, referenceMap, targetPooled, targetMap }) => ({
      inputIds: ids,
      attentionMask: mask,
      longest,
      reference: { pooled: referencePooled, map: referenceMap },
      target: { pooled: targetPooled, map: targetMap },
    }),
  };
}

function idsOf(oracle: OracleCase, step: number): Uint32Array<ArrayBuffer> {
  const { shape: [, B, L], data } = oracle.i32("in.input_ids");
  return Uint32Array.from(data.subarray(step * B * L, (step + 1) * B * L));
}

/** The toolkit's groups, after checking that they hold what the case's groups hold, at its rates. */
function groupsOf(oracle: OracleCase, groups: readonly ParamGroup[], baseLr: number) {
  const expected = oracle.list("groups").map((group) => record(group, "group"));
  if (groups.length !== expected.length) {
    throw new ConfigError(`${groups.length} groups, expected ${expected.length}`);
  }
  return groups.map(({ name, params, lrMultiplier, isScheduled }, i) => {
    const pattern = String(expected[i].params), prefix = pattern.replace(/\*$/, "");
    const wanted = oracle.names("param.").filter((key) =>
      pattern === key || (prefix !== pattern && key.startsWith(prefix))
    );
    const got = params.map((p) => p.source.name).filter((key) => oracle.has(`param.${key}`));
    if (wanted.toSorted().join() !== got.toSorted().join()) {
      throw new ConfigError(`group ${i}, "${name}", is not "${pattern}"`);
    }
    const lr = lrMultiplier * baseLr;
    if (Math.abs(lr / oracle.number("lr", expected[i]) - 1) > 1e-9) {
      throw new ConfigError(`group "${name}" has rate ${lr}`);
    }
    if (isScheduled !== (i === 0)) throw new ConfigError(`group "${name}": only group 0 is scheduled`);
    return { params, lr, isScheduled };
  });
}

/** The one weight decay of all groups. */
function weightDecayOf(oracle: OracleCase): number {
  const decays = oracle.list("groups").map((group) => oracle.number("weight_decay", record(group, "group")));
  if (new Set(decays).size !== 1) throw new ConfigError(`weight decays differ: ${decays.join(", ")}`);
  return decays[0];
}

interface Setup {
  readonly flavour: Flavour;
  readonly frame: CalaFrame;
  readonly heads: CalaHeads;
  readonly all: ReadonlyMap<string, Param>;
  /** Parameters that the case does not have, because nothing uses them. */
  readonly missing: readonly string[];
  readonly groups: ReturnType<typeof groupsOf>;
  readonly baseLr: number;
}

function setUp(oracle: OracleCase): Setup {
  const flavour = oracle.string("flavour") === "clip" ? clip(oracle) : blip2(oracle);
  const weights = { tac: oracle.number("tac_weight") > 0, hca: oracle.number("hca_weight") > 0 };
  const isArtemis = oracle.string("frame") === "artemis";
  const frame = (isArtemis ? artemisFrame : sumFrame)(flavour.encoders, weights);
  const heads = headsOf(oracle, flavour.encoders.embedDim, flavour.featureDim);
  // The released program makes an ARTEMIS in frame `sum` too, and gives it to the optimiser.
  const artemis = frame.modules.artemis ?? new Artemis(flavour.encoders.embedDim);
  const hasArtemis = oracle.names("param.artemis.").length > 0;
  const modules = { ...frame.modules, ...heads.modules, ...(hasArtemis ? { artemis } : {}) };
  const missing = loadCase(modules, oracle);
  const all = named(modules);
  const baseLr = oracle.number("lr", record(oracle.list("groups")[0], "group"));
  const isArtemisGroup = oracle.list("groups").some((group) => record(group, "group").params === "artemis.*");
  const artemisGroup = { name: "artemis", params: params(artemis), lrMultiplier: 10, isScheduled: false };
  const released = [
    ...flavour.encoders.paramGroups,
    ...heads.paramGroups,
    ...(isArtemisGroup ? [artemisGroup] : []),
  ];
  return { flavour, frame, heads, all, missing, groups: groupsOf(oracle, released, baseLr), baseLr };
}

const trajectory: Runner = async (gpu, oracle): Promise<Actual> => {
  const { flavour, frame, heads, all, missing, groups, baseLr } = setUp(oracle);
  const weights = { tacWeight: oracle.number("tac_weight"), hcaWeight: oracle.number("hca_weight") };
  const betas = list2(oracle.record("optimizer").betas),
    eps = oracle.number("eps", oracle.record("optimizer"));
  const optimizer = new AdamW(groups, { betas, eps, weightDecay: weightDecayOf(oracle) });

  const lossOf = (inputs: Record<string, Tensor>) => {
    const encoded = {
      ...frame.encode(flavour.batch(inputs)),
      ...(inputs.clsToken ? { clsToken: inputs.clsToken } : {}),
    };
    return calaLoss({
      matching: frame.logits(encoded),
      ...(weights.tacWeight > 0 ? { tac: heads.tac(encoded) } : {}),
      ...(weights.hcaWeight > 0 ? { hca: heads.hca(encoded) } : {}),
    }, weights);
  };
  const reached = new Set<Tensor>();
  inspect(
    (t) => {
      for (const p of grad(lossOf(t).loss, all.values()).keys()) reached.add(p);
      return {};
    },
    flavour.specs,
    { isTraining: true },
  );

  const used = [...all].flatMap(([key, param]) => missing.includes(key) && reached.has(param) ? [key] : []);
  if (used.length > 0) throw new DataError(`the case does not have ${used.join(", ")}`);

  using state = optimizer.createState(gpu, all.values(), (p) => reached.has(p));
  using plan = await compile(
    gpu,
    (t) => {
      const terms = lossOf(t);
      optimizer.update(state, grad(terms.loss, all.values()));
      return { results: { ...terms } };
    },
    flavour.specs,
    { state, isTraining: true },
  );

  const steps = oracle.number("steps"), perEpoch = oracle.number("steps_per_epoch");
  const history: Record<string, number[]> = {};
  const schedule = { initLr: baseLr, maxEpoch: oracle.number("max_epoch"), minLr: oracle.number("min_lr") };
  for (let step = 0; step < steps; step++) {
    const lr = cosineLr(Math.floor(step / perEpoch), schedule);
    plan.run(flavour.values(step), { index: step, learningRates: optimizer.learningRates(lr / baseLr) });
    if ((step + 1) % READ_EVERY !== 0 && step + 1 !== steps) continue;
    for (const { values } of await plan.results()) {
      for (const [name, value] of Object.entries(values)) (history[name] ??= []).push(...value);
    }
  }

  const final = new Map<string, Float32Array>();
  const data = await state.read([...all.values()]);
  [...all.keys()].forEach((key, i) => final.set(key, data[i]));
  return { values: collected(history, all, final), problems: moved(oracle, final) };
};

/** Under the case's keys. */
function collected(
  history: Readonly<Record<string, readonly number[]>>,
  all: ReadonlyMap<string, Param>,
  final: ReadonlyMap<string, Float32Array>,
): Actual["values"] {
  const values = new Map<string, { shape: Shape; data: ArrayLike<number> }>();
  const names = { loss: "losses", contrastive: "contrastive_losses", reasoning: "reasoning_losses" };
  for (const [term, name] of Object.entries(names)) {
    if (history[term]) values.set(`out.${name}`, { shape: [history[term].length], data: history[term] });
  }
  for (const [key, param] of all) {
    values.set(`out.final.${key}`, { shape: param.shape, data: final.get(key) ?? [] });
  }
  return values;
}

/** Parameters that must come out bit-identical, and did not. */
function moved(oracle: OracleCase, final: ReadonlyMap<string, Float32Array>): string[] {
  return oracle.strings("never_updated").flatMap((key) => {
    const before = oracle.f32(`param.${key}`).data, after = final.get(key);
    if (!after) throw new DataError(`${oracle.name}: no parameter "${key}"`);
    return before.every((x, i) => Object.is(x, after[i]))
      ? []
      : [`${key} was updated; PyTorch leaves it alone`];
  });
}

function list2(value: unknown): [number, number] {
  if (Array.isArray(value) && value.length === 2 && value.every((x) => typeof x === "number")) {
    return [value[0], value[1]];
  }
  throw new DataError(`betas are ${JSON.stringify(value)}`);
}

export const trajectories = { train_trajectory: trajectory };
