// Prelude random: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A number is a function of (seed, step, site, element) and of nothing else. Same bits as lib/core/random.ts.
// High 32 bits of the two products a * b. WGSL has no 64-bit integers: 16 x 16 bits at a time.
fn mulHigh(a: vec2u, b: vec2u) -> vec2u {
  let a0 = a & vec2u(0xffffu);
  let a1 = a >> vec2u(16u);
  let b0 = b & vec2u(0xffffu);
  let b1 = b >> vec2u(16u);
  let mid = a1 * b0 + ((a0 * b0) >> vec2u(16u)); // at most 2^32 - 2^17: no overflow, nor in the next line
  let low = a0 * b1 + (mid & vec2u(0xffffu));
  return a1 * b1 + (mid >> vec2u(16u)) + (low >> vec2u(16u));
}
fn philox(counter: vec4u, key: vec2u) -> vec4u {
  const M = vec2u(0xd2511f53u, 0xcd9e8d57u);
  const W = vec2u(0x9e3779b9u, 0xbb67ae85u);
  var c = counter;
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    let high = mulHigh(M, c.xz);
    let low = M * c.xz;
    c = vec4u(high.y ^ c.y ^ k.x, low.y, high.x ^ c.w ^ k.y, low.x);
    k += W;
  }
  return c;
}
// The numbers of elements 4 * block to 4 * block + 3 at one site of one step. The second half of the key keeps
// them apart from the streams of the CPU, whose key ends in 0.
fn randomBlock(block: u32, site: u32, stepIndex: u32, seed: u32) -> vec4u {
  return philox(vec4u(block, site, stepIndex, 0u), vec2u(seed, 1u));
}
