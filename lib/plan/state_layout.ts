/** Where the parameters of a state lie: known before any memory is allocated. */
import { ConfigError } from "../core/errors.ts";
import { bytesOf, sizeOf } from "../core/shape.ts";
import { layoutShards, type ShardPlace } from "../gpu/shard.ts";
import type { Param } from "../tensor/tensor.ts";

/** Parameters that are updated together. A trained group has gradients and moments; each of its parameters needs a gradient. */
export interface StateGroup {
  readonly params: readonly Param[];
  readonly isTrained: boolean;
}

/** What a plan may know of the state that it reads and writes. */
export interface StatePlaces {
  /** True if the parameters lie one behind the other, without gaps: then a binding can show them as one. */
  areAdjacent(params: readonly Param[]): boolean;
  /** The number of the shard, one buffer, in which the parameter lies; none if it is not in the state. */
  shardOf(param: Param): number | undefined;
}

/** The shards of a list of groups, and each parameter's place in them. */
export class StateLayout implements StatePlaces {
  readonly groups: readonly StateGroup[];
  /** In order of the groups. */
  readonly shards: readonly { readonly group: number; readonly bytes: number }[];
  readonly #places = new Map<Param, ShardPlace>();

  /**
   * @param limit Bytes of a shard at most: what the device binds.
   * @throws {ConfigError} If a parameter is in two groups.
   * @throws {GpuError} If a parameter alone passes the limit.
   */
  constructor(groups: readonly StateGroup[], limit: number) {
    const shards: { group: number; bytes: number }[] = [];
    groups.forEach(({ params }, group) => {
      // Matrices first, then vectors: so the weights of neighbouring layers lie side by side, and so do their biases.
      const order = params.toSorted((a, b) => b.shape.length - a.shape.length);
      const layout = layoutShards(order.map((p) => 4 * sizeOf(p.shape)), limit);
      const places = new Map(order.map((param, i) => [param, layout.places[i]]));
      for (const param of params) {
        const place = places.get(param);
        if (this.#places.has(param) || !place) {
          throw new ConfigError(`parameter "${param.source.name}" is in two groups`);
        }
        this.#places.set(param, { shard: shards.length + place.shard, offset: place.offset });
      }
      shards.push(...layout.shards.map((bytes) => ({ group, bytes })));
    });
    this.groups = groups;
    this.shards = shards;
  }

  /** All parameters, group by group. */
  get params(): Param[] {
    return [...this.#places.keys()];
  }
  /** The shard by its number, and the byte in it; none for a parameter of no group. */
  placeOf(param: Param): ShardPlace | undefined {
    return this.#places.get(param);
  }

  shardOf(param: Param): number | undefined {
    return this.#places.get(param)?.shard;
  }
  areAdjacent(params: readonly Param[]): boolean {
    return params.every((param, i) => {
      const place = this.#places.get(param), before = params[i - 1];
      if (i === 0 || !place) return place !== undefined;
      const last = this.#places.get(before);
      return last?.shard === place.shard && last.offset + bytesOf(before) === place.offset;
    });
  }
}
