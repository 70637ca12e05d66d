// Copy between two strided layouts: dst[tAt + sum_k i_k t_k] = src[sAt + sum_k i_k s_k], for all i < (d0, ..., d5, run).
// An invocation copies a run: on a CPU the divisions that find its place cost as much as a dozen copies.
// Elements are copied as bits: u32 stands for every 4-byte type. `copyBy4`: the last axis is contiguous on both
// sides and everything is a multiple of 4; sizes, strides and offsets are then in vec4.
// Grid: any; each invocation walks on by the number of invocations.
struct Sizes {
  N: u32, run: u32, // product of the d; elements of a run
  d1: u32, d2: u32, d3: u32, d4: u32, d5: u32, // axes, outermost first; the outermost needs no size
  s0: u32, s1: u32, s2: u32, s3: u32, s4: u32, s5: u32, sRun: u32, sAt: u32, // source: strides and first element
  t0: u32, t1: u32, t2: u32, t3: u32, t4: u32, t5: u32, tRun: u32, tAt: u32, // destination
}
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> dst: array<u32>;
@group(0) @binding(0) var<storage, read> src4: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> dst4: array<vec4u>;

// First places of run i: source, destination. Unused axes are passed over: uniform branches spare divisions.
fn places(i: u32) -> vec2u {
  var rest = i;
  var at = vec2u(sizes.sAt, sizes.tAt);
  if (sizes.d5 > 1u) {
    at += (rest % sizes.d5) * vec2u(sizes.s5, sizes.t5);
    rest /= sizes.d5;
  }
  if (sizes.d4 > 1u) {
    at += (rest % sizes.d4) * vec2u(sizes.s4, sizes.t4);
    rest /= sizes.d4;
  }
  if (sizes.d3 > 1u) {
    at += (rest % sizes.d3) * vec2u(sizes.s3, sizes.t3);
    rest /= sizes.d3;
  }
  if (sizes.d2 > 1u) {
    at += (rest % sizes.d2) * vec2u(sizes.s2, sizes.t2);
    rest /= sizes.d2;
  }
  if (sizes.d1 > 1u) {
    at += (rest % sizes.d1) * vec2u(sizes.s1, sizes.t1);
    rest /= sizes.d1;
  }
  return at + rest * vec2u(sizes.s0, sizes.t0);
}

@compute @workgroup_size(64)
fn copy(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < sizes.N; i += n.x * 64u) {
    let at = places(i);
    for (var j = 0u; j < sizes.run; j++) { dst[at.y + j * sizes.tRun] = src[at.x + j * sizes.sRun]; }
  }
}

@compute @workgroup_size(64)
fn copyBy4(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < sizes.N; i += n.x * 64u) {
    let at = places(i);
    for (var j = 0u; j < sizes.run; j++) { dst4[at.y + j * sizes.tRun] = src4[at.x + j * sizes.sRun]; }
  }
}
