// What the device can do at most, for benchmarks: a copy, and multiply-adds that need no memory.
// Grid: one invocation a vec4 (copy); any number (madd).
// @prelude grid
struct Sizes { N: u32, rounds: u32 } // vec4s; rounds of 128 multiply-adds
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read> x: array<vec4f>;       // [N]
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>; // [N]

@compute @workgroup_size(64)
fn copy(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = flatGroup(g, n) * 64u + t;
  if (i >= sizes.N) { return; }
  y[i] = x[i];
}

// Eight independent multiply-adds a lane hide their latency and, with both factors, fit the 16 vector registers of a CPU:
// sixteen of them reach 60% of the rate on llvmpipe. 16 rounds in a row, so that the loop's own work does not count.
struct Chains { c0: vec4f, c1: vec4f }

fn once(c: ptr<function, Chains>, b: f32, a: f32) {
  (*c).c0 = fma((*c).c0, vec4f(b), vec4f(a));
  (*c).c1 = fma((*c).c1, vec4f(b), vec4f(a));
}
fn four(c: ptr<function, Chains>, b: f32, a: f32) {
  once(c, b, a); once(c, b, a); once(c, b, a); once(c, b, a);
}

@compute @workgroup_size(64)
fn madd(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = flatGroup(g, n) * 64u + t;
  if (i >= sizes.N) { return; }
  let v = x[i];
  var c = Chains(v, v + 1);
  let a = v.x;
  let b = v.y * 0.5;
  for (var r = 0u; r < sizes.rounds; r++) {
    four(&c, b, a); four(&c, b, a); four(&c, b, a); four(&c, b, a);
  }
  y[i] = c.c0 + c.c1;
}
