/** The Combiner's first stage: a run of CaLa or its baseline over CLIP, or a checkpoint of one. */
import { ConfigError, DataError } from "../core/errors.ts";
import { startRead } from "../io/read_ahead.ts";
import { openWeights, type WeightsFile } from "../io/weights_file.ts";
import { readManifest } from "../train/run.ts";

const PREFIX = "clip.";

/**
 * Opens the text encoder of a first stage, under OpenAI's keys.
 *
 * @param path A run's folder, of which the checkpoint is taken that its table is made from, or a checkpoint's file.
 * @param baseline The run must be one without CaLa.
 * @throws {ConfigError} If there is no such run or file, or the run is not done, it has CaLa against `baseline`, or its image
 * side is not the published one's.
 * @throws {DataError} If it is of another model.
 */
export async function openFirstStage(path: string, baseline = false): Promise<WeightsFile & Disposable> {
  const file = await openWeights(await fileOf(path.replace(/[/\\]+$/, ""), baseline));
  const keys = [...file.tensors.keys()];
  if (keys.some((key) => key.startsWith(`${PREFIX}visual.`))) {
    file[Symbol.dispose]();
    throw new ConfigError(`--first-stage: ${path} was trained with --batch-norm batch`, {
      where: `${file.name}: its image side has statistics of its own, and the Combiner reads stored features`,
      fix: "train the first stage with --batch-norm running",
    });
  }
  if (keys.includes("token_embedding.weight")) return file;
  if (keys.some((key) => key.startsWith(PREFIX))) return below(file, PREFIX);
  file[Symbol.dispose]();
  throw new DataError(`${file.name}: holds no text encoder of CLIP`, {
    where: `${file.name}, keys such as ${keys.slice(0, 3).join(", ")}`,
    fix: "--first-stage names a run of clip_sum or clip_artemis, or its checkpoint",
  });
}

/** A file's tensors whose keys begin with `prefix`, without it. */
export function below(file: WeightsFile & Disposable, prefix: string): WeightsFile & Disposable {
  const tensors = new Map(
    [...file.tensors].flatMap(([key, info]) =>
      key.startsWith(prefix) ? [[key.slice(prefix.length), info]] : []
    ),
  );
  return {
    ...file,
    tensors,
    read: (key) => file.read(prefix + key),
    startRead: (key) => startRead(file, prefix + key),
  };
}

async function fileOf(path: string, baseline: boolean): Promise<string> {
  const stat = await Deno.stat(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
  if (!stat) {
    throw new ConfigError(`--first-stage: ${path}: no such run or checkpoint`, {
      fix: "train the first stage, then name its run folder: runs/cirr_clip_sum/NAME",
    });
  }
  if (stat.isFile) return path;
  const { status, config } = await readManifest(path);
  if (status !== "done") {
    throw new ConfigError(`--first-stage: ${path} is not done, it is ${status}`, {
      where: `${path}/run.json`,
      fix: "train it to its end, or name one of its checkpoints",
    });
  }
  const { tacWeight = 0, hcaWeight = 0 } = config;
  if (baseline && (tacWeight !== 0 || hcaWeight !== 0)) {
    throw new ConfigError(
      `--baseline has no CaLa, but ${path} has --tac-weight ${tacWeight} and --hca-weight ${hcaWeight}`,
      { where: "--first-stage", fix: "name a first stage that --baseline trained, or leave out --baseline" },
    );
  }
  return `${path}/checkpoints/${config.tableFrom === "last" ? "last" : "best"}.safetensors`;
}
