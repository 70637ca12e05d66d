// y = value.
// Grid: any; each invocation walks on by the number of invocations.
struct Sizes { N: u32, value: f32 } // elements
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read_write> y: array<f32>; // [N]

@compute @workgroup_size(64)
fn fill(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < sizes.N; i += n.x * 64u) { y[i] = sizes.value; }
}
