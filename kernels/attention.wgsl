// Attention of short sequences in one launch: scores, mask, softmax and weighted values of each head.
//   forward   z[i,j] = scale * q[i] . k[j] + (1 - mask[j]) * -10000    m[i] = max_j z[i,j]    s[i] = sum_j exp(z[i,j] - m[i])
//             y[i]   = sum_j p[i,j] v[j]                                p[i,j] = exp(z[i,j] - m[i]) / s[i]
//   gradient  dz[i,j] = p[i,j] (dy[i] . v[j] - delta[i])                delta[i] = sum_j p[i,j] dy[i] . v[j]
//             dq[i] = scale sum_j dz[i,j] k[j]    dk[j] = scale sum_i dz[i,j] q[i]    dv[j] = sum_i p[i,j] dy[i]
// Causal: row i sees the columns 0 to i; what it does not see gets LOWEST, whose exp is 0.
// Nothing of size Q x K is stored: the gradients compute p again. Heads are H slices of the last axis, W vec4s each.
// k and v lie in one tensor, row by row side by side, as one projection makes them; q may lie there too, in front.
// Grid: one invocation four rows of a head (the last ones may repeat), which are the components of z: `forward` and
// `gradientQ` four queries against K <= 32 keys, `gradientKV` four keys against Q <= 32 queries.
// Without a mask `mask` is not read.
// @prelude reduce grid
struct Sizes {
  B: u32, H: u32, Q: u32, K: u32, W: u32,
  qRow: u32, kvRow: u32, kAt: u32, vAt: u32, // vec4s of a row of q's tensor and of k's and v's; where k and v begin in it
  hasMask: u32, isCausal: u32, scale: f32,
}
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read> q: array<vec4f>;           // [B, Q, qRow], of it [H, W]
@group(0) @binding(1) var<storage, read> kv: array<vec4f>;          // [B, K, kvRow], of it twice [H, W]
@group(0) @binding(3) var<storage, read> mask: array<f32>;          // [B, K], 1 keeps
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;     // [B, Q, H, W]
@group(0) @binding(5) var<storage, read_write> stats: array<f32>;   // [2, B, H, Q]: m, s

@group(0) @binding(6) var<storage, read> statsIn: array<f32>;       // [2, B, H, Q]; with delta [3, B, H, Q]
@group(0) @binding(7) var<storage, read> dy: array<vec4f>;          // [B, Q, H, W]
@group(0) @binding(8) var<storage, read_write> dq: array<vec4f>;    // like q
@group(0) @binding(9) var<storage, read_write> deltas: array<f32>;  // [3, B, H, Q]: m, s, delta, so that eight bindings do
@group(0) @binding(10) var<storage, read_write> dkv: array<vec4f>;  // like kv

const LONGEST: u32 = 32;

// Four rows of one head of one sample.
struct Rows {
  b: u32,
  h: u32,
  row: vec4u, // their numbers, the last one repeated where there are fewer than four
  count: u32,
}
fn rowsOf(index: u32, length: u32) -> Rows {
  let tiles = (length + 3u) / 4u;
  let first = 4u * (index % tiles);
  let row = min(vec4u(first, first + 1u, first + 2u, first + 3u), vec4u(length - 1u));
  return Rows(index / tiles / sizes.H, index / tiles % sizes.H, row, min(4u, length - first));
}
// Element 0 of the head in each row, in vec4s; `size` vec4s a row.
fn placesOf(rows: Rows, length: u32, size: u32) -> vec4u {
  return (rows.b * length + rows.row) * size + rows.h * sizes.W;
}
fn dots(a: mat4x4f, b: vec4f) -> vec4f { return b * a; } // of b with the four columns of a

