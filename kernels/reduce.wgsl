// Sum over the middle axis: y[o, s, i] = scale * sum of x[o, r, i] over the r of chunk s, in a fixed order.
// With S = 1 that is the whole axis; else a second launch sums the chunks, with O, S, I as its O, R, I.
// One invocation a sum, no workgroup memory: on llvmpipe a workgroup with barriers a row took 13 times as long at [2048, 768].
// Grid: any; each invocation walks on by the number of invocations.
struct Sizes { O: u32, R: u32, I: u32, S: u32, chunk: u32, scale: f32 } // chunk: elements of R in one sum
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read> x: array<f32>; // [O, R, I]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [O, S, I]

@compute @workgroup_size(64)
fn sumChunks(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var k = id.x; k < sizes.O * sizes.S * sizes.I; k += n.x * 64u) {
    let i = k % sizes.I;
    let os = k / sizes.I;
    let first = os % sizes.S * sizes.chunk;
    let end = min(first + sizes.chunk, sizes.R);
    let base = os / sizes.S * sizes.R * sizes.I + i;
    // Four sums side by side: less rounding, and loads that do not wait for each other.
    var s = vec4f();
    var r = first;
    for (; r + 3u < end; r += 4u) {
      let at = base + r * sizes.I;
      s += vec4f(x[at], x[at + sizes.I], x[at + 2u * sizes.I], x[at + 3u * sizes.I]);
    }
    for (; r < end; r++) { s.x += x[base + r * sizes.I]; }
    y[k] = sizes.scale * ((s.x + s.y) + (s.z + s.w));
  }
}
