/** Ranges of buffers: copies on the GPU, and to the CPU with one wait. */
import { GpuError } from "../core/errors.ts";
import type { Gpu } from "./device.ts";

/** A range of a buffer, in bytes. */
export interface BufferRange {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
}

/** Encodes a copy of one range into another of its size; of a range into itself, nothing. */
export function copyRange(encoder: GPUCommandEncoder, from: BufferRange, to: BufferRange): void {
  if (from.buffer === to.buffer && from.offset === to.offset) return;
  encoder.copyBufferToBuffer(from.buffer, from.offset, to.buffer, to.offset, to.bytes);
}

/** Reads several ranges in one submit. @throws {GpuError} If the device was lost or the copy failed. */
export async function readBuffers(gpu: Gpu, ranges: readonly BufferRange[]): Promise<ArrayBuffer[]> {
  const starts: number[] = [];
  let total = 0;
  for (const { bytes } of ranges) {
    starts.push(total);
    total += Math.ceil(bytes / 8) * 8;
  }
  if (total === 0) return ranges.map(() => new ArrayBuffer(0));
  const staging = gpu.createBuffer({
    label: "staging",
    size: total,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  try {
    const encoder = gpu.device.createCommandEncoder();
    ranges.forEach(({ buffer, offset, bytes }, i) =>
      encoder.copyBufferToBuffer(buffer, offset, staging, starts[i], Math.ceil(bytes / 4) * 4)
    );
    gpu.device.queue.submit([encoder.finish()]);
    // sync: the caller asked for values; everything submitted before is waited for.
    await staging.mapAsync(GPUMapMode.READ).catch((cause) => {
      gpu.check();
      throw new GpuError("reading back from the GPU failed", { cause, where: String(cause) });
    });
    gpu.check();
    const all = staging.getMappedRange();
    return ranges.map(({ bytes }, i) => all.slice(starts[i], starts[i] + bytes));
  } finally {
    gpu.destroyBuffer(staging);
  }
}