// Scores from the products, for row i and column j: scaled, masked.
fn finish(z: vec4f, b: u32, i: vec4u, j: vec4u) -> vec4f {
  var result = sizes.scale * z;
  if (sizes.hasMask == 1u) {
    let at = b * sizes.K + j;
    result += (1.0 - vec4f(mask[at.x], mask[at.y], mask[at.z], mask[at.w])) * -10000.0;
  }
  return select(result, vec4f(LOWEST), (j > i) & vec4<bool>(sizes.isCausal == 1u));
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
           @builtin(local_invocation_index) t: u32) {
  let index = flatGroup(g, n) * WG + t;
  if (index >= sizes.B * sizes.H * ((sizes.Q + 3u) / 4u)) { return; }
  let rows = rowsOf(index, sizes.Q);
  let at = placesOf(rows, sizes.Q, sizes.qRow);
  let out = placesOf(rows, sizes.Q, sizes.H * sizes.W);
  let keys = rows.b * sizes.K * sizes.kvRow + sizes.kAt + rows.h * sizes.W;
  let values = keys - sizes.kAt + sizes.vAt;
  var p: array<vec4f, LONGEST>;
  for (var w = 0u; w < sizes.W; w++) {
    let q4 = mat4x4f(q[at.x + w], q[at.y + w], q[at.z + w], q[at.w + w]);
    for (var j = 0u; j < sizes.K; j++) { p[j] += dots(q4, kv[keys + j * sizes.kvRow + w]); }
  }
  var m = vec4f(LOWEST);
  for (var j = 0u; j < sizes.K; j++) {
    p[j] = finish(p[j], rows.b, rows.row, vec4u(j));
    m = max(m, p[j]);
  }
  var s = vec4f();
  for (var j = 0u; j < sizes.K; j++) {
    p[j] = exp(p[j] - m);
    s += p[j];
  }
  for (var w = 0u; w < sizes.W; w++) {
    var y4 = mat4x4f();
    for (var j = 0u; j < sizes.K; j++) {
      let v4 = kv[values + j * sizes.kvRow + w];
      y4 += mat4x4f(p[j].x * v4, p[j].y * v4, p[j].z * v4, p[j].w * v4);
    }
    for (var c = 0u; c < rows.count; c++) { y[out[c] + w] = y4[c] / s[c]; }
  }
  let first = (rows.b * sizes.H + rows.h) * sizes.Q;
  let half = sizes.B * sizes.H * sizes.Q;
  for (var c = 0u; c < rows.count; c++) {
    stats[first + rows.row[c]] = m[c];
    stats[half + first + rows.row[c]] = s[c];
  }
}

@compute @workgroup_size(WG)
fn gradientQ(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
             @builtin(local_invocation_index) t: u32) {
  let index = flatGroup(g, n) * WG + t;
  if (index >= sizes.B * sizes.H * ((sizes.Q + 3u) / 4u)) { return; }
  let rows = rowsOf(index, sizes.Q);
  let at = placesOf(rows, sizes.Q, sizes.qRow);
  let out = placesOf(rows, sizes.Q, sizes.H * sizes.W);
  let keys = rows.b * sizes.K * sizes.kvRow + sizes.kAt + rows.h * sizes.W;
  let values = keys - sizes.kAt + sizes.vAt;
  var p: array<vec4f, LONGEST>;
  var dz: array<vec4f, LONGEST>;
  for (var w = 0u; w < sizes.W; w++) {
    let q4 = mat4x4f(q[at.x + w], q[at.y + w], q[at.z + w], q[at.w + w]);
    let dy4 = mat4x4f(dy[out.x + w], dy[out.y + w], dy[out.z + w], dy[out.w + w]);
    for (var j = 0u; j < sizes.K; j++) {
      p[j] += dots(q4, kv[keys + j * sizes.kvRow + w]);
      dz[j] += dots(dy4, kv[values + j * sizes.kvRow + w]);
    }
  }
  let first = (rows.b * sizes.H + rows.h) * sizes.Q;
  let half = sizes.B * sizes.H * sizes.Q;
  let i = first + rows.row;
  let m = vec4f(statsIn[i.x], statsIn[i.y], statsIn[i.z], statsIn[i.w]);
  let s = vec4f(statsIn[half + i.x], statsIn[half + i.y], statsIn[half + i.z], statsIn[half + i.w]);
  var d = vec4f();
  for (var j = 0u; j < sizes.K; j++) {
    p[j] = exp(finish(p[j], rows.b, rows.row, vec4u(j)) - m) / s;
    d += p[j] * dz[j];
  }
  for (var j = 0u; j < sizes.K; j++) { dz[j] = sizes.scale * p[j] * (dz[j] - d); }
  for (var w = 0u; w < sizes.W; w++) {
    var dq4 = mat4x4f();
    for (var j = 0u; j < sizes.K; j++) {
      let k4 = kv[keys + j * sizes.kvRow + w];
      dq4 += mat4x4f(dz[j].x * k4, dz[j].y * k4, dz[j].z * k4, dz[j].w * k4);
    }
    for (var c = 0u; c < rows.count; c++) { dq[at[c] + w] = dq4[c]; }
  }
  for (var c = 0u; c < rows.count; c++) {
    deltas[i[c]] = m[c];
    deltas[half + i[c]] = s[c];
    deltas[2u * half + i[c]] = d[c];
  }
}

