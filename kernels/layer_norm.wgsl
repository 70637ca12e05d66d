// Layer normalisation over the last axis, with the biased variance.
//   forward   mean[r] = sum_c x[r,c] / C    rstd[r] = 1 / sqrt(sum_c (x[r,c] - mean[r])^2 / C + eps)
//             y[r,c]  = h[r,c] * weight[c] + bias[c]    h[r,c] = (x[r,c] - mean[r]) * rstd[r]
//   gradient  dx[r,c] = rstd[r] * (p[r,c] - sum_k p[r,k] / C - h[r,c] * sum_k p[r,k] h[r,k] / C)    p = dy * weight
//             dWeight[c] = sum_r dy[r,c] h[r,c]    dBias[c] = sum_r dy[r,c]
// The variance takes a second pass over the row: sum x^2 / C - mean^2 would lose all digits where it matters.
// Grid: `*Rows` one invocation a row, four columns at a time, without barriers: short rows, C a multiple of 4;
// `*Row` one workgroup a row. The sums over rows go in two phases, in order: `columnParts` (or `columnParts4`) makes
// P parts of K rows each, `columnSums` adds the parts. `gradientRowsAndParts` is `gradientRows` by its first workgroups and
// `columnParts4` by the others.
// @prelude reduce grid
struct Sizes { R: u32, C: u32, P: u32, K: u32, eps: f32 } // rows, columns, parts, rows a part
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read> x: array<f32>;               // [R, C]
@group(0) @binding(1) var<storage, read> weight: array<f32>;          // [C]
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // [C]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;         // [R, C]
@group(0) @binding(4) var<storage, read_write> mean: array<f32>;      // [R]
@group(0) @binding(5) var<storage, read_write> rstd: array<f32>;      // [R]

@group(0) @binding(6) var<storage, read> meanIn: array<f32>;          // [R]
@group(0) @binding(7) var<storage, read> rstdIn: array<f32>;          // [R]
@group(0) @binding(8) var<storage, read> dy: array<f32>;              // [R, C]
@group(0) @binding(9) var<storage, read_write> dx: array<f32>;        // [R, C]
@group(0) @binding(10) var<storage, read_write> parts: array<f32>;    // [2, P, C]: of dWeight, of dBias
@group(0) @binding(11) var<storage, read> partsIn: array<f32>;        // [2, P, C]
@group(0) @binding(12) var<storage, read_write> dWeight: array<f32>;  // [C]
@group(0) @binding(13) var<storage, read_write> dBias: array<f32>;    // [C]

// The same four columns at a time.
@group(0) @binding(14) var<storage, read> x4: array<vec4f>;           // [R, C / 4]
@group(0) @binding(15) var<storage, read> weight4: array<vec4f>;      // [C / 4]
@group(0) @binding(16) var<storage, read> bias4: array<vec4f>;        // [C / 4]
@group(0) @binding(17) var<storage, read_write> y4: array<vec4f>;     // [R, C / 4]
@group(0) @binding(18) var<storage, read> dy4: array<vec4f>;          // [R, C / 4]
@group(0) @binding(19) var<storage, read_write> dx4: array<vec4f>;    // [R, C / 4]
@group(0) @binding(20) var<storage, read_write> parts4: array<vec4f>; // [2, P, C / 4]

fn sum4(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(WG)
fn forwardRows(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
               @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n) * WG + t;
  if (r >= sizes.R) { return; }
  let C4 = sizes.C / 4u;
  let base = r * C4;
  var sum = vec4f();
  for (var c = 0u; c < C4; c++) { sum += x4[base + c]; }
  let m = sum4(sum) / f32(sizes.C);
  var square = vec4f();
  for (var c = 0u; c < C4; c++) { let d = x4[base + c] - m; square += d * d; }
  let s = 1.0 / sqrt(sum4(square) / f32(sizes.C) + sizes.eps);
  for (var c = 0u; c < C4; c++) { y4[base + c] = (x4[base + c] - m) * s * weight4[c] + bias4[c]; }
  mean[r] = m;
  rstd[r] = s;
}

