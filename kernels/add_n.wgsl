// Sum of 2 to 7 tensors of one shape, added from left to right: y = ((a + b) + c) + ...
// Terms that are not there are bound to `a` and not read: one pipeline for every count.
// Grid: any; each invocation walks on by the number of invocations.
struct Sizes { N: u32, terms: u32 } // elements, number of terms
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read_write> y: array<f32>; // [N]
@group(0) @binding(1) var<storage, read> a: array<f32>; // [N]
@group(0) @binding(2) var<storage, read> b: array<f32>; // [N]
@group(0) @binding(3) var<storage, read> c: array<f32>; // [N]
@group(0) @binding(4) var<storage, read> d: array<f32>; // [N]
@group(0) @binding(5) var<storage, read> e: array<f32>; // [N]
@group(0) @binding(6) var<storage, read> f: array<f32>; // [N]
@group(0) @binding(7) var<storage, read> g: array<f32>; // [N]

@compute @workgroup_size(64)
fn addN(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < sizes.N; i += n.x * 64u) {
    var s = a[i] + b[i];
    if (sizes.terms > 2u) { s += c[i]; }
    if (sizes.terms > 3u) { s += d[i]; }
    if (sizes.terms > 4u) { s += e[i]; }
    if (sizes.terms > 5u) { s += f[i]; }
    if (sizes.terms > 6u) { s += g[i]; }
    y[i] = s;
  }
}
