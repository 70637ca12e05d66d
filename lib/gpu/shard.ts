/** Long-lived state in a few large buffers: where each value lies. Pure layout, then the buffers. */
import { GpuError } from "../core/errors.ts";

/** A value's place: which shard of the group, and where in it. */
export interface ShardPlace {
  readonly shard: number;
  /** Bytes from the shard's start, a multiple of 256. */
  readonly offset: number;
}

/** Places of a list of values, in order, and the size of each shard. */
export interface ShardLayout {
  readonly places: readonly ShardPlace[];
  /** Bytes of each shard. */
  readonly shards: readonly number[];
}

/** Offsets are multiples of 256: WebGPU's default alignment of a storage binding. */
const ALIGNMENT = 256;

/**
 * Fills shards of at most `limit` bytes in order.
 *
 * @throws {GpuError} If one value alone passes the limit.
 */
export function layoutShards(sizesBytes: readonly number[], limit: number): ShardLayout {
  const places: ShardPlace[] = [], shards: number[] = [];
  for (const bytes of sizesBytes) {
    const need = Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
    if (need > limit) {
      throw new GpuError(
        `a parameter of ${bytes} bytes passes the adapter's limit of ${limit} bytes a binding`,
        {
          fix: "use an adapter with a larger maxStorageBufferBindingSize; `deno task doctor` shows it",
        },
      );
    }
    if (shards.length === 0 || (shards.at(-1) ?? 0) + need > limit) shards.push(0);
    const shard = shards.length - 1;
    places.push({ shard, offset: shards[shard] });
    shards[shard] += need;
  }
  return { places, shards };
}