@compute @workgroup_size(WG)
fn forwardRow(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
              @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n);
  if (r >= sizes.R) { return; } // the whole group leaves: barriers stay uniform
  let base = r * sizes.C;
  var sum = 0.0;
  for (var c = t; c < sizes.C; c += WG) { sum += x[base + c]; }
  let m = sumWorkgroup(sum, t) / f32(sizes.C);
  var square = 0.0;
  for (var c = t; c < sizes.C; c += WG) { let d = x[base + c] - m; square += d * d; }
  let s = 1.0 / sqrt(sumWorkgroup(square, t) / f32(sizes.C) + sizes.eps);
  for (var c = t; c < sizes.C; c += WG) { y[base + c] = (x[base + c] - m) * s * weight[c] + bias[c]; }
  if (t == 0u) {
    mean[r] = m;
    rstd[r] = s;
  }
}

fn gradientOf(r: u32) {
  if (r >= sizes.R) { return; }
  let C4 = sizes.C / 4u;
  let base = r * C4;
  let m = meanIn[r];
  let s = rstdIn[r];
  var sumA = vec4f();
  var sumB = vec4f();
  for (var c = 0u; c < C4; c++) {
    let p = dy4[base + c] * weight4[c];
    sumA += p;
    sumB += p * (x4[base + c] - m);
  }
  let a = sum4(sumA) / f32(sizes.C);
  let b = sum4(sumB) * s * s / f32(sizes.C);
  for (var c = 0u; c < C4; c++) { dx4[base + c] = s * (dy4[base + c] * weight4[c] - a - (x4[base + c] - m) * b); }
}

@compute @workgroup_size(WG)
fn gradientRows(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
                @builtin(local_invocation_index) t: u32) {
  gradientOf(flatGroup(g, n) * WG + t);
}

@compute @workgroup_size(WG)
fn gradientRowsAndParts(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
                        @builtin(local_invocation_index) t: u32) {
  let group = flatGroup(g, n);
  let forRows = (sizes.R + WG - 1u) / WG;
  if (group < forRows) { gradientOf(group * WG + t); } else { partOf((group - forRows) * WG + t); }
}

@compute @workgroup_size(WG)
fn gradientRow(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
               @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n);
  if (r >= sizes.R) { return; }
  let base = r * sizes.C;
  let m = meanIn[r];
  let s = rstdIn[r];
  var a = 0.0;
  var b = 0.0;
  for (var c = t; c < sizes.C; c += WG) {
    let p = dy[base + c] * weight[c];
    a += p;
    b += p * (x[base + c] - m);
  }
  a = sumWorkgroup(a, t) / f32(sizes.C);
  b = sumWorkgroup(b, t) * s * s / f32(sizes.C);
  for (var c = t; c < sizes.C; c += WG) { dx[base + c] = s * (dy[base + c] * weight[c] - a - (x[base + c] - m) * b); }
}

// One invocation a (part, column): neighbours read neighbouring columns.
@compute @workgroup_size(WG)
fn columnParts(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
               @builtin(local_invocation_index) t: u32) {
  let i = flatGroup(g, n) * WG + t;
  if (i >= sizes.P * sizes.C) { return; }
  let c = i % sizes.C;
  let first = i / sizes.C * sizes.K;
  var a = 0.0;
  var b = 0.0;
  for (var r = first; r < min(first + sizes.K, sizes.R); r++) {
    let d = dy[r * sizes.C + c];
    a += d * ((x[r * sizes.C + c] - meanIn[r]) * rstdIn[r]);
    b += d;
  }
  parts[i] = a;
  parts[sizes.P * sizes.C + i] = b;
}

@compute @workgroup_size(WG)
fn columnParts4(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
                @builtin(local_invocation_index) t: u32) {
  partOf(flatGroup(g, n) * WG + t);
}
fn partOf(i: u32) {
  let C4 = sizes.C / 4u;
  if (i >= sizes.P * C4) { return; }
  let c = i % C4;
  let first = i / C4 * sizes.K;
  var a = vec4f();
  var b = vec4f();
  for (var r = first; r < min(first + sizes.K, sizes.R); r++) {
    let d = dy4[r * C4 + c];
    a += d * ((x4[r * C4 + c] - meanIn[r]) * rstdIn[r]);
    b += d;
  }
  parts4[i] = a;
  parts4[sizes.P * C4 + i] = b;
}

@compute @workgroup_size(WG)
fn columnSums(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
              @builtin(local_invocation_index) t: u32) {
  let c = flatGroup(g, n) * WG + t;
  if (c >= sizes.C) { return; }
  var a = 0.0;
  var b = 0.0;
  for (var p = 0u; p < sizes.P; p++) {
    a += partsIn[p * sizes.C + c];
    b += partsIn[(sizes.P + p) * sizes.C + c];
  }
  dWeight[c] = a;
  dBias[c] = b;
}
