// Cross entropy of rows of logits, mean over the rows.
//   forward   m[r] = max_c x[r,c]    s[r] = sum_c exp(x[r,c] - m[r])
//             loss = sum_r (m[r] - x[r,label[r]] + ln s[r]) / R
//   gradient  dx[r,c] = (exp(x[r,c] - m[r]) / s[r] - (c == label[r])) * dy / R
// m and s are kept apart: ln s + m would round away digits of s where the logits are large.
// `both*` makes dx with m and s, while the row is at hand: where dy is there before the loss is.
// Grid: `*Rows` one invocation a row, without barriers: short rows; `*Row` one workgroup a row; `meanLoss` one workgroup.
// Without labels (hasLabels 0) row r's label is r, and `labels` is not read.
// @prelude reduce grid
struct Sizes { R: u32, C: u32, hasLabels: u32 } // rows, classes
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read> x: array<f32>;           // [R, C]
@group(0) @binding(1) var<storage, read> labels: array<u32>;      // [R]
@group(0) @binding(2) var<storage, read_write> stats: array<f32>; // [3, R]: m, s, loss of the row
@group(0) @binding(3) var<storage, read> statsIn: array<f32>;     // [3, R]
@group(0) @binding(4) var<storage, read_write> loss: array<f32>;  // []
@group(0) @binding(5) var<storage, read> dy: array<f32>;          // []
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;    // [R, C]

fn labelOf(r: u32) -> u32 {
  if (sizes.hasLabels == 0u) { return r; }
  return labels[r];
}
fn writeStats(r: u32, m: f32, s: f32) {
  stats[r] = m;
  stats[sizes.R + r] = s;
  stats[2u * sizes.R + r] = m - x[r * sizes.C + labelOf(r)] + log(s);
}
// Maximum and sum of a row.
struct Row { m: f32, s: f32 }
fn gradient(i: u32, row: Row, isLabel: bool, scale: f32) -> f32 {
  return (exp(x[i] - row.m) / row.s - f32(isLabel)) * scale;
}

// By one invocation.
fn sumInOrder(r: u32) -> Row {
  let base = r * sizes.C;
  var m = LOWEST;
  for (var c = 0u; c < sizes.C; c++) { m = max(m, x[base + c]); }
  var s = 0.0;
  for (var c = 0u; c < sizes.C; c++) { s += exp(x[base + c] - m); }
  writeStats(r, m, s);
  return Row(m, s);
}
fn gradientInOrder(r: u32, row: Row) {
  let label = labelOf(r);
  let scale = dy[0] / f32(sizes.R);
  for (var c = 0u; c < sizes.C; c++) { dx[r * sizes.C + c] = gradient(r * sizes.C + c, row, c == label, scale); }
}
// By a workgroup.
fn sumTogether(r: u32, t: u32) -> Row {
  let base = r * sizes.C;
  var m = LOWEST;
  for (var c = t; c < sizes.C; c += WG) { m = max(m, x[base + c]); }
  m = maxWorkgroup(m, t);
  var s = 0.0;
  for (var c = t; c < sizes.C; c += WG) { s += exp(x[base + c] - m); }
  s = sumWorkgroup(s, t);
  if (t == 0u) { writeStats(r, m, s); }
  return Row(m, s);
}
fn gradientTogether(r: u32, row: Row, t: u32) {
  let label = labelOf(r);
  let scale = dy[0] / f32(sizes.R);
  for (var c = t; c < sizes.C; c += WG) { dx[r * sizes.C + c] = gradient(r * sizes.C + c, row, c == label, scale); }
}

@compute @workgroup_size(WG)
fn forwardRows(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
               @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n) * WG + t;
  if (r >= sizes.R) { return; }
  _ = sumInOrder(r);
}

@compute @workgroup_size(WG)
fn forwardRow(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
              @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n);
  if (r >= sizes.R) { return; } // the whole group leaves: barriers stay uniform
  _ = sumTogether(r, t);
}

@compute @workgroup_size(WG)
fn bothRows(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
            @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n) * WG + t;
  if (r >= sizes.R) { return; }
  gradientInOrder(r, sumInOrder(r));
}

@compute @workgroup_size(WG)
fn bothRow(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
           @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n);
  if (r >= sizes.R) { return; }
  gradientTogether(r, sumTogether(r, t), t);
}

@compute @workgroup_size(WG)
fn meanLoss(@builtin(local_invocation_index) t: u32) {
  if (sizes.R == 0u) { return; }
  var s = 0.0;
  for (var r = t; r < sizes.R; r += WG) { s += statsIn[2u * sizes.R + r]; }
  s = sumWorkgroup(s, t);
  if (t == 0u) { loss[0] = s / f32(sizes.R); }
}

@compute @workgroup_size(WG)
fn gradientRows(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
                @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n) * WG + t;
  if (r >= sizes.R) { return; }
  gradientInOrder(r, Row(statsIn[r], statsIn[sizes.R + r]));
}

@compute @workgroup_size(WG)
fn gradientRow(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
               @builtin(local_invocation_index) t: u32) {
  let r = flatGroup(g, n);
  if (r >= sizes.R) { return; }
  gradientTogether(r, Row(statsIn[r], statsIn[sizes.R + r]), t);
}
