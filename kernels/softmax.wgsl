// Softmax over the last axis, of scaled and masked scores.
//   scores    z[r,c]  = scale * x[r,c] + (1 - mask[r / M, c]) * -10000
//   forward   y[r,c]  = exp(z[r,c] - m[r]) / s[r]      m: row maximum, s: row sum
//   gradient  dx[r,c] = scale * y[r,c] * (dy[r,c] - sum_k dy[r,k] * y[r,k])
// Causal: row i of each [Q, C] matrix sees the columns 0 to i; beyond them y is 0. The mask is BERT's: a number, not
// minus infinity, so that a row with every position masked is the softmax of what -10000 leaves of its digits.
// Grid: `*Rows` one invocation a row, without barriers: short rows; `*Row` one workgroup a row.
// Without a mask M is 0 and `mask` is not read.
// @prelude reduce grid
struct Sizes { R: u32, C: u32, Q: u32, M: u32, scale: f32 } // rows, columns, rows a causal matrix or 0, rows a mask row or 0
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read> x: array<f32>;        // [R, C]
@group(0) @binding(1) var<storage, read> mask: array<f32>;     // [R / M, C], 1 keeps
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [R, C]
@group(0) @binding(3) var<storage, read> yIn: array<f32>;      // [R, C]
@group(0) @binding(4) var<storage, read> dy: array<f32>;       // [R, C]
@group(0) @binding(5) var<storage, read_write> dx: array<f32>; // [R, C]

// Columns that row r sees.
fn visible(r: u32) -> u32 {
  if (sizes.Q == 0u) { return sizes.C; }
  return min(sizes.C, r % sizes.Q + 1u);
}
fn score(r: u32, c: u32) -> f32 {
  var z = sizes.scale * x[r * sizes.C + c];
  if (sizes.M > 0u) { z += (1.0 - mask[r / sizes.M * sizes.C + c]) * -10000.0; }
  return z;
}

@compute @workgroup_size(WG)
fn forwardRows(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
               @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n) * WG + t;
  if (r >= sizes.R) { return; }
  let base = r * sizes.C;
  let length = visible(r);
  var m = LOWEST;
  for (var c = 0u; c < length; c++) {
    let z = score(r, c);
    y[base + c] = z;
    m = max(m, z);
  }
  var s = 0.0;
  for (var c = 0u; c < length; c++) {
    let e = exp(y[base + c] - m);
    y[base + c] = e;
    s += e;
  }
  for (var c = 0u; c < length; c++) { y[base + c] /= s; }
  for (var c = length; c < sizes.C; c++) { y[base + c] = 0.0; }
}

@compute @workgroup_size(WG)
fn forwardRow(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
              @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n);
  if (r >= sizes.R) { return; } // the whole group leaves: barriers stay uniform
  let base = r * sizes.C;
  let length = visible(r);
  var m = LOWEST;
  for (var c = t; c < length; c += WG) { m = max(m, score(r, c)); }
  m = maxWorkgroup(m, t);
  var s = 0.0;
  for (var c = t; c < length; c += WG) { s += exp(score(r, c) - m); }
  s = sumWorkgroup(s, t);
  for (var c = t; c < length; c += WG) { y[base + c] = exp(score(r, c) - m) / s; }
  for (var c = length + t; c < sizes.C; c += WG) { y[base + c] = 0.0; }
}

@compute @workgroup_size(WG)
fn gradientRows(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
                @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n) * WG + t;
  if (r >= sizes.R) { return; }
  let base = r * sizes.C;
  var d = 0.0;
  for (var c = 0u; c < sizes.C; c++) { d += dy[base + c] * yIn[base + c]; }
  for (var c = 0u; c < sizes.C; c++) { dx[base + c] = sizes.scale * yIn[base + c] * (dy[base + c] - d); }
}

@compute @workgroup_size(WG)
fn gradientRow(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
               @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n);
  if (r >= sizes.R) { return; }
  let base = r * sizes.C;
  var d = 0.0;
  for (var c = t; c < sizes.C; c += WG) { d += dy[base + c] * yIn[base + c]; }
  d = sumWorkgroup(d, t);
  for (var c = t; c < sizes.C; c += WG) { dx[base + c] = sizes.scale * yIn[base + c] * (dy[base + c] - d); }
}
