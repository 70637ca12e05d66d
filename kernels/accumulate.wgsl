// Adds to a gradient in its place in the state: g += x. The first part of a step overwrites: g = x.
// Grid: any; each invocation walks on by the number of invocations.
// @prelude step
struct Sizes { N: u32, fromFirst: u32 } // elements; 1: what stands there at the first part counts too
@group(1) @binding(0) var<uniform> sizes: Sizes;
@group(1) @binding(1) var<uniform> step: Step;

@group(0) @binding(0) var<storage, read> x: array<f32>;       // [N]
@group(0) @binding(1) var<storage, read_write> g: array<f32>; // [N]

@compute @workgroup_size(64)
fn accumulate(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  let adds = step.part > 0u || sizes.fromFirst != 0u;
  for (var i = id.x; i < sizes.N; i += n.x * 64u) {
    if (adds) { g[i] += x[i]; } else { g[i] = x[i]; }
  }
}
