/** Converts files of weights between PyTorch and safetensors, and shows what is in one. */
import { parseCommand, printJson, runCommand } from "../lib/core/command.ts";
import { ConfigError } from "../lib/core/errors.ts";
import { flag, type FlagValues } from "../lib/core/flags.ts";
import { startRead } from "../lib/io/read_ahead.ts";
import { copyToSafetensors } from "../lib/io/safetensors.ts";
import { writeTorchCheckpoint } from "../lib/io/torch_writer.ts";
import { openWeights, type TensorSource, type WeightsFile } from "../lib/io/weights_file.ts";
import { type Inspection, inspection, inspectionText, MODELS } from "./weights_table.ts";

const spec = {
  name: "convert",
  summary:
    `Converts weights: IN is a checkpoint of torch.save, a TorchScript archive, or safetensors; OUT ends in .safetensors,
.pth or .pt, or --to says what it is. With --inspect it shows what is in IN instead: keys, shapes, types, SHA-256 of each tensor's bytes.`,
  flags: {
    to: flag("name", "what OUT becomes; as default its name's ending tells", {
      choices: ["name", "pth", "safetensors"],
    }),
    inspect: flag(false, "show what is in IN, write nothing"),
    model: flag("none", "with --inspect: which keys this model takes, leaves alone, and misses", {
      choices: ["none", ...Object.keys(MODELS)],
    }),
    at: flag("", "PyTorch: key of the dict to read, where IN has several"),
    only: flag("", "take the keys below this prefix, without it: --only textual makes textual.x to x"),
    base: flag("", "file that gives the keys which IN lacks: the published checkpoint, for its frozen parts"),
    className: flag(
      "",
      "PyTorch: key of the state dict in OUT, beside epoch (as default by --only, or model)",
    ),
    epoch: flag(-1, "PyTorch: epoch to write; -1: the one in IN, or 0", { integer: true, min: -1 }),
    json: flag(false, "last line of stdout: what was found or written, as one JSON object"),
  },
  positionals: { usage: "IN [OUT]", min: 1, max: 2 },
};
type Flags = FlagValues<typeof spec.flags>;

/** The names of the released checkpoints' state dicts, by the prefix of our own checkpoints' keys. */
const CLASS_NAMES: Readonly<Record<string, string>> = {
  textual: "Blip2Qformer",
  multimodal: "Blip2Qformer",
  visual: "Blip2Qformer",
  clip: "CLIP",
  artemis: "Artemis",
  combiner: "Combiner",
};
/** TAC and HCA have two classes; those of CLIP have one more layer, by which they are told. */
const HEAD_CLASSES: Readonly<Record<string, readonly [className: string, clipKey: string]>> = {
  tac: ["TwinAttentionCompositor", "fc.weight"],
  hca: ["HingebasedCrossAttention", "fc1.weight"],
};

/** The language head's words are the embedding's, stored twice: a base's copy would undo the training. */
const TIED_FROM = "Qformer.bert.embeddings.word_embeddings.weight";
const TIED_TO = "Qformer.cls.predictions.decoder.weight";

async function convert(argv: readonly string[]): Promise<void> {
  const args = parseCommand(spec, argv);
  if (!args) return;
  const { values: flags, positionals: [input, output] } = args;
  if (flags.inspect === (output !== undefined)) {
    throw new ConfigError(
      flags.inspect ? `--inspect writes nothing, got "${output}"` : "convert: OUT is missing",
      {
        fix: "deno task convert IN OUT.safetensors, or deno task convert IN --inspect",
      },
    );
  }
  using file = await openWeights(input, { at: flags.at });
  const source = flags.only ? below(file, flags.only, file.name) : file;
  if (flags.inspect) return show(await inspection(file, source, flags.model), flags);
  if (flags.base) {
    using base = await openWeights(flags.base);
    await write(output, withBase(source, base), file, flags);
  } else await write(output, source, file, flags);
}

function show(found: Inspection, { json }: Flags): void {
  console.log(inspectionText(found));
  if (json) printJson(found);
}

async function write(
  path: string,
  source: TensorSource,
  { metadata }: WeightsFile,
  flags: Flags,
): Promise<void> {
  if (formatOf(path, flags.to) === "safetensors") await copyToSafetensors(path, source, metadata);
  else {
    const name = flags.className || classNameOf(flags.only, source);
    const epoch = flags.epoch >= 0 ? flags.epoch : Number(metadata.epoch ?? 0);
    if (!Number.isSafeInteger(epoch)) {
      throw new ConfigError(`the file's epoch is "${metadata.epoch}"`, { fix: "pass --epoch" });
    }
    if (name === "epoch") throw new ConfigError("--class-name: epoch is the key of the number beside it");
    await writeTorchCheckpoint(path, { epoch, [name]: source });
  }
  const { size } = await Deno.stat(path);
  console.log(`${path}: ${source.tensors.size} tensors, ${size} bytes`);
  if (flags.json) printJson({ path, tensors: source.tensors.size, bytes: size });
}

/** The format by `--to`, or by the name's ending; the two may not contradict each other. */
function formatOf(path: string, to: Flags["to"]): "pth" | "safetensors" {
  const byName = path.endsWith(".safetensors") ? "safetensors" : /\.(pth|pt)$/.test(path) ? "pth" : undefined;
  if (to === "name") {
    if (byName) return byName;
    throw new ConfigError(`${path}: expected a name that ends in .safetensors, .pth or .pt`, {
      fix: "or pass --to pth or --to safetensors",
    });
  }
  if (byName && byName !== to) {
    throw new ConfigError(`${path}: its name ends as that of ${byName}, and --to says ${to}`);
  }
  return to;
}

function classNameOf(prefix: string, { tensors }: TensorSource): string {
  const head = HEAD_CLASSES[prefix];
  if (head) return `${head[0]}${tensors.has(head[1]) ? "CLIP" : "BLIP2"}`;
  return CLASS_NAMES[prefix] ?? "model";
}

/** The tensors below a prefix, by the rest of their keys. */
function below(source: TensorSource, prefix: string, name: string): TensorSource {
  const start = `${prefix}.`, isBelow = ([key]: readonly [string, unknown]) => key.startsWith(start);
  const tensors = new Map(
    [...source.tensors].filter(isBelow).map(([key, info]) => [key.slice(start.length), info]),
  );
  if (tensors.size === 0) {
    const prefixes = new Set([...source.tensors.keys()].map((key) => key.split(".")[0]));
    throw new ConfigError(`--only ${prefix}: ${name} has no key below it`, {
      fix: `its keys begin with ${[...prefixes].slice(0, 12).join(", ")}`,
    });
  }
  return {
    tensors,
    read: (key) => source.read(start + key),
    startRead: (key) => startRead(source, start + key),
  };
}

/** The source's tensors, and those of the base that it lacks. */
function withBase(source: TensorSource, base: TensorSource): TensorSource {
  const tensors = new Map([...base.tensors, ...source.tensors]);
  const isTied = tensors.has(TIED_TO) && !source.tensors.has(TIED_TO) && source.tensors.has(TIED_FROM);
  const tied = source.tensors.get(TIED_FROM);
  if (isTied && tied) tensors.set(TIED_TO, tied);
  const from = (key: string): [TensorSource, string] =>
    isTied && key === TIED_TO ? [source, TIED_FROM] : [source.tensors.has(key) ? source : base, key];
  return {
    tensors,
    read(key) {
      const [file, name] = from(key);
      return file.read(name);
    },
    startRead: (key) => startRead(...from(key)),
  };
}

if (import.meta.main) await runCommand(convert);
