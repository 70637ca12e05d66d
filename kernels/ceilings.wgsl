// What the device can do at most, for benchmarks: a copy, and multiply-adds that need no memory.
// Grid: one invocation a vec4 (copy); any number (madd).
// @prelude grid
struct Sizes { N: u32, rounds: u32 } // vec4s; rounds of 64 multiply-adds
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read> x: array<vec4f>;       // [N]
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>; // [N]

@compute @workgroup_size(64)
fn copy(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = flatGroup(g, n) * 64u + t;
  if (i >= sizes.N) { return; }
  y[i] = x[i];
}

// Eight independent vec4 chains: enough to hide the latency of a multiply-add.
@compute @workgroup_size(64)
fn madd(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = flatGroup(g, n) * 64u + t;
  if (i >= sizes.N) { return; }
  let a = x[i];
  let b = a * 0.5;
  var c0 = a; var c1 = b; var c2 = a + b; var c3 = a - b;
  var c4 = a * b; var c5 = b * b; var c6 = a * a; var c7 = -a;
  for (var r = 0u; r < sizes.rounds; r++) {
    c0 = fma(c0, b, a); c1 = fma(c1, b, a); c2 = fma(c2, b, a); c3 = fma(c3, b, a);
    c4 = fma(c4, b, a); c5 = fma(c5, b, a); c6 = fma(c6, b, a); c7 = fma(c7, b, a);
  }
  y[i] = ((c0 + c1) + (c2 + c3)) + ((c4 + c5) + (c6 + c7));
}
