/**
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 * A number is a function of (seed, stream, index) and of nothing else. `kernels/prelude/random.wgsl` gives the same bits.
 */
const M0 = 0xd2511f53, M1 = 0xcd9e8d57, W0 = 0x9e3779b9, W1 = 0xbb67ae85;

/** High 32 bits of the product of two u32. */
function mulHigh(a: number, b: number): number {
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16;
  const low = a0 * b0, mid = a1 * b0 + (low >>> 16), mid2 = a0 * b1 + (mid % 0x10000);
  return (a1 * b1 + Math.floor(mid / 0x10000) + Math.floor(mid2 / 0x10000)) >>> 0;
}

/** One Philox block: four u32 from a counter of four and a key of two. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const h0 = mulHigh(M0, c0), l0 = Math.imul(M0, c0) >>> 0;
    const h1 = mulHigh(M1, c2), l1 = Math.imul(M1, c2) >>> 0;
    [c0, c1, c2, c3] = [(h1 ^ c1 ^ k0) >>> 0, l1, (h0 ^ c3 ^ k1) >>> 0, l0];
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** A 32-bit hash of a string (FNV-1a with a finalizer): turns a name into a stream number. */
export function hashString(text: string): number {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  h = Math.imul(h ^ (h >>> 15), 2246822519);
  h = Math.imul(h ^ (h >>> 13), 3266489917);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Random numbers of one stream. `at(i)` is the i-th u32 whatever was asked before; `next*` walks along.
 *
 * @example Usage
 * ```ts
 * const a = new Random(42, "init"), b = new Random(42, "init");
 * if (a.nextU32() !== b.nextU32()) throw new Error("same seed, same numbers");
 * ```
 */
export class Random {
  readonly seed: number;
  readonly stream: number;
  #position = 0;
  #blockIndex = -1;
  #block: [number, number, number, number] = [0, 0, 0, 0];

  /** @param stream A number or a name; different streams of one seed are independent. */
  constructor(seed: number, stream: number | string = 0) {
    this.seed = seed >>> 0;
    this.stream = typeof stream === "string" ? hashString(stream) : stream >>> 0;
  }

  /** The number at position `index` of the stream: u32. */
  at(index: number): number {
    const block = Math.floor(index / 4);
    if (block !== this.#blockIndex) {
      this.#block = philox([block >>> 0, Math.floor(block / 2 ** 32), 0, this.stream], [this.seed, 0]);
      this.#blockIndex = block;
    }
    return this.#block[index % 4];
  }
  nextU32(): number {
    return this.at(this.#position++);
  }
  /** The number at position `index` of the stream, uniform in [0, 1): 24 bits, exact in f32. */
  uniformAt(index: number): number {
    return (this.at(index) >>> 8) / 2 ** 24;
  }
  nextUniform(): number {
    return this.uniformAt(this.#position++);
  }
  /** Uniform integer in [0, n). */
  nextInt(n: number): number {
    return Math.floor((this.nextU32() / 2 ** 32) * n);
  }
  /** `n` numbers uniform in [low, high). */
  uniform(n: number, low: number, high: number): Float32Array<ArrayBuffer> {
    return Float32Array.from({ length: n }, () => low + (high - low) * this.nextUniform());
  }
  /** `n` normal numbers (Box-Muller). */
  normal(n: number, mean = 0, std = 1): Float32Array<ArrayBuffer> {
    return Float32Array.from({ length: n }, () => {
      const u = (this.nextU32() + 1) / 2 ** 32, v = this.nextU32() / 2 ** 32;
      return mean + std * Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
    });
  }
  /** A permutation of 0..n-1 (Fisher-Yates). */
  permutation(n: number): Uint32Array<ArrayBuffer> {
    const p = Uint32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.nextInt(i + 1);
      [p[i], p[j]] = [p[j], p[i]];
    }
    return p;
  }
}
