// Division of each row by its Euclidean norm, or by eps where the norm is smaller.
//   forward   norm[r] = max(sqrt(sum_c x[r,c]^2), eps)    y[r,c] = x[r,c] / norm[r]
//   gradient  dx[r,c] = (dy[r,c] - y[r,c] * sum_k dy[r,k] y[r,k]) / norm[r]    where norm > eps
//             dx[r,c] = dy[r,c] / eps                                           elsewhere
// Grid: `*Rows` one invocation a row, without barriers: short rows; `*Row` one workgroup a row.
// @prelude reduce grid
struct Sizes { R: u32, C: u32, eps: f32 } // rows, columns
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read> x: array<f32>;          // [R, C]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;    // [R, C]
@group(0) @binding(2) var<storage, read_write> norm: array<f32>; // [R]
@group(0) @binding(3) var<storage, read> yIn: array<f32>;        // [R, C]
@group(0) @binding(4) var<storage, read> normIn: array<f32>;     // [R]
@group(0) @binding(5) var<storage, read> dy: array<f32>;         // [R, C]
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;   // [R, C]

@compute @workgroup_size(WG)
fn forwardRows(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
               @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n) * WG + t;
  if (r >= sizes.R) { return; }
  let base = r * sizes.C;
  var s = 0.0;
  for (var c = 0u; c < sizes.C; c++) { s += x[base + c] * x[base + c]; }
  let d = max(sqrt(s), sizes.eps);
  for (var c = 0u; c < sizes.C; c++) { y[base + c] = x[base + c] / d; }
  norm[r] = d;
}

@compute @workgroup_size(WG)
fn forwardRow(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
              @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n);
  if (r >= sizes.R) { return; } // the whole group leaves: barriers stay uniform
  let base = r * sizes.C;
  var s = 0.0;
  for (var c = t; c < sizes.C; c += WG) { s += x[base + c] * x[base + c]; }
  let d = max(sqrt(sumWorkgroup(s, t)), sizes.eps);
  for (var c = t; c < sizes.C; c += WG) { y[base + c] = x[base + c] / d; }
  if (t == 0u) { norm[r] = d; }
}

@compute @workgroup_size(WG)
fn gradientRows(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
                @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n) * WG + t;
  if (r >= sizes.R) { return; }
  let base = r * sizes.C;
  let d = normIn[r];
  var s = 0.0;
  for (var c = 0u; c < sizes.C; c++) { s += dy[base + c] * yIn[base + c]; }
  s = select(0.0, s, d > sizes.eps);
  for (var c = 0u; c < sizes.C; c++) { dx[base + c] = (dy[base + c] - yIn[base + c] * s) / d; }
}

@compute @workgroup_size(WG)
fn gradientRow(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
               @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n);
  if (r >= sizes.R) { return; }
  let base = r * sizes.C;
  let d = normIn[r];
  var s = 0.0;
  for (var c = t; c < sizes.C; c += WG) { s += dy[base + c] * yIn[base + c]; }
  s = select(0.0, sumWorkgroup(s, t), d > sizes.eps);
  for (var c = t; c < sizes.C; c += WG) { dx[base + c] = (dy[base + c] - yIn[base + c] * s) / d; }
}
