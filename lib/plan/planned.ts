/** The device memory that a training step will take, known before any is allocated. WebGPU does not tell what is in use. */
import { ConfigError, GpuError } from "../core/errors.ts";
import { formatBytes } from "../core/format.ts";
import { bytesOf, showShape } from "../core/shape.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Lowered } from "./lower.ts";
import { sharedBytes } from "./slab_pool.ts";
import type { StateLayout } from "./state_layout.ts";

/** Bytes by what they hold. */
export interface PlannedMemory {
  readonly parameters: number;
  readonly gradients: number;
  readonly moments: number;
  /** Activations and temporaries. */
  readonly slabs: number;
  /** Batches, and what passes from plan to plan. */
  readonly inputs: number;
}

const total = (sizes: Iterable<number>): number => [...sizes].reduce((a, b) => a + b, 0);

/** Bytes of all of it. */
export const plannedBytes = (memory: PlannedMemory): number => total(Object.values(memory));

/**
 * The memory of a state and of plans over it.
 *
 * @param plans Those of one list share slabs.
 */
export function plannedMemory(
  { groups, shards }: StateLayout,
  plans: readonly (readonly Lowered[])[],
): PlannedMemory {
  const bytesIn = (isTrained: boolean) =>
    total(shards.flatMap(({ group, bytes }) => groups[group].isTrained === isTrained ? [bytes] : []));
  const trained = bytesIn(true);
  return {
    parameters: trained + bytesIn(false),
    gradients: trained,
    moments: 2 * trained,
    slabs: total(plans.map(sharedBytes)),
    inputs: total(
      plans.flat().flatMap(({ inputs, constants }) => [
        ...[...inputs.values()].map(bytesOf),
        ...constants.map(({ byteLength }) => byteLength),
      ]),
    ),
  };
}

/** `planned device memory 8 GiB: parameters 1.5 GiB, ...`. */
export const describeMemory = (memory: PlannedMemory): string =>
  `planned device memory ${formatBytes(plannedBytes(memory))}: ${
    Object.entries(memory).map(([what, bytes]) => `${what} ${formatBytes(bytes)}`).join(", ")
  }`;

/**
 * Refuses a step that the device cannot hold, before anything is allocated.
 *
 * @param fix What may be done about it.
 * @throws {GpuError} If one value passes the device's binding limit.
 * @throws {ConfigError} On a software driver, whose memory is the machine's: if that does not suffice.
 */
export function checkMemory(
  gpu: Pick<Gpu, "bindingLimit" | "name" | "isSoftware">,
  memory: PlannedMemory,
  plans: readonly (readonly Lowered[])[],
  fix: string,
): void {
  const limit = gpu.bindingLimit;
  for (const { nodes, inputs } of plans.flat()) {
    const values = [...inputs.values(), ...nodes.flatMap(({ op, outputs }) => op.isView ? [] : outputs)];
    const large = values.find((t) => bytesOf(t) > limit);
    if (!large) continue;
    const what = large.source.kind === "op"
      ? [large.source.node.op.name, large.source.node.scope].filter(Boolean).join(" in ")
      : "an input";
    throw new GpuError(
      `a value ${showShape(large.shape)} takes ${formatBytes(bytesOf(large))}, ${gpu.name} binds ${
        formatBytes(limit)
      } at most`,
      { where: what, fix },
    );
  }
  if (
    !gpu.isSoftware ||
    Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" }).state !== "granted"
  ) {
    return;
  }
  const { available } = Deno.systemMemoryInfo();
  if (plannedBytes(memory) <= available) return;
  throw new ConfigError(
    `the step needs ${
      formatBytes(plannedBytes(memory))
    }, ${gpu.name} runs in this machine's memory, of which ${formatBytes(available)} are free`,
    { where: describeMemory(memory), fix },
  );
}
