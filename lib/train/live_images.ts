/**
 * Training images whose features depend on values that reading them changes: a ResNet's running statistics. The values
 * are parameters of the run that no optimiser changes, so its checkpoints hold them, and it goes on from them exactly.
 */
import type { ImageSource } from "../data/image_source.ts";
import type { State } from "../plan/state.ts";
import type { Param } from "../tensor/tensor.ts";

/** Values by parameter. */
export type LiveValues = ReadonlyMap<Param, Float32Array<ArrayBuffer>>;

/** Images in training. The run's other images are read with the values that the last finished step left. */
export interface LiveImages extends Disposable {
  /** With the fields of the run's other images. A step reads its references, then its targets. */
  readonly images: ImageSource;
  /** By checkpoint key. */
  readonly params: ReadonlyMap<string, Param>;
  /** Ends a step, whose images were read last: the values that they left hold from now on. */
  finishStep(): LiveValues;
  /** Takes the values of a checkpoint, and forgets what was read since. */
  restore(values: LiveValues): void;
}

/** Ends a step that was submitted: the state has the values that it left. */
export function finishLiveStep(state: State, live?: LiveImages): void {
  for (const [param, values] of live?.finishStep() ?? []) state.write(param, "param", values);
}

/** Goes on from the values of the checkpoint that the state has. */
export async function restoreLive(state: State, live?: LiveImages): Promise<void> {
  if (!live) return;
  const params = [...live.params.values()], values = await state.read(params);
  live.restore(new Map(params.map((param, i) => [param, values[i]])));
}
