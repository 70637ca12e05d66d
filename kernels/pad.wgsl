// Zeros round a block: y[o, j, i] = x[o, j - start, i] where start <= j < start + L, else 0. x is [O, L, I], y is [O, S, I].
// Elements are copied as bits: u32 stands for every 4-byte type. `padBy4`: I and run in vec4.
// An invocation writes a run of I: on a CPU the divisions that find its place cost as much as a dozen copies.
// Grid: any; each invocation walks on by the number of invocations.
struct Sizes { N: u32, L: u32, S: u32, I: u32, start: u32, run: u32 } // N = O S I / run
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(0) var<storage, read> x4: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> y4: array<vec4u>;

// First element of run k in x, or OUTSIDE.
const OUTSIDE: u32 = 0xffffffffu;
fn placeOf(k: u32) -> u32 {
  let i = k * sizes.run % sizes.I;
  let row = k * sizes.run / sizes.I;
  let j = row % sizes.S - sizes.start; // wraps round below the block: then it is not below L either
  if (j >= sizes.L) { return OUTSIDE; }
  return (row / sizes.S * sizes.L + j) * sizes.I + i;
}

@compute @workgroup_size(64)
fn pad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var k = id.x; k < sizes.N; k += n.x * 64u) {
    let at = placeOf(k);
    for (var r = 0u; r < sizes.run; r++) {
      if (at == OUTSIDE) { y[k * sizes.run + r] = 0u; } else { y[k * sizes.run + r] = x[at + r]; }
    }
  }
}

@compute @workgroup_size(64)
fn padBy4(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var k = id.x; k < sizes.N; k += n.x * 64u) {
    let at = placeOf(k);
    for (var r = 0u; r < sizes.run; r++) {
      if (at == OUTSIDE) { y4[k * sizes.run + r] = vec4u(); } else { y4[k * sizes.run + r] = x4[at + r]; }
    }
  }
}