@compute @workgroup_size(WG)
fn gradientKV(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
              @builtin(local_invocation_index) t: u32) {
  let index = flatGroup(g, n) * WG + t;
  if (index >= sizes.B * sizes.H * ((sizes.K + 3u) / 4u)) { return; }
  let rows = rowsOf(index, sizes.K);
  let at = placesOf(rows, sizes.K, sizes.kvRow) + sizes.kAt;
  let av = placesOf(rows, sizes.K, sizes.kvRow) + sizes.vAt;
  let queries = rows.b * sizes.Q * sizes.qRow + rows.h * sizes.W;
  let stride = sizes.H * sizes.W;
  let outputs = (rows.b * sizes.Q * sizes.H + rows.h) * sizes.W;
  var p: array<vec4f, LONGEST>;
  var dz: array<vec4f, LONGEST>;
  for (var w = 0u; w < sizes.W; w++) {
    let k4 = mat4x4f(kv[at.x + w], kv[at.y + w], kv[at.z + w], kv[at.w + w]);
    let v4 = mat4x4f(kv[av.x + w], kv[av.y + w], kv[av.z + w], kv[av.w + w]);
    for (var i = 0u; i < sizes.Q; i++) {
      p[i] += dots(k4, q[queries + i * sizes.qRow + w]);
      dz[i] += dots(v4, dy[outputs + i * stride + w]);
    }
  }
  let first = (rows.b * sizes.H + rows.h) * sizes.Q;
  let half = sizes.B * sizes.H * sizes.Q;
  for (var i = 0u; i < sizes.Q; i++) {
    p[i] = exp(finish(p[i], rows.b, vec4u(i), rows.row) - statsIn[first + i]) / statsIn[half + first + i];
    dz[i] = sizes.scale * p[i] * (dz[i] - statsIn[2u * half + first + i]);
  }
  for (var w = 0u; w < sizes.W; w++) {
    var dk4 = mat4x4f();
    var dv4 = mat4x4f();
    for (var i = 0u; i < sizes.Q; i++) {
      let q4 = q[queries + i * sizes.qRow + w];
      let dy4 = dy[outputs + i * stride + w];
      dk4 += mat4x4f(dz[i].x * q4, dz[i].y * q4, dz[i].z * q4, dz[i].w * q4);
      dv4 += mat4x4f(p[i].x * dy4, p[i].y * dy4, p[i].z * dy4, p[i].w * dy4);
    }
    for (var c = 0u; c < rows.count; c++) {
      dkv[at[c] + w] = dk4[c];
      dkv[av[c] + w] = dv4[c];
    }
  }
}
